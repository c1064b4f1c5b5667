/**
 * AuthorizationPolicy: who may do what. One parse gives the full rules for waypoints and, derived from them, the L4 rules
 * for ztunnel as istiod makes them.
 *
 * I1: what cannot be read or decided never opens anything: an ALLOW rule is dropped, a DENY rule loses the condition and
 * so denies more, and a policy that is unreadable as a whole becomes "nothing allowed" in its namespace.
 */
import * as z from 'zod';
import type { Diagnostic } from '../base/diagnostics.ts';
import type { L4Policy } from '../mesh/model.ts';
import type { L7Condition, L7Policy, L7Rule } from '../route/model.ts';
import { l4Rules } from './l4-rules.ts';
import { type ConfigObject, diagnose, type Parsed, perObject } from './object.ts';
import { type ConditionOutcome, fieldCondition, type PolicyField, whenCondition } from './policy-conditions.ts';
import { type PolicyTarget, readTargets } from './policy-targets.ts';
import { labelsSchema, listOf } from './values.ts';

export interface AuthorizationPolicySpec {
  readonly object: ConfigObject;
  readonly name: string;
  readonly namespace: string;
  /** Undefined: every pod of the namespace, or of the mesh in the root namespace. Not looked at when there are targets. */
  readonly selector: Readonly<Record<string, string>> | undefined;
  readonly targets: readonly PolicyTarget[];
  /** `custom` only with targets. */
  readonly action: L7Policy['action'] | 'custom';
  /** Whom a CUSTOM policy asks; empty: it does not say. */
  readonly provider: string;
  readonly dryRun: boolean;
  readonly rules: readonly L7Rule[];
  readonly l4Rules: L4Policy['rules'];
  /** Some rule has conditions that only a waypoint can judge. */
  readonly needsL7: boolean;
}

const outerSchema = z.strictObject({
  selector: z.strictObject({ matchLabels: labelsSchema.nullish() }).nullish(),
  targetRef: z.unknown().optional(),
  targetRefs: z.unknown().optional(),
  action: z.enum(['ALLOW', 'DENY', 'AUDIT', 'CUSTOM']).default('ALLOW'),
  provider: z.object({ name: z.string().optional() }).nullish(),
  rules: listOf(z.unknown()),
});

const texts = listOf(z.union([z.string(), z.number()]).transform(String));
const fieldsOf = (names: readonly PolicyField[]) =>
  z
    .strictObject(Object.fromEntries(names.flatMap((name) => [name, negated(name)]).map((name) => [name, texts])))
    .refine((fields) => Object.values(fields).some((list) => list.length > 0), 'names no condition');

const sourceFields = [
  'principals',
  'requestPrincipals',
  'namespaces',
  'ipBlocks',
  'remoteIpBlocks',
  'serviceAccounts',
  'trustDomains',
] as const satisfies readonly PolicyField[];
const operationFields = ['hosts', 'ports', 'methods', 'paths'] as const satisfies readonly PolicyField[];

const ruleSchema = z
  .strictObject({
    from: listOf(z.strictObject({ source: fieldsOf(sourceFields) })),
    to: listOf(z.strictObject({ operation: fieldsOf(operationFields) })),
    when: listOf(
      z
        .strictObject({ key: z.string(), values: texts, notValues: texts })
        .refine(({ values, notValues }) => values.length + notValues.length > 0, 'has neither values nor notValues'),
    ),
  })
  .nullable()
  .transform((rule) => rule ?? { from: [], to: [], when: [] });

export const parseAuthorizationPolicy = perObject((object: ConfigObject): Parsed<AuthorizationPolicySpec> => {
  const { name, namespace, annotations } = object.metadata;
  const outer = outerSchema.safeParse(object.content.spec ?? {});
  const targets = outer.success ? readTargets(outer.data) : undefined;
  const common = {
    object,
    name,
    namespace,
    provider: outer.data?.provider?.name ?? '',
    dryRun: annotations['istio.io/dry-run'] === 'true',
  };
  if (!outer.success || targets === undefined) {
    const issue = outer.error?.issues[0];
    const path = ['spec', ...(issue?.path ?? []).filter((step) => typeof step !== 'symbol')];
    const message = `${issue === undefined ? 'targetRefs cannot be read' : `${path.join('.')}: ${issue.message}`}; everything in the namespace is denied`;
    const nothing = {
      selector: undefined,
      targets: [],
      action: 'allow',
      rules: [],
      l4Rules: [],
      needsL7: false,
    } as const;
    return {
      value: { ...common, ...nothing, dryRun: false },
      diagnostics: [diagnose(object, 'OBJECT_INVALID', message, path)],
    };
  }
  const { selector, action: word, rules: ruleTexts } = outer.data;
  const diagnostics: Diagnostic[] = [];
  const custom = word === 'CUSTOM' && targets.length > 0;
  if (word === 'CUSTOM' && !custom) {
    const message = 'action CUSTOM needs targetRefs: waypoints ask, ztunnel cannot; what the rules match is denied';
    diagnostics.push(diagnose(object, 'POLICY_UNSUPPORTED', message, ['spec', 'action']));
  }
  const action = custom ? 'custom' : word === 'ALLOW' ? 'allow' : word === 'AUDIT' ? 'audit' : 'deny';
  const rules = ruleTexts.flatMap((text, i) => {
    const rule = readRule(object, text, i, action, diagnostics);
    return rule === undefined ? [] : [rule];
  });
  const labels = selector?.matchLabels ?? {};
  return {
    value: {
      ...common,
      selector: Object.keys(labels).length > 0 ? labels : undefined,
      targets,
      action,
      rules,
      ...l4Rules(rules, action === 'custom' ? 'deny' : action),
    },
    diagnostics,
  };
});

const effects = {
  allow: 'the rule is dropped',
  deny: 'the rule denies more',
  audit: 'the rule notes more',
  custom: 'the rule asks about more',
} as const;

/** Nobody has verified one when a CUSTOM policy is asked. */
const ofTokens: ReadonlySet<L7Condition['kind']> = new Set(['request-principal', 'audience', 'presenter', 'claim']);

/** Undefined: the rule is dropped. */
function readRule(
  object: ConfigObject,
  text: unknown,
  index: number,
  action: AuthorizationPolicySpec['action'],
  diagnostics: Diagnostic[],
): L7Rule | undefined {
  const path = ['spec', 'rules', index];
  const parsed = ruleSchema.safeParse(text);
  const allow = action === 'allow';
  const effect = effects[action];
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const at = [...path, ...issue.path.filter((step) => typeof step !== 'symbol')];
      diagnostics.push(diagnose(object, 'POLICY_RULE_INVALID', `${at.join('.')}: ${issue.message}; ${effect}`, at));
    }
    return allow ? undefined : { clauses: [] };
  }
  let lost = false;
  const keep = (outcome: ConditionOutcome, at: readonly (string | number)[]): readonly L7Condition[] => {
    const early = action === 'custom' && outcome.kind === 'condition' && ofTokens.has(outcome.condition.kind);
    if (outcome.kind === 'condition' && !early) return [outcome.condition];
    lost = true;
    const problem = outcome.kind === 'problem' ? outcome.problem : 'tokens are verified after CUSTOM policies';
    diagnostics.push(diagnose(object, 'POLICY_RULE_INVALID', `${at.join('.')}: ${problem}; ${effect}`, at));
    return [];
  };
  const { from, to, when } = parsed.data;
  const set = (fields: Readonly<Record<string, readonly string[]>>, names: readonly PolicyField[], at: typeof path) =>
    names.flatMap((name) => {
      const [values, notValues] = [fields[name] ?? [], fields[negated(name)] ?? []];
      if (values.length + notValues.length === 0) return [];
      return keep(fieldCondition(name, values, notValues, object.metadata.namespace), [...at, name]);
    });
  const clauses = [
    from.map(({ source }, i) => set(source, sourceFields, [...path, 'from', i, 'source'])),
    to.map(({ operation }, i) => set(operation, operationFields, [...path, 'to', i, 'operation'])),
    ...when.map((condition, i) => [keep(whenCondition(condition, object.metadata.namespace), [...path, 'when', i])]),
  ];
  if (lost && allow) return undefined;
  // A clause with no alternatives was not written; one with an alternative that lost everything always holds.
  return { clauses: clauses.filter((sets) => sets.length > 0 && sets.every((conditions) => conditions.length > 0)) };
}

function negated(name: string): string {
  return `not${name.charAt(0).toUpperCase()}${name.slice(1)}`;
}
