/**
 * A mesh as resources that can be sent: each record encoded once, with a version that is a hash of its bytes, and kept up
 * with the store. What is kept of a resource is its field of a response, ready to be put beside others.
 */
import { hash } from 'node:crypto';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { MeshChange } from '../mesh/model.ts';
import type { MeshStore } from '../mesh/store.ts';
import { encodePolicy, encodeService, encodeWorkload } from './encode-records.ts';
import { addressType, authorizationType, type ResourceType } from './resource-types.ts';

export interface ServedResource {
  readonly version: string;
  /** The field `resources` of a DeltaDiscoveryResponse. */
  readonly field: Uint8Array;
}

export class ServedMesh {
  readonly #resources: Readonly<Record<ResourceType, Map<string, ServedResource>>> = {
    [addressType]: new Map(),
    [authorizationType]: new Map(),
  };
  readonly #listeners = new Set<(typeUrl: ResourceType, names: readonly string[]) => void>();
  readonly #closing = new Set<() => void>();
  readonly #stop: () => void;

  /** Follows the store until it is closed. */
  constructor(store: MeshStore) {
    this.#put([...store.workloads()], [...store.services()], [...store.policies()]);
    this.#stop = store.onChange((change) => this.#changed(change));
  }

  resources(typeUrl: ResourceType): ReadonlyMap<string, ServedResource> {
    return this.#resources[typeUrl];
  }

  /** Calls back with the names of what was changed or removed. */
  onChange(listener: (typeUrl: ResourceType, names: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Calls back when nobody is to be told any more. */
  onClose(callback: () => void): () => void {
    this.#closing.add(callback);
    return () => this.#closing.delete(callback);
  }

  close(): void {
    this.#stop();
    this.#listeners.clear();
    for (const callback of [...this.#closing]) callback();
  }

  #changed(change: MeshChange): void {
    const { workloads, services, policies, removedWorkloads, removedServices, removedPolicies } = change;
    const goneAddresses = [...removedWorkloads, ...removedServices];
    for (const name of goneAddresses) this.#resources[addressType].delete(name);
    for (const name of removedPolicies) this.#resources[authorizationType].delete(name);
    const put = this.#put(workloads, services, policies);
    this.#tell(addressType, [...goneAddresses, ...put.addresses]);
    this.#tell(authorizationType, [...removedPolicies, ...put.policies]);
  }

  #put(
    workloads: MeshChange['workloads'],
    services: MeshChange['services'],
    policies: MeshChange['policies'],
  ): { readonly addresses: readonly string[]; readonly policies: readonly string[] } {
    const addresses = this.#resources[addressType];
    for (const workload of workloads)
      addresses.set(workload.uid, encoded(addressType, workload.uid, encodeWorkload(workload)));
    for (const service of services)
      addresses.set(service.key, encoded(addressType, service.key, encodeService(service)));
    for (const policy of policies) {
      this.#resources[authorizationType].set(policy.key, encoded(authorizationType, policy.key, encodePolicy(policy)));
    }
    return {
      addresses: [...workloads.map(({ uid }) => uid), ...services.map(({ key }) => key)],
      policies: policies.map(({ key }) => key),
    };
  }

  #tell(typeUrl: ResourceType, names: readonly string[]): void {
    if (names.length === 0) return;
    for (const listener of this.#listeners) listener(typeUrl, names);
  }
}

function encoded(typeUrl: ResourceType, name: string, value: Uint8Array): ServedResource {
  const version = hash('sha256', value, 'hex').slice(0, 16);
  const writer = new BinaryWriter();
  writer.tag(2, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.LengthDelimited).string(version);
  writer.tag(2, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.LengthDelimited).string(typeUrl).tag(2, WireType.LengthDelimited).bytes(value).join();
  writer.tag(3, WireType.LengthDelimited).string(name).join();
  return { version, field: writer.finish() };
}
