/**
 * Who is behind an address: workloads by (network, ip), services by VIP and by CIDR. Precedence is ztunnel's
 * (reference §3.3). Networks nest outside addresses so that a look-up builds no key.
 */
import { CidrTrie } from '../base/cidr-trie.ts';
import { GroupedIndex } from './grouped-index.ts';
import type { Service, Workload } from './model.ts';

interface Network {
  readonly workloads: GroupedIndex<Workload>;
  readonly vips: GroupedIndex<Service>;
  readonly cidrs: CidrTrie<Service>;
}

export class AddressIndex {
  readonly #networks = new Map<string, Network>();

  addWorkload(workload: Workload): void {
    if (workload.networkMode === 'host') return;
    const { workloads } = this.#network(workload.network);
    for (const ip of workload.addresses) workloads.set(ip, workload);
  }

  removeWorkload(workload: Workload): void {
    if (workload.networkMode === 'host') return;
    const { workloads } = this.#network(workload.network);
    for (const ip of workload.addresses) workloads.delete(ip, workload.uid);
  }

  addService(service: Service): void {
    for (const { network, ip } of service.addresses) this.#network(network).vips.set(ip, service);
    for (const { network, cidr } of service.cidrs) this.#network(network).cidrs.add(cidr, service);
  }

  removeService(service: Service): void {
    for (const { network, ip } of service.addresses) this.#network(network).vips.delete(ip, service.key);
    for (const { network, cidr } of service.cidrs) this.#network(network).cidrs.delete(cidr, service);
  }

  /** Of several that claim one address: a pod, then one that speaks HBONE, then the smallest uid. */
  workload(network: string, ip: string): Workload | undefined {
    const claims = this.#networks.get(network)?.workloads.list(ip);
    if (claims === undefined || claims.length < 2) return claims?.[0];
    return claims.reduce((best, other) => (claimsBefore(other, best) ? other : best));
  }

  service(network: string, ip: string, fromNamespace: string | undefined): Service | undefined {
    const known = this.#networks.get(network);
    if (known === undefined) return undefined;
    const byVip = bestService(known.vips.list(ip), fromNamespace);
    if (byVip !== undefined || known.cidrs.size === 0) return byVip;
    const blocks = known.cidrs.matches(ip);
    for (const services of blocks) {
      const own = services.find((service) => service.namespace === fromNamespace);
      if (own !== undefined) return own;
    }
    for (const services of blocks) {
      const best = bestService(services, fromNamespace);
      if (best !== undefined) return best;
    }
    return undefined;
  }

  #network(name: string): Network {
    let network = this.#networks.get(name);
    if (network === undefined) {
      network = {
        workloads: new GroupedIndex(({ uid }) => uid),
        vips: new GroupedIndex(({ key }) => key),
        cidrs: new CidrTrie(),
      };
      this.#networks.set(name, network);
    }
    return network;
  }
}

/** Own namespace, then canonical, then any that is visible; ties go to the smallest key. */
function bestService(services: readonly Service[], fromNamespace: string | undefined): Service | undefined {
  let best: Service | undefined;
  let bestRank = 0;
  for (const service of services) {
    const own = service.namespace === fromNamespace;
    if (service.visibility === 'namespace' && !own && fromNamespace !== undefined) continue;
    const rank = own ? 3 : service.canonical ? 2 : 1;
    if (best === undefined || rank > bestRank || (rank === bestRank && service.key < best.key)) {
      best = service;
      bestRank = rank;
    }
  }
  return best;
}

function claimsBefore(a: Workload, b: Workload): boolean {
  if (isPod(a) !== isPod(b)) return isPod(a);
  if (a.tunnelProtocol !== b.tunnelProtocol) return a.tunnelProtocol === 'hbone';
  return a.uid < b.uid;
}

/** uid: `<cluster>/<group>/<kind>/<namespace>/<name>`. */
function isPod(workload: Workload): boolean {
  return workload.uid.split('/', 3)[2] === 'Pod';
}
