/**
 * L7 authorization: a pure function from policies and the facts of a request or connection to a verdict with its reason.
 * Istio's order: any matching DENY refuses; with ALLOW policies one must match; without any, allowed.
 *
 * I1: a missing attribute fails a positive condition and satisfies a negative one.
 * I2: on a connection that is no HTTP, HTTP conditions widen a DENY and void an ALLOW: doubt never admits anybody.
 */
import { cidrContains, ipToBytes } from '../base/address.ts';
import { type Identity, parseSpiffeId, type SpiffeId } from '../base/spiffe.ts';
import { type HeaderList, joinedHeader } from '../http/header-list.ts';
import type { StringMatch } from '../mesh/model.ts';
import { matchesText } from '../route/match-text.ts';
import type { L7Condition, L7Policy, L7Rule, TextMatch } from '../route/model.ts';

export interface L7Facts {
  /** Proven by mTLS. */
  readonly principal: SpiffeId | undefined;
  readonly sourceIp: string;
  /** The original client behind trusted forwarders; the source itself where there is none. */
  readonly remoteIp: string;
  /** As the client addressed it: VIP and service port, or pod address and port. At a pod's own stage always the latter. */
  readonly destinationIp: string;
  readonly destinationPort: number;
  /** Undefined: the connection is no HTTP. */
  readonly http:
    | {
        readonly method: string;
        /** Exactly the path that is forwarded, without query. */
        readonly path: string;
        readonly host: string;
        readonly headers: HeaderList;
      }
    | undefined;
}

export type L7Verdict =
  /** `policy`: `ns[x]-policy[y]-rule[n]` that allowed; undefined: no ALLOW policy applies. */
  | { readonly kind: 'allow'; readonly policy: string | undefined }
  /** `policy` undefined: no ALLOW policy matched. */
  | { readonly kind: 'deny'; readonly policy: string | undefined; readonly reason: string };

export interface L7Evaluation {
  readonly verdict: L7Verdict;
  /** Matching AUDIT and dry-run policies, for the log. */
  readonly audited: readonly string[];
}

export function evaluateL7(policies: readonly L7Policy[], facts: L7Facts): L7Evaluation {
  const subject = subjectOf(facts);
  const audited: string[] = [];
  let denied: string | undefined;
  let allowed: string | undefined;
  let allowExists = false;
  for (const policy of policies) {
    if (policy.action === 'allow' && !policy.dryRun) allowExists = true;
    const rule = policy.rules.findIndex((candidate) => ruleMatches(candidate, subject, policy.action !== 'allow'));
    if (rule < 0) continue;
    const name = `ns[${policy.source.namespace}]-policy[${policy.source.name}]-rule[${rule}]`;
    if (policy.dryRun || policy.action === 'audit') audited.push(name);
    else if (policy.action === 'deny') denied ??= name;
    else allowed ??= name;
  }
  if (denied !== undefined) return { verdict: { kind: 'deny', policy: denied, reason: matched(denied) }, audited };
  if (allowExists && allowed === undefined) {
    return { verdict: { kind: 'deny', policy: undefined, reason: matched('none') }, audited };
  }
  return { verdict: { kind: 'allow', policy: allowed }, audited };
}

interface Subject {
  readonly facts: L7Facts;
  readonly identity: Identity | undefined;
  readonly sourceBytes: Uint8Array;
  readonly remoteBytes: Uint8Array;
  readonly destinationBytes: Uint8Array;
}

function subjectOf(facts: L7Facts): Subject {
  return {
    facts,
    identity: facts.principal === undefined ? undefined : parseSpiffeId(facts.principal),
    sourceBytes: ipToBytes(facts.sourceIp),
    remoteBytes: ipToBytes(facts.remoteIp),
    destinationBytes: ipToBytes(facts.destinationIp),
  };
}

function matched(policy: string): string {
  return `rbac_access_denied_matched_policy[${policy}]`;
}

function ruleMatches(rule: L7Rule, subject: Subject, widen: boolean): boolean {
  return rule.clauses.every((clause) =>
    clause.some((conditions) => conditions.every((condition) => conditionMatches(condition, subject, widen))),
  );
}

/** `widen`: a condition that cannot be judged counts as true (DENY, AUDIT), else as false (ALLOW). */
function conditionMatches(condition: L7Condition, subject: Subject, widen: boolean): boolean {
  const { facts, identity } = subject;
  switch (condition.kind) {
    case 'principal': {
      const name = facts.principal?.slice('spiffe://'.length);
      return judge(name, condition, matchesString);
    }
    case 'namespace':
      return judge(identity?.namespace, condition, matchesString);
    case 'service-account': {
      const name = identity === undefined ? undefined : `${identity.namespace}/${identity.serviceAccount}`;
      return judge(name, condition, (value, text) => value === text);
    }
    case 'source-ip':
      return judge(subject.sourceBytes, condition, cidrContains);
    case 'remote-ip':
      return judge(subject.remoteBytes, condition, cidrContains);
    case 'destination-ip':
      return judge(subject.destinationBytes, condition, cidrContains);
    case 'destination-port':
      return judge(facts.destinationPort, condition, (value, port) => value === port);
    case 'method':
      return facts.http === undefined ? widen : judge(facts.http.method, condition, matchesText);
    case 'path':
      return facts.http === undefined ? widen : judge(facts.http.path, condition, matchesText);
    case 'host':
      return facts.http === undefined ? widen : judgeHost(facts.http.host, condition, widen);
    case 'header':
      return facts.http === undefined
        ? widen
        : judge(joinedHeader(facts.http.headers, condition.name), condition, matchesText);
  }
}

function judge<Value, Subject>(
  attribute: Subject | undefined,
  condition: { readonly values: readonly Value[]; readonly notValues: readonly Value[] },
  matches: (value: Value, attribute: Subject) => boolean,
): boolean {
  const { values, notValues } = condition;
  if (attribute === undefined) return values.length === 0;
  if (values.length > 0 && !values.some((value) => matches(value, attribute))) return false;
  return !notValues.some((value) => matches(value, attribute));
}

/**
 * I3: a port or a final dot changes nothing about whose host it is: neither evades a DENY, or an exception of an ALLOW.
 * What admits must be written as it is sent, as at Istio.
 */
function judgeHost(
  host: string,
  condition: { readonly values: readonly TextMatch[]; readonly notValues: readonly TextMatch[] },
  widen: boolean,
): boolean {
  const bare = host.replace(/:[0-9]+$/, '').replace(/\.$/, '');
  const loosely = (match: TextMatch) => matchesText(match, host) || matchesText(match, bare);
  const strictly = (match: TextMatch) => matchesText(match, host);
  const { values, notValues } = condition;
  if (values.length > 0 && !values.some(widen ? loosely : strictly)) return false;
  return !notValues.some(widen ? strictly : loosely);
}

function matchesString(match: StringMatch, text: string): boolean {
  switch (match.kind) {
    case 'presence':
      return text.length > 0;
    case 'exact':
      return text === match.value;
    case 'prefix':
      return text.startsWith(match.value);
    case 'suffix':
      return text.endsWith(match.value);
  }
}
