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
  readonly ipv4: readonly string[];
  readonly ipv6: readonly string[];
  /** By pod name, made when first asked for; several clusters may have pods of one name. */
  pods: ReadonlyMap<string, Workload | readonly Workload[]> | undefined;
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
    const listed = this.#list(service, network);
    listed.pods ??= listPods(service, network, this.#mesh.endpoints(service.key));
    const found = listed.pods.get(pod);
    if (found === undefined) return undefined;
    return 'uid' in found ? found.addresses : found.flatMap(({ addresses }) => addresses);
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
  const ipv4: string[] = [];
  const ipv6: string[] = [];
  for (const workload of endpoints) {
    if (!isPublished(workload, service, network)) continue;
    let [four, six] = [false, false];
    for (const ip of workload.addresses) {
      if (ipFamily(ip) === 4) {
        if (!four) ipv4.push(ip);
        four = true;
      } else {
        if (!six) ipv6.push(ip);
        six = true;
      }
    }
  }
  return { service, network, ipv4, ipv6, pods: undefined };
}

function listPods(service: Service, network: string, endpoints: readonly Workload[]): NonNullable<Listed['pods']> {
  const pods = new Map<string, Workload | Workload[]>();
  for (const workload of endpoints) {
    if (!isPublished(workload, service, network)) continue;
    const known = pods.get(workload.name);
    if (known === undefined) pods.set(workload.name, workload);
    else if (Array.isArray(known)) known.push(workload);
    else pods.set(workload.name, [known, workload]);
  }
  return pods;
}

function isPublished(workload: Workload, service: Service, network: string): boolean {
  return workload.network === network && (workload.healthy || service.loadBalancing.allowUnhealthy);
}
