/**
 * What the data path may ask of the mesh. `store.ts` answers from indexes; nothing here is worse than logarithmic.
 * Answers are the records of the moment: a change between two calls is possible only between two turns of the loop.
 */
import type { L4Policy, MeshChange, PoliciesInForce, PolicyKey, Service, ServiceKey, Workload } from './model.ts';

export interface MeshView {
  workload(uid: string): Workload | undefined;
  /** Pods in host networking are not found by address: the node's address is not theirs alone. */
  workloadByAddress(network: string, ip: string): Workload | undefined;
  /** The workload of this node with this name, as istio-cni names a pod. */
  workloadByName(namespace: string, name: string, serviceAccount: string, node: string): Workload | undefined;
  /** A workload that says by what name it is known: `namespace/hostname`. */
  workloadByHostname(name: string): Workload | undefined;
  /**
   * VIP, then CIDR, seen from a namespace: own namespace, then canonical, then any that is visible. Undefined sees all:
   * for references of the mesh's own objects.
   */
  serviceByAddress(network: string, ip: string, fromNamespace: string | undefined): Service | undefined;
  service(key: ServiceKey): Service | undefined;
  /** Services of exactly this host name (lower case; `*.example.com` is a name like others), in the order of their keys. */
  servicesByHostname(hostname: string): readonly Service[];
  /** Whether some service's host name is a wildcard of so many labels: `*.example.com` has three. */
  hasWildcardHostname(labels: number): boolean;
  /** Workloads that name the service as theirs, in stable order. Unhealthy ones too: choosing is not the view's job. */
  endpoints(key: ServiceKey): readonly Workload[];
  policy(key: PolicyKey): L4Policy | undefined;
  policiesFor(workload: Workload): PoliciesInForce;
  workloads(): Iterable<Workload>;
  services(): Iterable<Service>;
  policies(): Iterable<L4Policy>;
  workloadsOnNode(node: string): Iterable<Workload>;
  /** Whether a complete first state has been applied. Until then nothing is decided (design rule 1). */
  readonly complete: boolean;
  /** Called after each applied change, once, with what changed. Returns the way to stop listening. */
  onChange(listener: (change: MeshChange) => void): () => void;
}
