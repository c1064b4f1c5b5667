/**
 * L4 authorization of one connection at its destination: a pure function of the policies in force and of what is known
 * about the peer, with the policy and rule that decided. Semantics of ztunnel (reference §5.2, §5.3), safer in two
 * places (istiod-observed.md): a DENY that lost its conditions on the way still denies, and a policy that is named but
 * never arrived denies.
 */
import { type Cidr, cidrContains } from '../base/address.ts';
import type { Identity } from '../base/spiffe.ts';
import type { L4Policy, PoliciesInForce, PolicyKey, PolicyMatch, StringMatch } from '../mesh/model.ts';
import { l4Index } from './l4-index.ts';
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

export type L4Verdict =
  | {
      readonly kind: 'allow';
      readonly reason: 'no-allow-policies' | 'allowed-by-policy';
      readonly policy: PolicyKey | undefined;
      /** Index of the rule within the policy. */
      readonly rule: number | undefined;
      readonly dryRun: readonly DryRunNote[];
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
  const { deny, allow, restricts } = l4Index(inForce);
  const emptyCounts = options.emptyDenyMatch === 'match';
  const denied = decidingRule(deny.candidates(peer), peer, emptyCounts, dryRun);
  if (denied !== undefined) return { kind: 'deny', reason: 'denied-by-policy', ...denied, dryRun };
  const allowed = decidingRule(allow.candidates(peer), peer, false, dryRun);
  if (allowed !== undefined) {
    const { policy, rule } = allowed;
    return { kind: 'allow', reason: 'allowed-by-policy', policy, rule, dryRun };
  }
  if (!restricts) return { kind: 'allow', reason: 'no-allow-policies', policy: undefined, rule: undefined, dryRun };
  return { kind: 'deny', reason: 'not-allowed', policy: undefined, rule: undefined, emptyMatch: false, dryRun };
}

/** The reason in ztunnel's words, as access logs carry it. */
export function l4DenialText(verdict: Extract<L4Verdict, { kind: 'deny' }>): string {
  switch (verdict.reason) {
    case 'denied-by-policy':
      return `explicitly denied by: ${verdict.policy}`;
    case 'not-allowed':
      return 'allow policies exist, but none allowed';
    case 'unknown-policy':
      return `policy is named by the workload but unknown: ${verdict.policy}`;
  }
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

function matchHolds(match: PolicyMatch, peer: L4Peer): boolean {
  return (
    textHolds(match.namespaces, match.notNamespaces, peer.identity?.namespace) &&
    textHolds(match.principals, match.notPrincipals, peer.principal) &&
    accountHolds(match, peer.identity) &&
    ipHolds(match.sourceIps, match.notSourceIps, peer.sourceIp) &&
    ipHolds(match.destinationIps, match.notDestinationIps, peer.destinationIp) &&
    (match.destinationPorts.length === 0 || match.destinationPorts.includes(peer.connection.destinationPort)) &&
    !match.notDestinationPorts.includes(peer.connection.destinationPort)
  );
}

/** A peer without the attribute matches nothing, not even presence: this is how STRICT is written. */
function textHolds(
  values: readonly StringMatch[],
  notValues: readonly StringMatch[],
  text: string | undefined,
): boolean {
  if (text === undefined) return values.length === 0;
  if (values.length > 0 && !values.some((value) => matchesText(value, text))) return false;
  return !notValues.some((value) => matchesText(value, text));
}

function matchesText(match: StringMatch, text: string): boolean {
  switch (match.kind) {
    case 'exact':
      return text === match.value;
    case 'prefix':
      return text.startsWith(match.value);
    case 'suffix':
      return text.endsWith(match.value);
    case 'presence':
      return text !== '';
  }
}

function accountHolds(match: PolicyMatch, identity: Identity | undefined): boolean {
  const is = (account: { readonly namespace: string; readonly serviceAccount: string }) =>
    account.namespace === identity?.namespace && account.serviceAccount === identity.serviceAccount;
  return (match.serviceAccounts.length === 0 || match.serviceAccounts.some(is)) && !match.notServiceAccounts.some(is);
}

function ipHolds(blocks: readonly Cidr[], notBlocks: readonly Cidr[], ip: Uint8Array): boolean {
  const holds = (block: Cidr) => cidrContains(block, ip);
  return (blocks.length === 0 || blocks.some(holds)) && !notBlocks.some(holds);
}
