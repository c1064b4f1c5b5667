/**
 * Addresses of headless services and of their pods. Lists are made once for each state of a service's endpoints, so that
 * a query for one with ten thousand pods costs no more than its answer.
 *
 * I1: what is listed is ready, unless the service publishes what is not, and on the client's own network.
 */
import { ipFamily } from '../base/address.ts';
import type { Service, Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';

interface Listed {
  readonly service: Service;
  readonly network: string;
  /** Pod name → its addresses; several clusters may have pods of one name. */
  readonly pods: ReadonlyMap<string, readonly string[]>;
  readonly ipv4: readonly string[];
  readonly ipv6: readonly string[];
}

export class HeadlessServices {
  readonly #mesh: MeshView;
  readonly #listed = new WeakMap<readonly Workload[], Listed>();

  constructor(mesh: MeshView) {
    this.#mesh = mesh;
  }

  /** One address of the family for each pod. */
  addresses(service: Service, network: string, family: 4 | 6): readonly string[] {
    const listed = this.#list(service, network);
    return family === 4 ? listed.ipv4 : listed.ipv6;
  }

  /** Addresses of the service's pod of that name, both families; undefined when it has no such pod. */
  podAddresses(service: Service, network: string, pod: string): readonly string[] | undefined {
    return this.#list(service, network).pods.get(pod);
  }

  #list(service: Service, network: string): Listed {
    const endpoints = this.#mesh.endpoints(service.key);
    const known = this.#listed.get(endpoints);
    if (known !== undefined && known.service === service && known.network === network) return known;
    const listed = list(service, network, endpoints);
    this.#listed.set(endpoints, listed);
    return listed;
  }
}

function list(service: Service, network: string, endpoints: readonly Workload[]): Listed {
  const pods = new Map<string, string[]>();
  const ipv4: string[] = [];
  const ipv6: string[] = [];
  for (const workload of endpoints) {
    if (workload.network !== network) continue;
    if (!workload.healthy && !service.loadBalancing.allowUnhealthy) continue;
    const first = (family: 4 | 6) => workload.addresses.find((ip) => ipFamily(ip) === family);
    const [four, six] = [first(4), first(6)];
    if (four !== undefined) ipv4.push(four);
    if (six !== undefined) ipv6.push(six);
    pods.getOrInsertComputed(workload.name, () => []).push(...workload.addresses);
  }
  return { service, network, pods, ipv4, ipv6 };
}
