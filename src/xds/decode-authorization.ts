/**
 * A resource of the type `istio.security.Authorization`: an L4 policy, from the bytes of its Any (reference §5.1).
 *
 * I1: a match without conditions arrives as one (policy reads it after the policy's action). So does, in an ALLOW, a match
 *     with conditions of a later version: what cannot be decided allows nobody. In a DENY what is known of it stays, which
 *     denies more than was meant, never less. The same goes for what surrounds matches.
 */
import type { L4Policy, PolicyMatch } from '../mesh/model.ts';
import { enumValue, none, withOne } from './decode-common.ts';
import { decodeMatch, emptyMatch, PolicyBudget } from './decode-match.ts';
import { MalformedRecord, reasonOf, WireReader } from './wire-reader.ts';

export type DecodedAuthorization =
  | { readonly kind: 'policy'; readonly policy: L4Policy }
  /** `reason` names the resource and the field. */
  | { readonly kind: 'invalid'; readonly reason: string };

/** A policy is decoded in one go. Kubernetes takes no object above 1.5 MiB. */
const mostBytes = 4 * 1024 * 1024;
/** Rules, clauses, matches and values of one policy: empty ones are two bytes on the wire and a hundred in memory. */
const mostParts = 200_000;

const scopes = ['global', 'namespace', 'workload'] as const;
const actions = ['allow', 'deny'] as const;
type Action = (typeof actions)[number];
type Clause = readonly PolicyMatch[];
type Rule = readonly Clause[];

/** Never throws. `name` is the resource's name, for the reason. */
export function decodeAuthorization(name: string, bytes: Uint8Array): DecodedAuthorization {
  if (bytes.length > mostBytes) return { kind: 'invalid', reason: `${name}: it has ${bytes.length} bytes` };
  const reader = new WireReader(bytes);
  try {
    return { kind: 'policy', policy: decodePolicy(reader) };
  } catch (error) {
    const where = { bytes, start: 0, end: bytes.length, position: reader.position };
    return { kind: 'invalid', reason: reasonOf(error, name, policyFields, where) };
  }
}

const policyFields: Readonly<Record<number, string>> = {
  1: 'name',
  2: 'namespace',
  3: 'scope',
  4: 'action',
  5: 'rules',
  6: 'dry_run',
  7: 'extensions',
};

function decodePolicy(reader: WireReader): L4Policy {
  let name = '';
  let namespace = '';
  let scope: L4Policy['scope'] = 'global';
  let dryRun = false;
  const action = actionOf(reader);
  let rules: readonly Rule[] = none;
  const budget = new PolicyBudget(mostParts);
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) name = reader.text();
    else if (field === 2) namespace = reader.text();
    else if (field === 3) scope = enumValue(reader, scopes, 'scope');
    else if (field === 5) rules = withOne(rules, ruleOf(reader, action, budget));
    else if (field === 6) dryRun = reader.bool();
    else reader.skip();
  }
  if (name === '') throw new MalformedRecord('it is empty', 'name');
  if (namespace === '') throw new MalformedRecord('it is empty', 'namespace');
  return {
    key: `${namespace}/${name}`,
    name,
    namespace,
    scope,
    action,
    dryRun,
    rules,
  };
}

/** Looked up first: rules are read after it, wherever it stands. */
function actionOf(reader: WireReader): Action {
  let action: Action = 'allow';
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 4) action = enumValue(reader, actions, 'action');
    else reader.skip();
  }
  reader.position = 0;
  return action;
}

/** Matches nobody in an ALLOW. */
const neverHolds: Clause = [emptyMatch];

function ruleOf(reader: WireReader, action: Action, budget: PolicyBudget): Rule {
  budget.take();
  let clauses: Rule = none;
  let unknown = false;
  const outer = reader.enter();
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) clauses = withOne(clauses, clauseOf(reader, action, budget));
    else {
      unknown = true;
      reader.skip();
    }
  }
  reader.leave(outer);
  if (unknown && action === 'allow') clauses = withOne(clauses, neverHolds);
  return clauses;
}

function clauseOf(reader: WireReader, action: Action, budget: PolicyBudget): Clause {
  budget.take();
  let matches: Clause = none;
  let unknown = false;
  const outer = reader.enter();
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 2) {
      budget.take();
      const { match, complete } = decodeMatch(reader, budget);
      matches = withOne(matches, complete || action === 'deny' ? match : emptyMatch);
    } else {
      unknown = true;
      reader.skip();
    }
  }
  reader.leave(outer);
  // In a DENY a clause of which a part is unknown holds for everybody.
  if (unknown) return action === 'allow' ? neverHolds : none;
  return matches;
}
