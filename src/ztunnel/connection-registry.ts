/**
 * Live connections by the workload of this node they belong to: for dumps, for limits per workload, and for deciding
 * again when a policy or a workload changes (design rule 8, ztunnel.md §5.4).
 *
 * I1: a connection that its policies no longer allow is stopped; one whose workload is gone is stopped in any case.
 * I2: what changed between a connection's decision and its being added here is not missed: it is decided again at once.
 * I3: a change looks only at connections of workloads it can concern, in slices, so that no turn of the loop is long.
 */
import { formatSocketAddress, type SocketAddress } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { AmbitError } from '../base/errors.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { Join } from '../hbone/seam.ts';
import type { L4Policy, MeshChange, PolicyKey, Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import { GatewayWatch } from './gateway-watch.ts';
import type { Hop } from './hop.ts';

/** What a look again says. `later`: nothing can be said before that. */
export type Recheck =
  | { readonly kind: 'keep' }
  | { readonly kind: 'stop'; readonly reason: string }
  | { readonly kind: 'later'; readonly inMs: number };

export interface ConnectionEntry {
  readonly hop: Hop;
  readonly join: Join;
  /** The workload of this node: the destination of inbound, the source of outbound. */
  readonly workload: Workload | undefined;
  readonly originalDestination: SocketAddress;
  readonly protocol: 'HBONE' | 'TCP';
  /** Of both ends, when they meet in this process, without a session whose certificates somebody else watches. */
  readonly identities?: readonly SpiffeId[];
  /** By whose listener it came in, or where it was delivered in process. */
  readonly place?: object;
  /** Decides again; undefined: nothing but its workload's end concerns it. */
  readonly recheck?: () => Recheck;
  /** `registry.changes` as it was decided; left out: nobody knows, so that it is decided again at once. */
  readonly decidedAt?: number;
}

export interface ConnectionDump {
  readonly src: string;
  readonly originalDst: string;
  readonly actualDst: string;
  readonly protocol: 'HBONE' | 'TCP';
}

export interface WorkloadConnections {
  readonly inbound: readonly ConnectionDump[];
  readonly outbound: readonly ConnectionDump[];
}

/** What ztunnel writes of connections that its own end, or their pod's, cut off. */
export const drainReason = 'connection closed due to connection drain';

const workloadGone = 'connection closed: its workload has left';
const sliceSize = 256;
const noWorkload = '';

export class ConnectionRegistry {
  readonly #mesh: MeshView;
  readonly #clock: Clock;
  readonly #gateways: GatewayWatch;
  readonly #byWorkload = new Map<string, Set<ConnectionEntry>>();
  readonly #toCheck = new Set<ConnectionEntry>();
  /** Of every policy, as it was before a change of it: those it was about then are concerned as well. */
  readonly #scopes = new Map<PolicyKey, L4Policy['scope']>();
  readonly #later = new Map<string, Timer>();
  readonly #stopListening: () => void;
  #checking = false;
  #changes = 0;
  #outbound = 0;
  #inboundPlain = 0;

  constructor(mesh: MeshView, clock: Clock) {
    this.#mesh = mesh;
    this.#clock = clock;
    this.#gateways = new GatewayWatch(mesh);
    for (const { key, scope } of mesh.policies()) this.#scopes.set(key, scope);
    this.#stopListening = mesh.onChange((change) => this.#changed(change));
  }

  /** How often the mesh has changed: what was decided at one number may be answered otherwise at another. */
  get changes(): number {
    return this.#changes;
  }

  /** Live connections of a workload, both directions; of unknown workloads: ''. */
  countOf(uid: string): number {
    return this.#byWorkload.get(uid)?.size ?? 0;
  }

  /** Live connections, each workload's for itself. */
  byWorkload(): Iterable<ReadonlySet<ConnectionEntry>> {
    return this.#byWorkload.values();
  }

  /** Keeps it until its hop is over. May stop it at once: it is not what it was decided on any more. */
  add(entry: ConnectionEntry): void {
    if (entry.hop.over) return;
    const uid = entry.workload?.uid ?? noWorkload;
    const ofWorkload = this.#byWorkload.get(uid) ?? new Set();
    this.#byWorkload.set(uid, ofWorkload.add(entry));
    this.#count(entry, 1);
    entry.hop.onEnd(() => {
      this.#toCheck.delete(entry);
      ofWorkload.delete(entry);
      this.#count(entry, -1);
      if (ofWorkload.size === 0 && this.#byWorkload.get(uid) === ofWorkload) this.#byWorkload.delete(uid);
    });
    if (entry.workload !== undefined && this.#mesh.workload(uid) === undefined) stop(entry, workloadGone, '-');
    else if (entry.recheck !== undefined && entry.decidedAt !== this.#changes) this.#checkOne(entry);
  }

  get size(): number {
    let size = 0;
    for (const entries of this.#byWorkload.values()) size += entries.size;
    return size;
  }

  /** Ends one connection, with a reason for its access line. */
  stop(entry: ConnectionEntry, reason: string): void {
    stop(entry, reason, '-');
  }

  /** Ends everything of a workload. */
  stopWorkload(uid: string, reason: string): void {
    for (const entry of [...(this.#byWorkload.get(uid) ?? [])]) stop(entry, reason, '-');
  }

  /** Ends what came in by one place of a workload, or was delivered to it in process. */
  stopPlace(workload: Workload | undefined, place: object, reason: string): void {
    for (const entry of [...(this.#byWorkload.get(workload?.uid ?? noWorkload) ?? [])]) {
      if (entry.place === place) stop(entry, reason, '-');
    }
  }

  /** Ends what is delivered in process for identities whose certificate is revoked; `reasonOf` says so. */
  stopRevoked(reasonOf: (identity: SpiffeId) => string | undefined): void {
    const reasons = new Map<SpiffeId, string | undefined>();
    for (const entries of this.#byWorkload.values()) {
      for (const entry of [...entries]) {
        for (const identity of entry.identities ?? []) {
          const reason = reasons.getOrInsertComputed(identity, reasonOf);
          if (reason !== undefined) stop(entry, `connection closed: ${reason}`, 'CERT_REVOKED');
        }
      }
    }
  }

  /** Ends everything. */
  stopAll(reason: string): void {
    for (const uid of [...this.#byWorkload.keys()]) this.stopWorkload(uid, reason);
  }

  /** Brings byte counters up to date: to be gone through before a scrape, in slices. */
  *flushing(): Generator<void> {
    let left = sliceSize;
    for (const entries of this.#byWorkload.values()) {
      for (const { hop } of entries) {
        hop.flush();
        if (--left > 0) continue;
        left = sliceSize;
        yield;
      }
    }
  }

  /** Connections that have an accepted socket of their own: all but those in a tunnel or delivered in process. */
  sockets(): { readonly outbound: number; readonly inbound: number } {
    return { outbound: this.#outbound, inbound: this.#inboundPlain };
  }

  dump(uid: string): WorkloadConnections {
    return { inbound: [...this.connections(uid, 'inbound')], outbound: [...this.connections(uid, 'outbound')] };
  }

  /** One a step: a workload may have very many. */
  *connections(uid: string, direction: 'inbound' | 'outbound'): Generator<ConnectionDump> {
    for (const { hop, originalDestination, protocol } of this.#byWorkload.get(uid) ?? []) {
      const { source, destination } = hop.facts;
      if (hop.facts.direction !== direction) continue;
      yield {
        src: formatSocketAddress(source.address),
        originalDst: formatSocketAddress(originalDestination),
        actualDst: formatSocketAddress(hop.dialled ?? destination.address),
        protocol,
      };
    }
  }

  close(): void {
    this.#stopListening();
    for (const timer of this.#later.values()) timer.cancel();
    this.#later.clear();
    this.#toCheck.clear();
  }

  #count({ hop, protocol }: ConnectionEntry, by: number): void {
    if (hop.facts.direction === 'outbound') this.#outbound += by;
    else if (protocol === 'TCP') this.#inboundPlain += by;
  }

  #changed(change: MeshChange): void {
    this.#changes++;
    for (const uid of change.removedWorkloads) {
      // One that was removed and put back in one change is still there.
      if (this.#mesh.workload(uid) === undefined) this.stopWorkload(uid, workloadGone);
    }
    const changedWorkloads = new Set(change.workloads);
    const policies = this.#withScopesBefore(change);
    for (const [uid, entries] of this.#byWorkload) {
      const workload = this.#mesh.workload(uid);
      if (workload === undefined) continue;
      const concerned =
        change.removedPolicies.length > 0 ||
        policies.some((policy) => concerns(policy, workload)) ||
        changedWorkloads.has(workload) ||
        // Whom a waypoint's pod admits follows from the waypoint's own records.
        (workload.waypoint !== undefined && this.#gateways.changedBy(change, workload.waypoint));
      if (concerned) for (const entry of entries) if (entry.recheck !== undefined) this.#toCheck.add(entry);
    }
    this.#check();
  }

  /** What has got a selector is not about the rest of its namespace any more, and may have been what let them in. */
  #withScopesBefore({ policies, removedPolicies }: MeshChange): readonly L4Policy[] {
    for (const key of removedPolicies) this.#scopes.delete(key);
    const all = [...policies];
    for (const policy of policies) {
      const before = this.#scopes.get(policy.key);
      this.#scopes.set(policy.key, policy.scope);
      if (before !== undefined && before !== policy.scope) all.push({ ...policy, scope: before });
    }
    return all;
  }

  #check(): void {
    if (this.#checking || this.#toCheck.size === 0) return;
    this.#checking = true;
    let left = sliceSize;
    for (const entry of this.#toCheck) {
      if (left-- === 0) break;
      this.#toCheck.delete(entry);
      this.#checkOne(entry);
    }
    this.#checking = false;
    if (this.#toCheck.size > 0) setImmediate(() => this.#check());
  }

  #checkOne(entry: ConnectionEntry): void {
    const answer = entry.recheck?.() ?? { kind: 'keep' };
    if (answer.kind === 'stop') stop(entry, `connection closed due to policy change: ${answer.reason}`, 'DENY');
    if (answer.kind === 'later') this.#again(entry.workload?.uid ?? noWorkload, answer.inMs);
  }

  /** One timer a workload, however many of its connections wait. */
  #again(uid: string, inMs: number): void {
    if (this.#later.has(uid)) return;
    const timer = this.#clock.after(inMs, () => {
      this.#later.delete(uid);
      for (const entry of this.#byWorkload.get(uid) ?? []) if (entry.recheck !== undefined) this.#toCheck.add(entry);
      this.#check();
    });
    this.#later.set(uid, timer);
  }
}

function concerns(policy: L4Policy, workload: Workload): boolean {
  switch (policy.scope) {
    case 'global':
      return true;
    case 'namespace':
      return policy.namespace === workload.namespace;
    case 'workload':
      return workload.authorizationPolicies.includes(policy.key);
  }
}

function stop(entry: ConnectionEntry, reason: string, flag: 'DENY' | 'CERT_REVOKED' | '-'): void {
  entry.join.stop(new AmbitError(reason, { code: 'ZTUNNEL_CONNECTION_STOPPED', origin: 'local', flag }));
}
