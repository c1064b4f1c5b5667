/**
 * `/config_dump` with ztunnel's keys, which `istioctl ztunnel-config` and people's scripts read (ztunnel.md §8.4). Written
 * piece by piece, a record a line, so that a mesh of any size is dumped in slices; what changes meanwhile may be in it or
 * not. Certificates and chains only: keys are nowhere in it.
 */
import type { SecretStore } from '../identity/secret.ts';
import type { Service, Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import type { ConnectionRegistry } from './connection-registry.ts';
import { certificateDumps } from './dump-certificates.ts';
import { dumpEndpoint, dumpPolicy, dumpService, dumpWorkload } from './dump-records.ts';
import type { PodBudgets } from './pod-budgets.ts';

/** A pod of this node, as ztunnel's `workloadState` shows it. */
export interface PodState {
  readonly uid: string;
  readonly state: 'Up' | 'Pending';
  readonly info: { readonly name: string; readonly namespace: string; readonly serviceAccount: string };
  /** Its workload in the mesh, when that is known. */
  readonly workload: Workload | undefined;
}

export interface DumpSources {
  readonly mesh: MeshView;
  readonly secrets: SecretStore;
  readonly registry: ConnectionRegistry;
  readonly budgets: Pick<PodBudgets, 'dump'>;
  readonly pods: () => Iterable<PodState>;
  readonly version: string;
  /** Settings, without anything secret. */
  readonly config: Readonly<Record<string, unknown>>;
}

export function* configDump(sources: DumpSources): Generator<string> {
  const { mesh, secrets, registry, pods, version, config } = sources;
  yield '{\n"workloads": [';
  yield* list(mesh.workloads(), (workload) => text(dumpWorkload(workload)));
  yield '],\n"services": [';
  yield* services(mesh);
  yield '],\n"policies": [';
  yield* list(mesh.policies(), (policy) => text(dumpPolicy(policy)));
  yield '],\n"certificates": [';
  yield* list(certificateDumps(secrets), text);
  yield '],\n"workloadState": {';
  yield* podStates(pods(), registry);
  yield `},\n"stagedServices": {},\n"staticConfig": {},\n"version": ${text({ version })},\n`;
  yield `"config": ${text(config)},\n"budgets": ${text(sources.budgets.dump())}\n}\n`;
}

/** An endpoint a piece: a service may have as many as there are pods. */
function* services(mesh: MeshView): Generator<string> {
  let comma = '';
  for (const service of mesh.services()) {
    yield `${comma}\n${text(dumpService(service)).slice(0, -1)},"endpoints":{`;
    yield* list(mesh.endpoints(service.key), (workload) => endpoint(service, workload));
    yield '}}';
    comma = ',';
  }
}

function endpoint(service: Service, workload: Workload): string {
  return `${JSON.stringify(workload.uid)}:${text(dumpEndpoint(service, workload))}`;
}

function* podStates(pods: Iterable<PodState>, registry: ConnectionRegistry): Generator<string> {
  let comma = '';
  for (const { uid, state, info, workload } of pods) {
    const shown = { state, info: { ...info, trustDomain: workload?.trustDomain ?? '' } };
    yield `${comma}\n${JSON.stringify(uid)}:${text(shown).slice(0, -1)},"connections":{"inbound":[`;
    yield* connections(registry, workload, 'inbound');
    yield '],"outbound":[';
    yield* connections(registry, workload, 'outbound');
    yield ']}}';
    comma = ',';
  }
}

function* connections(
  registry: ConnectionRegistry,
  workload: Workload | undefined,
  direction: 'inbound' | 'outbound',
): Generator<string> {
  if (workload !== undefined) yield* list(registry.connections(workload.uid, direction), text);
}

function* list<T>(things: Iterable<T>, textOf: (thing: T) => string): Generator<string> {
  let comma = '';
  for (const thing of things) {
    yield `${comma}\n${textOf(thing)}`;
    comma = ',';
  }
}

function text(value: unknown): string {
  return JSON.stringify(value, mapsAsObjects);
}

function mapsAsObjects(_key: string, value: unknown): unknown {
  return value instanceof Map ? Object.fromEntries(value) : value;
}
