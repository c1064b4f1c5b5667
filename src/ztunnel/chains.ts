/**
 * Filter chains: what a match leads to. A chain belongs to a source identity and to the records it was made from, and
 * is made on first use.
 *
 * I1: a chain is remembered under the record it follows from. Records are replaced, never changed, so a change of the
 *     mesh leaves its chains behind with the old record, at no cost for anything else.
 */
import type { SpiffeId } from '../base/spiffe.ts';
import type { GatewayAddress, Service, ServicePort, Workload } from '../mesh/model.ts';
import type { ChainNames, Names } from './names.ts';

export interface FilterChain {
  readonly name: string;
  readonly cluster: string;
  readonly kind: 'waypoint' | 'service' | 'pod' | 'passthrough' | 'blackhole';
  /** The object and the field that led here, for logs and dumps. */
  readonly reason: string;
  readonly hop: string | undefined;
}

/** The owner of a chain: any record of the mesh. */
type Owner = Service | Workload | GatewayAddress;

export class ChainFactory {
  readonly #names: Names;
  readonly #made = new WeakMap<Owner, Map<string, FilterChain>>();

  constructor(names: Names) {
    this.#names = names;
  }

  waypoint(source: SpiffeId, owner: Service | Workload, gateway: GatewayAddress, waypoint: string): FilterChain {
    return this.#once(gateway, `${source} ${waypoint}`, () => ({
      ...named(this.#names.waypoint(source, waypoint, gateway)),
      kind: 'waypoint',
      reason: `${objectText(owner)}: waypoint`,
    }));
  }

  service(source: SpiffeId, service: Service, port: ServicePort, reason: string): FilterChain {
    return this.#once(service, `${source} ${port.servicePort} ${reason}`, () => ({
      ...named(this.#names.service(source, service, port)),
      kind: 'service',
      reason: `${objectText(service)}: ${reason}`,
    }));
  }

  pod(source: SpiffeId, workload: Workload, ip: string, local: boolean, reason: string): FilterChain {
    return this.#once(workload, `${source} ${ip} ${local} ${reason}`, () => ({
      ...named(this.#names.pod(source, workload, ip, local)),
      kind: 'pod',
      reason: `${objectText(workload)}: ${reason}`,
    }));
  }

  passthrough(reason: string): FilterChain {
    return { ...named(this.#names.passthrough), kind: 'passthrough', reason };
  }

  blackhole(reason: string): FilterChain {
    return { ...named(this.#names.blackhole), kind: 'blackhole', reason };
  }

  #once(owner: Owner, key: string, make: () => FilterChain): FilterChain {
    const ofOwner = this.#made.get(owner) ?? new Map<string, FilterChain>();
    const known = ofOwner.get(key);
    if (known !== undefined) return known;
    const chain = make();
    this.#made.set(owner, ofOwner.set(key, chain));
    return chain;
  }
}

export function objectText(object: Service | Workload): string {
  return 'uid' in object ? `workload ${object.namespace}/${object.name}` : `service ${object.key}`;
}

function named(names: ChainNames) {
  return { name: names.chain, cluster: names.cluster, hop: names.hop };
}
