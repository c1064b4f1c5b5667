/**
 * L4 authorization of one connection at its destination: a pure function of the policies in force and of what is known
 * about the peer, with the policy and rule that decided. Semantics of ztunnel (reference §5.2, §5.3), safer in two
 * places (istiod-observed.md): a DENY that lost its conditions on the way still denies, and a policy that is named but
 * never arrived denies.
 */
import { type Cidr, cidrContains, ipToBytes } from '../base/address.ts';
import { type Identity, parseSpiffeId } from '../base/spiffe.ts';
import type { L4Policy, PolicyKey, PolicyMatch, StringMatch } from '../mesh/model.ts';

export interface L4Connection {
  /** The peer's verified SPIFFE id; undefined for plaintext. */
  readonly peer: string | undefined;
  /** Canonical. */
  readonly sourceIp: string;
  /** Of the application's socket, not of the tunnel. */
  readonly destinationIp: string;
  readonly destinationPort: number;
}

export interface L4Options {
  /** What a policy means that is named but unknown. `skip` only while it may still be under way. */
  readonly unknownPolicy: 'deny' | 'skip';
  /** What a match without any condition means in a DENY. `ignore` is ztunnel's reading, which fails open. */
  readonly emptyDenyMatch: 'match' | 'ignore';
}

/** Policies in force, as `MeshView.policiesFor` answers. */
export interface L4Policies {
  readonly policies: readonly L4Policy[];
  readonly missing: readonly PolicyKey[];
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
export function evaluateL4(connection: L4Connection, inForce: L4Policies, options: L4Options): L4Verdict {
  const peer = describePeer(connection);
  const dryRun: DryRunNote[] = [];
  const missing = inForce.missing[0];
  if (missing !== undefined && options.unknownPolicy === 'deny') {
    return { kind: 'deny', reason: 'unknown-policy', policy: missing, rule: undefined, emptyMatch: false, dryRun };
  }
  for (const policy of inForce.policies) {
    if (policy.action !== 'deny') continue;
    const hit = matchingRule(policy, peer, options.emptyDenyMatch === 'match');
    if (hit === undefined) continue;
    if (policy.dryRun) dryRun.push({ policy: policy.key, rule: hit.rule, action: 'deny' });
    else return { kind: 'deny', reason: 'denied-by-policy', policy: policy.key, ...hit, dryRun };
  }
  let anyAllow = false;
  for (const policy of inForce.policies) {
    if (policy.action !== 'allow') continue;
    if (!policy.dryRun) anyAllow = true;
    const hit = matchingRule(policy, peer, false);
    if (hit === undefined) continue;
    if (policy.dryRun) dryRun.push({ policy: policy.key, rule: hit.rule, action: 'allow' });
    else return { kind: 'allow', reason: 'allowed-by-policy', policy: policy.key, rule: hit.rule, dryRun };
  }
  if (!anyAllow) return { kind: 'allow', reason: 'no-allow-policies', policy: undefined, rule: undefined, dryRun };
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

interface Peer {
  readonly identity: Identity | undefined;
  /** The id without its scheme. */
  readonly principal: string | undefined;
  readonly sourceIp: Uint8Array;
  readonly destinationIp: Uint8Array;
  readonly destinationPort: number;
}

function describePeer(connection: L4Connection): Peer {
  const { peer, sourceIp, destinationIp, destinationPort } = connection;
  return {
    identity: peer === undefined ? undefined : parseSpiffeId(peer),
    principal: peer?.startsWith('spiffe://') === true ? peer.slice('spiffe://'.length) : peer,
    sourceIp: ipToBytes(sourceIp),
    destinationIp: ipToBytes(destinationIp),
    destinationPort,
  };
}

interface RuleHit {
  readonly rule: number;
  readonly emptyMatch: boolean;
}

function matchingRule(policy: L4Policy, peer: Peer, emptyCounts: boolean): RuleHit | undefined {
  for (const [rule, clauses] of policy.rules.entries()) {
    let emptyMatch = false;
    const holds = clauses.every((matches) => {
      if (matches.length === 0 || matches.some((match) => !isEmpty(match) && matchHolds(match, peer))) return true;
      const byEmpty = emptyCounts && matches.some(isEmpty);
      emptyMatch ||= byEmpty;
      return byEmpty;
    });
    if (holds) return { rule, emptyMatch };
  }
  return undefined;
}

function isEmpty(match: PolicyMatch): boolean {
  return (
    match.namespaces.length === 0 &&
    match.notNamespaces.length === 0 &&
    match.principals.length === 0 &&
    match.notPrincipals.length === 0 &&
    match.serviceAccounts.length === 0 &&
    match.notServiceAccounts.length === 0 &&
    match.sourceIps.length === 0 &&
    match.notSourceIps.length === 0 &&
    match.destinationIps.length === 0 &&
    match.notDestinationIps.length === 0 &&
    match.destinationPorts.length === 0 &&
    match.notDestinationPorts.length === 0
  );
}

function matchHolds(match: PolicyMatch, peer: Peer): boolean {
  return (
    textHolds(match.namespaces, match.notNamespaces, peer.identity?.namespace) &&
    textHolds(match.principals, match.notPrincipals, peer.principal) &&
    accountHolds(match, peer.identity) &&
    ipHolds(match.sourceIps, match.notSourceIps, peer.sourceIp) &&
    ipHolds(match.destinationIps, match.notDestinationIps, peer.destinationIp) &&
    (match.destinationPorts.length === 0 || match.destinationPorts.includes(peer.destinationPort)) &&
    !match.notDestinationPorts.includes(peer.destinationPort)
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
