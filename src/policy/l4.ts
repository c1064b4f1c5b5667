/**
 * L4 authorization of one connection at its destination: a pure function of the policies in force and of what is known
 * about the peer, with the policy and rule that decided. Semantics of ztunnel (reference §5.2, §5.3), safer in two
 * places (istiod-observed.md): a DENY that lost its conditions on the way still denies, and a policy that is named but
 * never arrived denies.
 */
import type { L4Policy, PoliciesInForce, PolicyKey } from '../mesh/model.ts';
import { l4Index } from './l4-index.ts';
import { matchHolds } from './l4-match.ts';
import { describePeer, type L4Connection, type L4Peer } from './l4-peer.ts';
import { type IndexedRule, isEmptyMatch } from './rule-index.ts';

export interface L4Options {
  /** What a policy means that is named but unknown. `skip` only while it may still be under way. */
  readonly unknownPolicy: 'deny' | 'skip';
  /** What a match without any condition means in a DENY. `ignore` is ztunnel's reading, which fails open. */
  readonly emptyDenyMatch: 'match' | 'ignore';
}

/** What a dry-run policy would have done. */
export interface DryRunNote {
  readonly policy: PolicyKey;
  readonly rule: number;
  readonly action: 'allow' | 'deny';
}

/** Why the dry-run policies together, had they been enforced, would have refused what was allowed. */
export interface DryRunDenial {
  readonly reason: 'denied-by-policy' | 'not-allowed';
  /** Undefined: dry-run ALLOW policies exist, and none allows. */
  readonly policy: PolicyKey | undefined;
  readonly rule: number | undefined;
}

export type L4Verdict =
  | {
      readonly kind: 'allow';
      readonly reason: 'no-allow-policies' | 'allowed-by-policy';
      readonly policy: PolicyKey | undefined;
      /** Index of the rule within the policy. */
      readonly rule: number | undefined;
      readonly dryRun: readonly DryRunNote[];
      readonly dryRunDenial: DryRunDenial | undefined;
    }
  | {
      readonly kind: 'deny';
      readonly reason: 'denied-by-policy' | 'not-allowed' | 'unknown-policy';
      readonly policy: PolicyKey | undefined;
      readonly rule: number | undefined;
      /** The rule matched only because an empty match counts: worth a warning that names the policy. */
      readonly emptyMatch: boolean;
      readonly dryRun: readonly DryRunNote[];
    };

export const failClosed: L4Options = { unknownPolicy: 'deny', emptyDenyMatch: 'match' };

/** Unknown policy, then DENY, then ALLOW; with no ALLOW policy in force everything not denied is allowed. */
export function evaluateL4(connection: L4Connection, inForce: PoliciesInForce, options: L4Options): L4Verdict {
  const peer = describePeer(connection);
  const dryRun: DryRunNote[] = [];
  const missing = inForce.missing[0];
  if (missing !== undefined && options.unknownPolicy === 'deny') {
    return { kind: 'deny', reason: 'unknown-policy', policy: missing, rule: undefined, emptyMatch: false, dryRun };
  }
  const { deny, allow, restricts, dryRunRestricts } = l4Index(inForce);
  const emptyCounts = options.emptyDenyMatch === 'match';
  const denied = decidingRule(deny.candidates(peer), peer, emptyCounts, dryRun);
  if (denied !== undefined) return { kind: 'deny', reason: 'denied-by-policy', ...denied, dryRun };
  const allowed = decidingRule(allow.candidates(peer), peer, false, dryRun);
  if (allowed !== undefined) {
    const { policy, rule } = allowed;
    const dryRunDenial = dryRunDenialOf(dryRun, false);
    return { kind: 'allow', reason: 'allowed-by-policy', policy, rule, dryRun, dryRunDenial };
  }
  if (!restricts) {
    const dryRunDenial = dryRunDenialOf(dryRun, dryRunRestricts);
    return { kind: 'allow', reason: 'no-allow-policies', policy: undefined, rule: undefined, dryRun, dryRunDenial };
  }
  return { kind: 'deny', reason: 'not-allowed', policy: undefined, rule: undefined, emptyMatch: false, dryRun };
}

/** The reason in ztunnel's words, as access logs carry it, and the rule. */
export function l4DenialText(verdict: Extract<L4Verdict, { kind: 'deny' }>, plaintext = false): string {
  switch (verdict.reason) {
    case 'denied-by-policy': {
      const strict = plaintext && verdict.policy !== undefined && isStrictMtls(verdict.policy);
      const why = strict ? ': strict mutual TLS, and the connection came in clear' : '';
      return `explicitly denied by: ${verdict.policy} rule ${verdict.rule}${why}`;
    }
    case 'not-allowed':
      return 'allow policies exist, but none allowed';
    case 'unknown-policy':
      return `policy is named by the workload but unknown: ${verdict.policy}`;
  }
}

/** What istiod makes of PeerAuthentication: these say STRICT, and nobody wrote them. */
function isStrictMtls(policy: PolicyKey): boolean {
  return /\/(istio_converted_static_strict$|converted_peer_authentication_)/.test(policy);
}

function dryRunDenialOf(notes: readonly DryRunNote[], restricts: boolean): DryRunDenial | undefined {
  const denial = notes.find(({ action }) => action === 'deny');
  if (denial !== undefined) return { reason: 'denied-by-policy', policy: denial.policy, rule: denial.rule };
  if (!restricts || notes.length > 0) return undefined;
  return { reason: 'not-allowed', policy: undefined, rule: undefined };
}

interface RuleHit {
  readonly policy: PolicyKey;
  readonly rule: number;
  readonly emptyMatch: boolean;
}

/** The first that holds and counts. Those of dry-run policies before it are noted, one a policy. */
function decidingRule(
  candidates: readonly IndexedRule[],
  peer: L4Peer,
  emptyCounts: boolean,
  dryRun: DryRunNote[],
): RuleHit | undefined {
  let noted: L4Policy | undefined;
  for (const { of, rule, clauses } of candidates) {
    const { policy } = of;
    if (policy === noted) continue;
    const holds = ruleHolds(clauses, peer, emptyCounts);
    if (holds === 'no') continue;
    if (!policy.dryRun) return { policy: policy.key, rule, emptyMatch: holds === 'by-empty-match' };
    dryRun.push({ policy: policy.key, rule, action: policy.action });
    noted = policy;
  }
  return undefined;
}

function ruleHolds(
  clauses: IndexedRule['clauses'],
  peer: L4Peer,
  emptyCounts: boolean,
): 'yes' | 'by-empty-match' | 'no' {
  let byEmpty = false;
  for (const matches of clauses) {
    if (matches.length === 0 || matches.some((match) => !isEmptyMatch(match) && matchHolds(match, peer))) continue;
    if (!emptyCounts || !matches.some(isEmptyMatch)) return 'no';
    byEmpty = true;
  }
  return byEmpty ? 'by-empty-match' : 'yes';
}
