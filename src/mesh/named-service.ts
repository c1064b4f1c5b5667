/** Services by host name, where no address says which is meant: seen from a namespace, as `serviceByAddress` sees them. */
import { ipFamily } from '../base/address.ts';
import type { Service } from './model.ts';
import type { MeshView } from './view.ts';

/** The best that `suits`: of the own namespace, then canonical, then any that is visible; ties go to the smallest key. */
export function serviceByHostname(
  mesh: MeshView,
  hostname: string,
  fromNamespace: string,
  suits: (service: Service) => boolean = () => true,
): Service | undefined {
  let best: Service | undefined;
  let bestRank = 0;
  for (const service of mesh.servicesByHostname(hostname.toLowerCase())) {
    const own = service.namespace === fromNamespace;
    if ((service.visibility === 'namespace' && !own) || !suits(service)) continue;
    const rank = own ? 3 : service.canonical ? 2 : 1;
    if (best === undefined || rank > bestRank || (rank === bestRank && service.key < best.key)) {
      best = service;
      bestRank = rank;
    }
  }
  return best;
}

/** The address by which a service is named to those who know no host names: of the network, IPv4 if there is one. */
export function vipOf(service: Service, network: string): string | undefined {
  let found: string | undefined;
  for (const address of service.addresses) {
    if (address.network !== network) continue;
    if (ipFamily(address.ip) === 4) return address.ip;
    found ??= address.ip;
  }
  return found;
}
