/**
 * L7 authorization: a pure function from policies and the facts of a request or connection to a verdict with its reason.
 * Istio's order: any matching DENY refuses; with ALLOW policies one must match; without any, allowed. What policies ask
 * of a connection is decided once for it; of each request is asked what is left, and of many rules only those are
 * looked at that its path can meet.
 *
 * I1: a missing attribute fails a positive condition and satisfies a negative one.
 * I2: on a connection that is no HTTP, HTTP conditions widen a DENY and void an ALLOW: doubt never admits anybody.
 */
import type { StringMatch } from '../mesh/model.ts';
import type { L7Condition, L7Policy, L7Rule, TextMatch } from '../route/model.ts';
import { TextIndex, type TextKeys } from '../route/text-index.ts';
import {
  ConnectionSubject,
  isRequestCondition,
  type L7Connection,
  type L7Request,
  type RequestCondition,
  requestHolds,
} from './l7-conditions.ts';

export interface L7Facts extends L7Connection {
  /** Undefined: the connection is no HTTP. */
  readonly http: L7Request | undefined;
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

export function evaluateL7(policies: readonly L7Policy[], { http, ...connection }: L7Facts): L7Evaluation {
  return new ConnectionPolicies(policies, connection).evaluate(http);
}

/** One rule of a policy. Rules of one policy follow each other; the first that matches speaks for it. */
interface PolicyRule<Condition> {
  readonly policy: L7Policy;
  readonly name: string;
  /** Clauses AND, sets in a clause OR, conditions in a set AND. */
  readonly clauses: readonly (readonly (readonly Condition[])[])[];
}

type RequestRule = PolicyRule<RequestCondition>;

/** What policies that are in force ask of the requests of one connection. */
export class ConnectionPolicies {
  readonly #allowExists: boolean;
  readonly #rules: TextIndex<RequestRule>;
  /** What most requests get: the same object for the same rule. */
  #lastAllowed: L7Evaluation = allowedBy(undefined);

  /** A list of policies is taken for immutable. */
  constructor(policies: readonly L7Policy[], connection: L7Connection) {
    const { allowExists, rules } = ruleLists.getOrInsertComputed(policies, ruleListOf);
    const subject = new ConnectionSubject(connection);
    const left: RequestRule[] = [];
    const concerned = subject.ambiguous ? rules.items : rules.candidates(subject.principal ?? '');
    for (const rule of concerned) {
      const reduced = reduce(rule, subject);
      if (reduced !== undefined) left.push(reduced);
    }
    this.#allowExists = allowExists;
    this.#rules = new TextIndex(left, (rule) => keysOf(rule.clauses, 'path'));
  }

  evaluate(request: L7Request | undefined): L7Evaluation {
    const rules = request === undefined ? this.#rules.items : this.#rules.candidates(request.path);
    let audited: string[] | undefined;
    let denied: string | undefined;
    let allowed: string | undefined;
    let decided: L7Policy | undefined;
    for (const { policy, name, clauses } of rules) {
      if (policy === decided || !matches(clauses, request, policy.action !== 'allow')) continue;
      decided = policy;
      if (policy.dryRun || policy.action === 'audit') audited = [...(audited ?? []), name];
      else if (policy.action === 'deny') denied ??= name;
      else allowed ??= name;
    }
    if (denied === undefined && audited === undefined && allowed !== undefined) return this.#allowed(allowed);
    return { verdict: this.#verdict(denied, allowed), audited: audited ?? none };
  }

  #allowed(name: string): L7Evaluation {
    if (this.#lastAllowed.verdict.policy !== name) this.#lastAllowed = allowedBy(name);
    return this.#lastAllowed;
  }

  #verdict(denied: string | undefined, allowed: string | undefined): L7Verdict {
    if (denied !== undefined) return { kind: 'deny', policy: denied, reason: matched(denied) };
    if (allowed === undefined && this.#allowExists) return { kind: 'deny', policy: undefined, reason: matched('none') };
    return { kind: 'allow', policy: allowed };
  }
}

const none: readonly string[] = [];

function allowedBy(policy: string | undefined): L7Evaluation {
  return { verdict: { kind: 'allow', policy }, audited: none };
}

interface RuleList {
  /** An ALLOW policy is in force, so one must match. */
  readonly allowExists: boolean;
  /** By principal. */
  readonly rules: TextIndex<PolicyRule<L7Condition>>;
}

const ruleLists = new WeakMap<readonly L7Policy[], RuleList>();

function ruleListOf(policies: readonly L7Policy[]): RuleList {
  const rules = policies.flatMap((policy) =>
    policy.rules.map(({ clauses }: L7Rule, at) => {
      const { namespace, name } = policy.source;
      return { policy, name: `ns[${namespace}]-policy[${name}]-rule[${at}]`, clauses };
    }),
  );
  return {
    allowExists: policies.some(({ action, dryRun }) => action === 'allow' && !dryRun),
    rules: new TextIndex(rules, ({ clauses }) => keysOf(clauses, 'principal')),
  };
}

/** What is left of a rule to be asked of requests; undefined: it can never match on this connection. */
function reduce(
  { policy, name, clauses }: PolicyRule<L7Condition>,
  subject: ConnectionSubject,
): RequestRule | undefined {
  const left: (readonly RequestCondition[])[][] = [];
  for (const clause of clauses) {
    const sets = clause
      .filter((set) => set.every((condition) => isRequestCondition(condition) || subject.holds(condition)))
      .map((set) => set.filter(isRequestCondition));
    if (sets.length === 0) return undefined;
    if (sets.every((set) => set.length > 0)) left.push(sets);
  }
  return { policy, name, clauses: left };
}

function matches(clauses: RequestRule['clauses'], request: L7Request | undefined, widen: boolean): boolean {
  for (const clause of clauses) if (!someSetHolds(clause, request, widen)) return false;
  return true;
}

function someSetHolds(clause: RequestRule['clauses'][number], request: L7Request | undefined, widen: boolean): boolean {
  for (const set of clause) if (holds(set, request, widen)) return true;
  return false;
}

function holds(set: readonly RequestCondition[], request: L7Request | undefined, widen: boolean): boolean {
  for (const condition of set) if (!requestHolds(condition, request, widen)) return false;
  return true;
}

/** Texts of which a rule needs one, when each way through one of its clauses asks for one. */
function keysOf(clauses: PolicyRule<L7Condition>['clauses'], kind: 'principal' | 'path'): TextKeys {
  for (const clause of clauses) {
    const keys = clause.map((set) => keysOfSet(set, kind));
    if (keys.every((each) => each !== undefined)) return keys.flat();
  }
  return undefined;
}

function keysOfSet(set: readonly L7Condition[], kind: 'principal' | 'path'): TextKeys {
  for (const condition of set) {
    if (condition.kind !== kind || condition.values.length === 0) continue;
    const keys = condition.values.map(keyOf);
    if (keys.every((key) => key !== undefined)) return keys;
  }
  return undefined;
}

function keyOf(match: StringMatch | TextMatch): NonNullable<TextKeys>[number] | undefined {
  if (match.kind !== 'exact' && match.kind !== 'prefix') return undefined;
  if ('ignoreCase' in match && match.ignoreCase) return undefined;
  return { kind: match.kind, value: match.value };
}

function matched(policy: string): string {
  return `rbac_access_denied_matched_policy[${policy}]`;
}
