/**
 * The mesh as this proxy knows it: records and the indexes that answer `MeshView`. Rules of ztunnel's state
 * (reference §3.3, §6.4): endpoints follow from workloads, also before their service is known; host-network workloads
 * are not found by address.
 *
 * I1: indexes change only inside `apply`, all of them before any listener runs.
 * I2: applying equal records changes nothing and tells nobody.
 */
import { AddressIndex } from './address-index.ts';
import { emptyMeshChange, isEmptyChange } from './diff.ts';
import { recordsEqual } from './equal.ts';
import { GroupedIndex } from './grouped-index.ts';
import { HostnameIndex } from './hostname-index.ts';
import type { L4Policy, MeshChange, PoliciesInForce, PolicyKey, Service, ServiceKey, Workload } from './model.ts';
import { NodeIndex } from './node-index.ts';
import { PolicyGroups } from './policy-groups.ts';
import type { MeshView } from './view.ts';

export class MeshStore implements MeshView {
  readonly #workloads = new Map<string, Workload>();
  readonly #services = new Map<ServiceKey, Service>();
  readonly #policies = new Map<PolicyKey, L4Policy>();
  readonly #addresses = new AddressIndex();
  readonly #hostnames = new HostnameIndex();
  readonly #byHostname = new GroupedIndex<Workload>(uidOf);
  readonly #nodes = new NodeIndex();
  readonly #endpoints = new GroupedIndex<Workload>(uidOf);
  readonly #policyGroups = new PolicyGroups(this.#policies);
  readonly #listeners = new Set<(change: MeshChange) => void>();
  #complete = false;

  get complete(): boolean {
    return this.#complete;
  }

  /**
   * Applies removals, then records (of two with one key the later wins); a removal and a record of the same key in one
   * change thus replace it. Returns what really changed, which is what listeners were told.
   */
  apply(change: MeshChange): MeshChange {
    const effective: MeshChange = {
      removedWorkloads: change.removedWorkloads.filter((uid) => this.#removeWorkload(uid)),
      removedServices: change.removedServices.filter((key) => this.#removeService(key)),
      removedPolicies: change.removedPolicies.filter((key) => this.#removePolicy(key)),
      policies: change.policies.filter((policy) => this.#putPolicy(policy)),
      services: change.services.filter((service) => this.#putService(service)),
      workloads: change.workloads.filter((workload) => this.#putWorkload(workload)),
    };
    if (!isEmptyChange(effective)) this.#tell(effective);
    return effective;
  }

  /** Says that a complete first state is in. Listeners are called once, with an empty change. */
  markComplete(): void {
    if (this.#complete) return;
    this.#complete = true;
    this.#tell(emptyMeshChange);
  }

  workload(uid: string): Workload | undefined {
    return this.#workloads.get(uid);
  }

  workloadByAddress(network: string, ip: string): Workload | undefined {
    return this.#addresses.workload(network, ip);
  }

  workloadByName(namespace: string, name: string, serviceAccount: string, node: string): Workload | undefined {
    return this.#nodes.find(namespace, name, serviceAccount, node);
  }

  workloadByHostname(name: string): Workload | undefined {
    return this.#byHostname.list(name)[0];
  }

  serviceByAddress(network: string, ip: string, fromNamespace: string | undefined): Service | undefined {
    return this.#addresses.service(network, ip, fromNamespace);
  }

  service(key: ServiceKey): Service | undefined {
    return this.#services.get(key);
  }

  servicesByHostname(hostname: string): readonly Service[] {
    return this.#hostnames.find(hostname);
  }

  hasWildcardHostname(labels: number): boolean {
    return this.#hostnames.hasWildcard(labels);
  }

  endpoints(key: ServiceKey): readonly Workload[] {
    return this.#endpoints.list(key);
  }

  policy(key: PolicyKey): L4Policy | undefined {
    return this.#policies.get(key);
  }

  policiesFor(workload: Workload): PoliciesInForce {
    return this.#policyGroups.inForce(workload);
  }

  workloads(): Iterable<Workload> {
    return this.#workloads.values();
  }

  services(): Iterable<Service> {
    return this.#services.values();
  }

  policies(): Iterable<L4Policy> {
    return this.#policies.values();
  }

  workloadsOnNode(node: string): Iterable<Workload> {
    return this.#nodes.list(node);
  }

  onChange(listener: (change: MeshChange) => void): () => void {
    const own = (change: MeshChange) => listener(change);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** A listener that throws is a broken invariant; the others are told first. */
  #tell(change: MeshChange): void {
    const failures: unknown[] = [];
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'listeners of the mesh failed');
  }

  #putWorkload(workload: Workload): boolean {
    const old = this.#workloads.get(workload.uid);
    if (recordsEqual(old, workload)) return false;
    if (old !== undefined) this.#unindexWorkload(old, workload);
    this.#workloads.set(workload.uid, workload);
    this.#addresses.addWorkload(workload);
    this.#nodes.put(workload, old);
    if (workload.hostname !== '') this.#byHostname.set(hostKey(workload), workload);
    for (const key of workload.services.keys()) this.#endpoints.set(key, workload);
    return true;
  }

  #removeWorkload(uid: string): boolean {
    const old = this.#workloads.get(uid);
    if (old === undefined) return false;
    this.#unindexWorkload(old, undefined);
    this.#nodes.remove(old);
    return this.#workloads.delete(uid);
  }

  /** Leaves alone the groups that the next record joins again, so that it keeps its place in them. */
  #unindexWorkload(old: Workload, next: Workload | undefined): void {
    this.#addresses.removeWorkload(old);
    if (old.hostname !== '' && (next === undefined || hostKey(next) !== hostKey(old))) {
      this.#byHostname.delete(hostKey(old), old.uid);
    }
    for (const key of old.services.keys()) if (next?.services.has(key) !== true) this.#endpoints.delete(key, old.uid);
  }

  #putService(service: Service): boolean {
    const old = this.#services.get(service.key);
    if (recordsEqual(old, service)) return false;
    if (old !== undefined) this.#addresses.removeService(old);
    this.#services.set(service.key, service);
    this.#addresses.addService(service);
    this.#hostnames.set(service, old);
    return true;
  }

  #removeService(key: ServiceKey): boolean {
    const old = this.#services.get(key);
    if (old === undefined) return false;
    this.#addresses.removeService(old);
    this.#hostnames.delete(old);
    return this.#services.delete(key);
  }

  #putPolicy(policy: L4Policy): boolean {
    if (recordsEqual(this.#policies.get(policy.key), policy)) return false;
    this.#removePolicy(policy.key);
    this.#policies.set(policy.key, policy);
    this.#policyGroups.added(policy);
    return true;
  }

  #removePolicy(key: PolicyKey): boolean {
    const old = this.#policies.get(key);
    if (old === undefined) return false;
    this.#policies.delete(key);
    this.#policyGroups.removed(old);
    return true;
  }
}

const uidOf = ({ uid }: Workload) => uid;

function hostKey({ namespace, hostname }: Workload): string {
  return `${namespace}/${hostname}`;
}
