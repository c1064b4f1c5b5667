/**
 * The filter chain matcher of the outbound listener: destination port 15001 → blackhole (where a node's traffic
 * is taken), then source → destination IP → destination port → filter chain (seed-design.md fig. 4; ztunnel.md §3.3 for what
 * today's mesh adds).
 *
 * I1: it answers from the mesh's indexes and makes chains on first use; sources × services never exists.
 * I2: the same question gets the same answer until a record it rests on changes; choosing among endpoints comes later.
 * I3: it fails closed: no source or no such port → blackhole, with the reason. A waypoint that is named stays the way,
 *     whether it can be reached or not.
 */
import { isOwnHost, type SocketAddress } from '../base/address.ts';
import type { Preset } from '../config/preset.ts';
import type { GatewayAddress, Service, ServicePort, Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import { gatewayName, isGatewayEndpoint } from '../mesh/waypoint.ts';
import { ChainFactory, type FilterChain, objectText } from './chains.ts';
import type { Names } from './names.ts';
import { isOwnPort, type ZtunnelSettings } from './settings.ts';

export type Match =
  | {
      readonly kind: 'waypoint';
      readonly chain: FilterChain;
      readonly gateway: GatewayAddress;
      readonly service: Service | undefined;
      /** One of these is drawn by weight for each connection; empty: `gateway` is the only one. */
      readonly weighted: readonly WeightedChain[];
    }
  | { readonly kind: 'service'; readonly chain: FilterChain; readonly service: Service; readonly port: ServicePort }
  | { readonly kind: 'pod'; readonly chain: FilterChain; readonly workload: Workload }
  | { readonly kind: 'passthrough'; readonly chain: FilterChain; readonly service: Service | undefined }
  | { readonly kind: 'blackhole'; readonly chain: FilterChain; readonly service: Service | undefined };

export interface WeightedChain {
  readonly chain: FilterChain;
  readonly gateway: GatewayAddress;
  readonly weight: number;
}

const notWeighted: readonly never[] = [];

export interface MatcherDependencies {
  readonly mesh: MeshView;
  readonly names: Names;
  readonly preset: Preset;
  readonly settings: ZtunnelSettings;
  /** Whether this process delivers to the workload itself, without a tunnel over the network. */
  readonly deliversLocally: (workload: Workload) => boolean;
}

export class FilterChainMatcher {
  readonly #dependencies: MatcherDependencies;
  readonly #chains: ChainFactory;

  constructor(dependencies: MatcherDependencies) {
    this.#dependencies = dependencies;
    this.#chains = new ChainFactory(dependencies.names);
  }

  /** Total. `source` undefined: nobody knows the client's address. */
  match(source: Workload | undefined, destination: SocketAddress): Match {
    const { mesh, preset, settings } = this.#dependencies;
    // Other hosts' services may have the port; on a node whose listener takes everything it is the listener itself.
    if (destination.port === settings.ports.outbound && preset.capture === 'node') {
      return this.#blackhole('destination port is the listener itself');
    }
    if (isOwnHost(destination.ip) && isOwnPort(destination.port, settings.ports)) {
      return this.#blackhole('destination is a listener of this proxy');
    }
    if (source === undefined) {
      return settings.unknownSource === 'passthrough'
        ? this.#passthrough('source address is of no known workload, AMBIT_UNKNOWN_SOURCE=passthrough')
        : this.#blackhole('source address is of no known workload');
    }
    if (settings.node !== undefined && source.node !== '' && source.node !== settings.node) {
      return this.#blackhole(`${objectText(source)}: node is ${source.node}, not this one`);
    }
    // The source's network counts, not the process's own: pods of another network would look up other things.
    const workload = mesh.workloadByAddress(source.network, destination.ip);
    if (workload !== undefined) return this.#workload(source, workload, destination.ip);
    const service = mesh.serviceByAddress(source.network, destination.ip, source.namespace);
    if (service !== undefined) return this.#service(source, service, destination.port);
    return settings.outboundPolicy === 'ALLOW_ANY'
      ? this.#passthrough('destination is unknown to the mesh, outbound policy ALLOW_ANY')
      : this.#blackhole('destination is unknown to the mesh, outbound policy REGISTRY_ONLY');
  }

  #service(source: Workload, service: Service, servicePort: number): Match {
    const { waypoint, weightedWaypoints } = service;
    let reason = 'no waypoint';
    if (weightedWaypoints.length > 0) {
      if (
        !weightedWaypoints.some(({ destination }) => isGatewayEndpoint(this.#dependencies.mesh, destination, source))
      ) {
        return this.#weighted(source, service);
      }
      reason = 'the source is one of its waypoints';
    } else if (waypoint !== undefined) {
      if (!isGatewayEndpoint(this.#dependencies.mesh, waypoint, source)) {
        return this.#waypoint(source, waypoint, service);
      }
      reason = 'the source is its waypoint';
    }
    if (service.loadBalancing.mode === 'passthrough') {
      return this.#passthrough(`${objectText(service)}: load balancing is passthrough`, service);
    }
    const port = service.ports.get(servicePort);
    if (port === undefined) return this.#blackhole(`${objectText(service)}: has no port ${servicePort}`, service);
    return { kind: 'service', chain: this.#chains.service(source.identity, service, port, reason), service, port };
  }

  #workload(source: Workload, workload: Workload, ip: string): Match {
    let reason = 'no waypoint';
    if (workload.waypoint !== undefined) {
      if (!isGatewayEndpoint(this.#dependencies.mesh, workload.waypoint, source)) {
        return this.#waypoint(source, workload.waypoint, workload);
      }
      reason = 'the source is its waypoint';
    }
    const local = this.#dependencies.deliversLocally(workload);
    return { kind: 'pod', chain: this.#chains.pod(source.identity, workload, ip, local, reason), workload };
  }

  #waypoint(source: Workload, gateway: GatewayAddress, owner: Service | Workload): Match {
    const chain = this.#waypointChain(source, gateway, owner);
    return { kind: 'waypoint', chain, gateway, service: 'uid' in owner ? undefined : owner, weighted: notWeighted };
  }

  #weighted(source: Workload, service: Service): Match {
    const weighted: WeightedChain[] = [];
    for (const { destination: gateway, weight } of service.weightedWaypoints) {
      if (weight > 0) weighted.push({ chain: this.#waypointChain(source, gateway, service), gateway, weight });
    }
    const [first] = weighted;
    if (first === undefined)
      return this.#blackhole(`${objectText(service)}: none of its waypoints has a weight`, service);
    return { kind: 'waypoint', chain: first.chain, gateway: first.gateway, service, weighted };
  }

  #waypointChain(source: Workload, gateway: GatewayAddress, owner: Service | Workload): FilterChain {
    const name = gatewayName(this.#dependencies.mesh, gateway);
    return this.#chains.waypoint(source.identity, owner, gateway, name);
  }

  #passthrough(reason: string, service?: Service): Match {
    return { kind: 'passthrough', chain: this.#chains.passthrough(reason), service };
  }

  #blackhole(reason: string, service?: Service): Match {
    return { kind: 'blackhole', chain: this.#chains.blackhole(reason), service };
  }
}
