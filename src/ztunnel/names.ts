/**
 * Names of listeners, filter chains and clusters. In the article's vocabulary they are the preview's, letter for letter
 * (seed-design.md §1.3 R13-R16, §4.1); today's are the directions ztunnel logs by.
 */
import type { SpiffeId } from '../base/spiffe.ts';
import type { Preset } from '../config/preset.ts';
import type { GatewayAddress, Service, ServicePort, Workload } from '../mesh/model.ts';

export interface ChainNames {
  readonly chain: string;
  readonly cluster: string;
  /** What the access log calls the hop in the article's vocabulary; today's has no such words. */
  readonly hop: string | undefined;
}

export interface Names {
  readonly outboundListener: string;
  readonly inboundListener: string;
  readonly plaintextListener: string;
  readonly passthrough: ChainNames;
  readonly blackhole: ChainNames;
  readonly inboundBlackhole: string;
  readonly plaintextBlackhole: string;
  /** Cluster of everything that is delivered to an application. */
  readonly application: string;
  /** Hops of the receiving side. */
  readonly inboundHop: string | undefined;
  readonly plaintextHop: string | undefined;
  /** `waypoint`: its identity, or the name it is known by while it has no endpoints. */
  waypoint(source: SpiffeId, waypoint: string, gateway: GatewayAddress): ChainNames;
  service(source: SpiffeId, service: Service, port: ServicePort): ChainNames;
  pod(source: SpiffeId, workload: Workload, ip: string, local: boolean): ChainNames;
  inboundChain(ip: string): string;
}

const article: Names = {
  outboundListener: 'ztunnel_outbound',
  inboundListener: 'ztunnel_inbound',
  plaintextListener: 'ztunnel_inbound_plaintext',
  passthrough: { chain: 'PassthroughFilterChain', cluster: 'PassthroughCluster', hop: 'passthrough' },
  blackhole: { chain: 'blackhole outbound', cluster: 'BlackHoleCluster', hop: 'blackhole outbound' },
  inboundBlackhole: 'blackhole inbound',
  plaintextBlackhole: 'blackhole inbound plaintext',
  application: 'virtual_inbound',
  inboundHop: 'inbound hcm',
  plaintextHop: 'capture inbound listener',
  waypoint(source, waypoint) {
    const name = `${source}_to_server_waypoint_proxy_${waypoint}`;
    return { chain: name, cluster: name, hop: 'capture outbound (to server waypoint proxy)' };
  },
  service(source, service, port) {
    const name = `${source}_to_${port.name === '' ? port.servicePort : port.name}_${service.hostname}_outbound_internal`;
    return { chain: name, cluster: name, hop: 'capture outbound (no waypoint proxy)' };
  },
  pod(source, workload, ip, local) {
    const tunnel = local ? 'outbound_pod_local_tunnel_clus_' : 'outbound_pod_tunnel_clus_';
    return {
      chain: `${source}_to_${ip}`,
      cluster: workload.tunnelProtocol === 'hbone' ? `${tunnel}${source}` : 'PassthroughCluster-tcp',
      hop: 'capture outbound pod (no waypoint proxy)',
    };
  },
  inboundChain: (ip) => `inbound_${ip}`,
};

const today: Names = {
  outboundListener: 'outbound',
  inboundListener: 'inbound',
  plaintextListener: 'inbound-passthrough',
  passthrough: { chain: 'outbound|passthrough', cluster: 'passthrough', hop: undefined },
  blackhole: { chain: 'outbound|blackhole', cluster: 'blackhole', hop: undefined },
  inboundBlackhole: 'inbound|blackhole',
  plaintextBlackhole: 'inbound-passthrough|blackhole',
  application: 'application',
  inboundHop: undefined,
  plaintextHop: undefined,
  waypoint(source, _waypoint, gateway) {
    const name = `outbound|waypoint|${gatewayText(gateway)}|${source}`;
    return { chain: name, cluster: name, hop: undefined };
  },
  service(source, service, port) {
    const name = `outbound|${port.servicePort}|${service.hostname}|${source}`;
    return { chain: name, cluster: name, hop: undefined };
  },
  pod(source, _workload, ip) {
    const name = `outbound|pod|${ip}|${source}`;
    return { chain: name, cluster: name, hop: undefined };
  },
  inboundChain: (ip) => `inbound|${ip}`,
};

export function namesOf(preset: Preset): Names {
  return preset.names === 'article' ? article : today;
}

/** `network/ip` or `namespace/hostname`, as ztunnel prints it. */
export function gatewayText(gateway: GatewayAddress): string {
  return gateway.kind === 'address' ? `${gateway.network}/${gateway.ip}` : gateway.service;
}
