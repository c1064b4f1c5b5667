/**
 * The filter chain matcher of the outbound listener: destination port 15001 → blackhole, then source → destination IP →
 * destination port → filter chain (seed-design.md fig. 4; ztunnel.md §3.3 for what today's mesh adds).
 *
 * I1: it answers from the mesh's indexes and makes chains on first use; sources × services never exists.
 * I2: the same question gets the same answer until a record it rests on changes; choosing among endpoints comes later.
 * I3: it fails closed: no source or no such port → blackhole, with the reason. A waypoint that is named stays the way,
 *     whether it can be reached or not.
 */
import { isLoopback, type SocketAddress } from '../base/address.ts';
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
    }
  | { readonly kind: 'service'; readonly chain: FilterChain; readonly service: Service; readonly port: ServicePort }
  | { readonly kind: 'pod'; readonly chain: FilterChain; readonly workload: Workload }
  | { readonly kind: 'passthrough'; readonly chain: FilterChain; readonly service: Service | undefined }
  | { readonly kind: 'blackhole'; readonly chain: FilterChain; readonly service: Service | undefined };

export interface MatcherDependencies {
  readonly mesh: MeshView;
  readonly names: Names;
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
    const { mesh, settings } = this.#dependencies;
    if (destination.port === settings.ports.outbound) return this.#blackhole('destination port is the listener itself');
    if (isLoopback(destination.ip) && isOwnPort(destination.port, settings.ports)) {
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
    let reason = 'no waypoint';
    if (service.waypoint !== undefined) {
      if (!isGatewayEndpoint(this.#dependencies.mesh, service.waypoint, source)) {
        return this.#waypoint(source, service.waypoint, service);
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
    const name = gatewayName(this.#dependencies.mesh, gateway);
    const chain = this.#chains.waypoint(source.identity, owner, gateway, name);
    return { kind: 'waypoint', chain, gateway, service: 'uid' in owner ? undefined : owner };
  }

  #passthrough(reason: string, service?: Service): Match {
    return { kind: 'passthrough', chain: this.#chains.passthrough(reason), service };
  }

  #blackhole(reason: string, service?: Service): Match {
    return { kind: 'blackhole', chain: this.#chains.blackhole(reason), service };
  }
}
