/**
 * What access log lines of one tunnel, or of one endpoint, say again and again. Lists are kept as long as what they are
 * about, and the same list is the same object, so that the log puts it into text once.
 */
import { formatSocketAddress } from '../base/address.ts';
import type { AccessLogFields } from '../telemetry/traffic.ts';
import type { UpstreamEndpoint } from '../upstream/endpoint.ts';
import type { Tunnel, TunnelFields, WaypointServices } from './context.ts';

export interface EndpointFields {
  readonly pod: AccessLogFields;
  /** Where the pod stage leads. */
  readonly originate: AccessLogFields;
  /** Where the service stage leads when there is a pod stage. */
  readonly podStage: AccessLogFields;
}

const ofEndpoint = new WeakMap<UpstreamEndpoint, EndpointFields>();

export function tunnelFields(services: WaypointServices, tunnel: Tunnel): TunnelFields {
  tunnel.fields ??= makeTunnelFields(services, tunnel);
  return tunnel.fields;
}

function makeTunnelFields({ names }: WaypointServices, tunnel: Tunnel): TunnelFields {
  const remote = ['downstream_remote_address', formatSocketAddress(tunnel.client)] as const;
  const principal = ['source_principal', tunnel.clientIdentity] as const;
  const destination = formatSocketAddress(tunnel.destination.address);
  let last:
    | { readonly listener: string; readonly cluster: string | undefined; readonly fields: AccessLogFields }
    | undefined;
  return {
    client: [principal, remote],
    connect: [
      ['stage', names.terminate],
      ['method', 'CONNECT'],
      ['authority', tunnel.authority],
      ['response_code', 200],
      principal,
      ['upstream_cluster', connectCluster(names, tunnel)],
      ['downstream_local_address', formatSocketAddress(tunnel.local)],
      remote,
    ],
    stage(listener, cluster) {
      if (last?.listener === listener && last.cluster === cluster) return last.fields;
      const fields: AccessLogFields = [
        ['stage', listener],
        ['upstream_cluster', cluster],
        ['downstream_local_address', destination],
      ];
      last = { listener, cluster, fields };
      return fields;
    },
  };
}

export function endpointFields(services: WaypointServices, endpoint: UpstreamEndpoint): EndpointFields {
  return ofEndpoint.getOrInsertComputed(endpoint, () => makeEndpointFields(services, endpoint));
}

function makeEndpointFields(
  { names }: WaypointServices,
  { workload, address, transport }: UpstreamEndpoint,
): EndpointFields {
  const target = formatSocketAddress(address);
  const originate = transport.kind === 'tunnel' ? `envoy://${names.originate}/${target}` : target;
  const pod = names.pod(address.port, address.ip);
  const principal = ['destination_principal', workload.identity] as const;
  return {
    pod: [
      ['stage', pod?.listener],
      ['upstream_cluster', pod?.cluster],
      ['downstream_local_address', target],
    ],
    originate: [principal, ['upstream_host', originate]],
    podStage: [principal, ['upstream_host', `envoy://${pod?.listener}/${target}`]],
  };
}

function connectCluster(names: WaypointServices['names'], { destination }: Tunnel): string {
  const { ip, port } = destination.address;
  if (destination.kind === 'service') return names.serviceEntry(port, destination.service.hostname).cluster;
  return names.pod(port, ip)?.entry ?? names.serviceEntry(port, ip).cluster;
}
