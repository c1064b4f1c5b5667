/**
 * One response worked off into the mesh, in slices: what is new is decoded and put in, then what is gone is taken out, so
 * that an address or a policy that changes hands is at no moment nobody's (unknown addresses may be passed through).
 *
 * I1: a resource that is refused changes nothing of what was in force of that name; all others take effect.
 */
import { inSlices, type SliceOptions } from '../base/slices.ts';
import { emptyMeshChange } from '../mesh/diff.ts';
import type { L4Policy, Service, Workload } from '../mesh/model.ts';
import type { MeshStore } from '../mesh/store.ts';
import { decodeAddress } from './decode-address.ts';
import { decodeAuthorization } from './decode-authorization.ts';
import type { DeltaResource, DeltaResponse } from './delta-response.ts';
import type { DeltaType } from './delta-type.ts';
import type { Interner } from './interner.ts';
import type { OnDemand } from './on-demand.ts';
import { addressType, type ResourceType } from './resource-types.ts';
import { standInPolicy } from './stand-in-policy.ts';

export interface ApplyTarget {
  readonly store: MeshStore;
  readonly interner: Interner;
  readonly slices: SliceOptions;
  /** What stands in for a policy that cannot be read: something that denies, or nothing. */
  readonly unreadablePolicy: 'deny' | 'skip';
}

/** Records given to the store at once: it tells all who listen each time. */
const batchSize = 64;

/** Resolves when all of it is in force; `type` knows what was refused. The caller answers. Never rejects. */
export async function applyResponse(
  response: DeltaResponse,
  typeUrl: ResourceType,
  type: DeltaType,
  target: ApplyTarget,
  onDemand?: Pick<OnDemand, 'heard'>,
): Promise<void> {
  await inSlices(new Application(typeUrl, type, target, onDemand).steps(response), target.slices);
}

/** Takes out what is gone by name: of an Address only the name is known, not whether it was a workload or a service. */
export function removeNames(typeUrl: ResourceType, names: readonly string[], store: MeshStore): void {
  if (names.length === 0) return;
  store.apply(
    typeUrl === addressType
      ? { ...emptyMeshChange, removedWorkloads: names, removedServices: names }
      : { ...emptyMeshChange, removedPolicies: names },
  );
}

class Application {
  readonly #typeUrl: ResourceType;
  readonly #type: DeltaType;
  readonly #target: ApplyTarget;
  readonly #onDemand: Pick<OnDemand, 'heard'> | undefined;
  /** Held once they are in force. */
  #accepted: [name: string, version: string][] = [];
  #workloads: Workload[] = [];
  #services: Service[] = [];
  #policies: L4Policy[] = [];
  /** By which the resource that is looked at may have been asked for. */
  #names: readonly string[] = [];

  constructor(
    typeUrl: ResourceType,
    type: DeltaType,
    target: ApplyTarget,
    onDemand: Pick<OnDemand, 'heard'> | undefined,
  ) {
    this.#typeUrl = typeUrl;
    this.#type = type;
    this.#target = target;
    this.#onDemand = onDemand;
  }

  *steps(response: DeltaResponse): Generator<void, void, void> {
    for (const resource of response.resources()) {
      this.#resource(resource);
      if (this.#workloads.length + this.#services.length + this.#policies.length >= batchSize) this.#flush();
      yield;
    }
    this.#flush();
    yield;
    let removed: string[] = [];
    for (const name of response.removed()) {
      this.#type.remove(name);
      this.#onDemand?.heard(name, 'absent');
      removed.push(name);
      if (removed.length >= batchSize) {
        removeNames(this.#typeUrl, removed, this.#target.store);
        removed = [];
      }
      yield;
    }
    removeNames(this.#typeUrl, removed, this.#target.store);
  }

  #resource(resource: DeltaResource): void {
    if (resource.kind === 'malformed') {
      this.#names = [resource.name];
      this.#refuse(resource.name, resource.reason, undefined);
      return;
    }
    const { name, version, typeUrl, value, aliases } = resource;
    this.#names = [name, ...aliases];
    for (const each of this.#names) this.#onDemand?.heard(each, 'present');
    if (!this.#type.sent(name, version)) return;
    if (name === '') this.#refuse(name, 'a resource: name: it is empty', value);
    else if (typeUrl !== this.#typeUrl) this.#refuse(name, `${name}: resource.type_url: it is ${typeUrl}`, value);
    else if (typeUrl === addressType) this.#address(name, version, value);
    else this.#authorization(name, version, value);
  }

  #address(name: string, version: string, value: Uint8Array): void {
    const decoded = decodeAddress(name, value, this.#target.interner);
    switch (decoded.kind) {
      case 'invalid':
        this.#refuse(name, decoded.reason, undefined);
        return;
      case 'workload': {
        const { uid } = decoded.workload;
        if (uid !== name) this.#refuse(name, `${name}: uid: it is ${uid}, not the resource's name`, undefined);
        else {
          // The record's own text, so that it is kept once.
          this.#accepted.push([uid, version]);
          this.#workloads.push(decoded.workload);
        }
        return;
      }
      case 'service': {
        const { key } = decoded.service;
        if (key !== name) this.#refuse(name, `${name}: hostname: it is ${key}, not the resource's name`, undefined);
        else {
          this.#accepted.push([key, version]);
          this.#services.push(decoded.service);
        }
        return;
      }
    }
  }

  #authorization(name: string, version: string, value: Uint8Array): void {
    const decoded = decodeAuthorization(name, value);
    if (decoded.kind === 'invalid') {
      this.#refuse(name, decoded.reason, value);
      return;
    }
    const { key } = decoded.policy;
    if (key !== name) {
      this.#refuse(name, `${name}: name: it is ${key}, not the resource's name`, value);
      return;
    }
    this.#accepted.push([key, version]);
    this.#policies.push(decoded.policy);
  }

  /** `value`: of a policy, for what stands in for it. */
  #refuse(name: string, reason: string, value: Uint8Array | undefined): void {
    const { unreadablePolicy, store } = this.#target;
    this.#flush();
    if (this.#typeUrl !== addressType && unreadablePolicy === 'deny' && this.#type.versionOf(name) === undefined) {
      const standIn = standInPolicy(name, value);
      // What a local file says of that name stays.
      if (standIn !== undefined && store.policy(name) === undefined) this.#policies.push(standIn);
    }
    for (const each of this.#names) this.#onDemand?.heard(each, 'unreadable');
    this.#type.refuse({ name, reason });
  }

  #flush(): void {
    if (this.#workloads.length + this.#services.length + this.#policies.length === 0) return;
    const { store } = this.#target;
    // A name that was a service's may now be a workload's, and the other way round.
    const removedServices = this.#workloads.map(({ uid }) => uid).filter((uid) => store.service(uid) !== undefined);
    const removedWorkloads = this.#services.map(({ key }) => key).filter((key) => store.workload(key) !== undefined);
    store.apply({
      ...emptyMeshChange,
      workloads: this.#workloads,
      services: this.#services,
      policies: this.#policies,
      removedServices,
      removedWorkloads,
    });
    for (const [name, version] of this.#accepted) this.#type.accept(name, version);
    this.#accepted = [];
    this.#workloads = [];
    this.#services = [];
    this.#policies = [];
  }
}
