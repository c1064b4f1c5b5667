/**
 * The index of the policies in force together, kept for as long as `MeshView.policiesFor` answers with the same object
 * and brought up to date when it is asked: a changed policy costs its own rules, not those of all others.
 */
import type { L4Policy, PoliciesInForce } from '../mesh/model.ts';
import { type IndexedRule, RuleIndex } from './rule-index.ts';

interface IndexedPolicy {
  readonly policy: L4Policy;
  /** Among the policies in force. */
  place: number;
  readonly rules: readonly IndexedRule[];
}

class L4Index {
  readonly deny = new RuleIndex();
  readonly allow = new RuleIndex();
  /** Whether any ALLOW policy is in force. */
  restricts = false;
  /** Whether any dry-run ALLOW policy is. */
  dryRunRestricts = false;
  #policies: readonly L4Policy[] = [];
  #known = new Map<L4Policy, IndexedPolicy>();

  update(policies: readonly L4Policy[]): void {
    if (policies === this.#policies) return;
    const before = this.#known;
    this.#policies = policies;
    this.#known = new Map();
    for (const [place, policy] of policies.entries()) {
      const known = before.get(policy) ?? this.#add(policy);
      known.place = place;
      before.delete(policy);
      this.#known.set(policy, known);
    }
    for (const { policy, rules } of before.values()) for (const rule of rules) this[policy.action].delete(rule);
    this.restricts = policies.some(({ action, dryRun }) => action === 'allow' && !dryRun);
    this.dryRunRestricts = policies.some(({ action, dryRun }) => action === 'allow' && dryRun);
  }

  #add(policy: L4Policy): IndexedPolicy {
    const rules: IndexedRule[] = [];
    const indexed = { policy, place: 0, rules };
    for (const [rule, clauses] of policy.rules.entries()) rules.push({ of: indexed, rule, clauses });
    for (const rule of rules) this[policy.action].add(rule);
    return indexed;
  }
}

const indexes = new WeakMap<PoliciesInForce, L4Index>();

export function l4Index(inForce: PoliciesInForce): L4Index {
  let index = indexes.get(inForce);
  if (index === undefined) {
    index = new L4Index();
    indexes.set(inForce, index);
  }
  index.update(inForce.policies);
  return index;
}
