/**
 * The L4 part of policy rules, as istiod cuts it out for ztunnel: an ALLOW rule with L7 conditions is dropped, a DENY rule
 * keeps what L4 can judge and denies more. Where istiod leaves an empty match behind, the clause is left out instead, so
 * that a DENY never fails open by it.
 */
import type { L4Policy, PolicyMatch } from '../mesh/model.ts';
import type { L7Condition, L7Policy, L7Rule } from '../route/model.ts';

export function l4Rules(
  rules: readonly L7Rule[],
  action: L7Policy['action'],
): { readonly l4Rules: L4Policy['rules']; readonly needsL7: boolean } {
  const needsL7 = rules.some(hasL7);
  const kept = action === 'allow' ? rules.filter((rule) => !hasL7(rule)) : rules;
  return { needsL7, l4Rules: kept.map(l4Rule) };
}

export const emptyMatch: PolicyMatch = {
  namespaces: [],
  notNamespaces: [],
  principals: [],
  notPrincipals: [],
  serviceAccounts: [],
  notServiceAccounts: [],
  sourceIps: [],
  notSourceIps: [],
  destinationIps: [],
  notDestinationIps: [],
  destinationPorts: [],
  notDestinationPorts: [],
};

function hasL7(rule: L7Rule): boolean {
  return rule.clauses.some((sets) => sets.some((conditions) => conditions.some((one) => !isL4(one))));
}

function isL4({ kind }: L7Condition): boolean {
  return l4Kinds.has(kind);
}

const l4Kinds: ReadonlySet<L7Condition['kind']> = new Set([
  'principal',
  'namespace',
  'service-account',
  'source-ip',
  'destination-ip',
  'destination-port',
]);

function l4Rule(rule: L7Rule): readonly (readonly PolicyMatch[])[] {
  return rule.clauses
    .filter((sets) => sets.every((conditions) => conditions.some(isL4)))
    .map((sets) => sets.map((conditions) => conditions.reduce(withCondition, emptyMatch)));
}

/** Each kind occurs at most once in a set, so nothing is overwritten. */
function withCondition(match: PolicyMatch, condition: L7Condition): PolicyMatch {
  switch (condition.kind) {
    case 'principal':
      return { ...match, principals: condition.values, notPrincipals: condition.notValues };
    case 'namespace':
      return { ...match, namespaces: condition.values, notNamespaces: condition.notValues };
    case 'service-account':
      return {
        ...match,
        serviceAccounts: condition.values.map(account),
        notServiceAccounts: condition.notValues.map(account),
      };
    case 'source-ip':
      return { ...match, sourceIps: condition.values, notSourceIps: condition.notValues };
    case 'destination-ip':
      return { ...match, destinationIps: condition.values, notDestinationIps: condition.notValues };
    case 'destination-port':
      return { ...match, destinationPorts: condition.values, notDestinationPorts: condition.notValues };
    case 'method':
    case 'path':
    case 'host':
    case 'header':
    case 'remote-ip':
    case 'trust-domain':
    case 'server-name':
    case 'request-principal':
    case 'audience':
    case 'presenter':
    case 'claim':
      return match;
  }
}

function account(text: string): { readonly namespace: string; readonly serviceAccount: string } {
  const slash = text.indexOf('/');
  return { namespace: text.slice(0, slash), serviceAccount: text.slice(slash + 1) };
}
