/**
 * Whether a connection may reach a workload: the L4 policies in force, the article's rule for pods behind a waypoint, and
 * patience with policies that are named but still under way (seed-design.md R40, ztunnel.md §5, istiod-observed.md).
 *
 * I1: while a named policy may be under way, nothing is let in that it could forbid: the answer is to wait.
 */
import type { Clock } from '../base/clock.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import { otherIds } from '../base/trust-domains.ts';
import type { Preset } from '../config/preset.ts';
import type { MeshChange, PolicyKey, Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import { waypointIdentities } from '../mesh/waypoint.ts';
import { type DryRunDenial, type DryRunNote, evaluateL4, type L4Verdict, l4DenialText } from '../policy/l4.ts';
import { nearestAllow, nearMissText } from '../policy/l4-near-miss.ts';
import type { L4Connection } from '../policy/l4-peer.ts';
import type { ZtunnelSettings } from './settings.ts';

export interface AuthorizationContext {
  readonly mesh: MeshView;
  readonly preset: Preset;
  readonly settings: ZtunnelSettings;
  readonly grace: UnknownPolicyGrace;
}

/** What decided, for logs and metrics: a bounded set of words and the policy's own name. */
export interface PolicyOutcome {
  readonly action: 'allow' | 'deny';
  readonly cause: L4Verdict['reason'] | 'waypoint-only';
  readonly policy: PolicyKey | undefined;
  readonly rule: number | undefined;
  readonly dryRun: readonly DryRunNote[];
  readonly dryRunDenial: DryRunDenial | undefined;
}

export type Authorization =
  | { readonly kind: 'allow'; readonly reason: string; readonly outcome: PolicyOutcome }
  | {
      readonly kind: 'deny';
      readonly reason: string;
      readonly outcome: PolicyOutcome;
      /** It matched only because an empty match counts as one: worth a warning that names it. */
      readonly emptyMatchOf: PolicyKey | undefined;
    }
  /** A named policy may still arrive: ask again after a change of the mesh, or when this time is over. */
  | { readonly kind: 'wait'; readonly forMs: number };

export function authorize(
  workload: Workload,
  peer: SpiffeId | undefined,
  connection: Omit<L4Connection, 'peer'>,
  context: AuthorizationContext,
): Authorization {
  const { mesh, preset, settings } = context;
  const inForce = mesh.policiesFor(workload);
  const anyPolicy = inForce.policies.length > 0 || inForce.missing.length > 0;
  if (preset.onlyWaypointBehindPolicies && workload.waypoint !== undefined && anyPolicy) {
    const admitted = peer !== undefined && waypointIdentities(mesh, workload.waypoint).includes(peer);
    const outcome = waypointOnly(admitted);
    return admitted
      ? { kind: 'allow', reason: 'peer is the waypoint of the workload', outcome }
      : { kind: 'deny', reason: 'only the waypoint of the workload is admitted', outcome, emptyMatchOf: undefined };
  }
  const graceMs = settings.unknownPolicy === 'deny' ? context.grace.remainingMs(workload, inForce.missing) : 0;
  const unknownPolicy = graceMs > 0 ? 'skip' : settings.unknownPolicy;
  const alsoKnownAs = otherIds(peer, workload.trustDomain, settings.trustDomainAliases);
  const described = { ...connection, peer, alsoKnownAs };
  const verdict = evaluateL4(described, inForce, { unknownPolicy, emptyDenyMatch: settings.emptyDenyMatch });
  if (verdict.kind === 'deny') {
    const { policy, rule, dryRun } = verdict;
    const text = l4DenialText(verdict, peer === undefined);
    const nearest = verdict.reason === 'not-allowed' ? nearestAllow(described, inForce) : undefined;
    return {
      kind: 'deny',
      reason: nearest === undefined ? text : `${text}; ${nearMissText(nearest, described)}`,
      outcome: { action: 'deny', cause: verdict.reason, policy, rule, dryRun, dryRunDenial: undefined },
      emptyMatchOf: verdict.emptyMatch ? policy : undefined,
    };
  }
  if (graceMs > 0) return { kind: 'wait', forMs: graceMs };
  const { policy, rule, dryRun, dryRunDenial, reason: cause } = verdict;
  const outcome: PolicyOutcome = { action: 'allow', cause, policy, rule, dryRun, dryRunDenial };
  return { kind: 'allow', reason: policy === undefined ? cause : `allowed by: ${policy} rule ${rule}`, outcome };
}

function waypointOnly(admitted: boolean): PolicyOutcome {
  const action = admitted ? 'allow' : 'deny';
  return { action, cause: 'waypoint-only', policy: undefined, rule: undefined, dryRun: [], dryRunDenial: undefined };
}

/**
 * For how long a missing policy counts as being under way: since the workload that names it last changed, or since the
 * policy itself went; after the first state since that was complete.
 *
 * I1: a workload is remembered only when a policy it names was missing as it changed: of a mesh that is whole, none is.
 */
export class UnknownPolicyGrace {
  readonly #clock: Clock;
  readonly #graceMs: number;
  readonly #mesh: Pick<MeshView, 'complete' | 'policy'>;
  #startedMs: number;
  #complete: boolean;
  readonly #changedMs = new WeakMap<Workload, number>();
  readonly #removedMs = new Map<PolicyKey, number>();

  constructor(mesh: Pick<MeshView, 'complete' | 'policy'>, clock: Clock, graceMs: number) {
    this.#mesh = mesh;
    this.#complete = mesh.complete;
    this.#clock = clock;
    this.#graceMs = graceMs;
    this.#startedMs = clock.nowMs();
  }

  /** To be told of every change of the mesh, once it is in force. */
  changed({ workloads, removedPolicies }: MeshChange): void {
    const now = this.#clock.nowMs();
    if (!this.#complete) {
      this.#startedMs = now;
      this.#complete = this.#mesh.complete;
      return;
    }
    for (const [key, atMs] of this.#removedMs) if (now - atMs > this.#graceMs) this.#removedMs.delete(key);
    for (const key of removedPolicies) this.#removedMs.set(key, now);
    for (const workload of workloads) {
      const named = workload.authorizationPolicies;
      if (named.length > 0 && named.some((key) => this.#mesh.policy(key) === undefined))
        this.#changedMs.set(workload, now);
    }
  }

  remainingMs(workload: Workload, missing: readonly PolicyKey[]): number {
    if (missing.length === 0) return 0;
    let latest = this.#changedMs.get(workload) ?? this.#startedMs;
    for (const key of missing) latest = Math.max(latest, this.#removedMs.get(key) ?? 0);
    return Math.max(0, latest + this.#graceMs - this.#clock.nowMs());
  }
}
