/**
 * The difference of two complete models as one `MeshChange`: what a folder source, or a client that got a full state
 * after a reconnect, hands to the store. Pure; unchanged records do not appear.
 */
import { recordsEqual } from './equal.ts';
import type { L4Policy, MeshChange, PolicyKey, Service, ServiceKey, Workload } from './model.ts';

/** A complete model. */
export interface MeshModel {
  readonly workloads: ReadonlyMap<string, Workload>;
  readonly services: ReadonlyMap<ServiceKey, Service>;
  readonly policies: ReadonlyMap<PolicyKey, L4Policy>;
}

export const emptyMeshModel: MeshModel = { workloads: new Map(), services: new Map(), policies: new Map() };

export const emptyMeshChange: MeshChange = {
  workloads: [],
  services: [],
  policies: [],
  removedWorkloads: [],
  removedServices: [],
  removedPolicies: [],
};

export function diffMesh(before: MeshModel, after: MeshModel): MeshChange {
  return {
    workloads: changed(before.workloads, after.workloads),
    services: changed(before.services, after.services),
    policies: changed(before.policies, after.policies),
    removedWorkloads: removed(before.workloads, after.workloads),
    removedServices: removed(before.services, after.services),
    removedPolicies: removed(before.policies, after.policies),
  };
}

export function isEmptyChange(change: MeshChange): boolean {
  return changeSize(change) === 0;
}

/** How many records a change touches. */
export function changeSize(change: MeshChange): number {
  const { workloads, services, policies, removedWorkloads, removedServices, removedPolicies } = change;
  return (
    workloads.length +
    services.length +
    policies.length +
    removedWorkloads.length +
    removedServices.length +
    removedPolicies.length
  );
}

/** The same change in pieces of at most `size` records, policies first, so that no piece opens what the next closes. */
export function splitChange(change: MeshChange, size: number): readonly MeshChange[] {
  const pieces: MeshChange[] = [];
  for (const key of [
    'policies',
    'services',
    'workloads',
    'removedWorkloads',
    'removedServices',
    'removedPolicies',
  ] as const) {
    const records = change[key];
    for (let from = 0; from < records.length; from += size) {
      pieces.push({ ...emptyMeshChange, [key]: records.slice(from, from + size) });
    }
  }
  return pieces;
}

function changed<T>(before: ReadonlyMap<string, T>, after: ReadonlyMap<string, T>): T[] {
  const records: T[] = [];
  if (before === after) return records;
  for (const [key, record] of after) if (!recordsEqual(before.get(key), record)) records.push(record);
  return records;
}

function removed<T>(before: ReadonlyMap<string, T>, after: ReadonlyMap<string, T>): string[] {
  return before === after ? [] : [...before.keys()].filter((key) => !after.has(key));
}
