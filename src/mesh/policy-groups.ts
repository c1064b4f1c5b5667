/**
 * Which policies are in force for which workload. Workloads of one namespace that name the same policies are a group and
 * share the answer.
 *
 * I1: a change of a policy makes stale the groups it concerns, and no other; a stale group is filled again when asked for.
 * I2: a group lives as long as a workload record that asked for it.
 */
import { GroupedIndex } from './grouped-index.ts';
import type { L4Policy, PoliciesInForce, PolicyKey, Workload } from './model.ts';

interface Group extends PoliciesInForce {
  readonly namespace: string;
  readonly named: readonly PolicyKey[];
  policies: readonly L4Policy[];
  missing: readonly PolicyKey[];
  stale: boolean;
}

/** The namespace of the policies of every namespace. No namespace has this name. */
const everyNamespace = '';

export class PolicyGroups {
  readonly #policies: ReadonlyMap<PolicyKey, L4Policy>;
  readonly #scoped = new GroupedIndex<L4Policy>(({ key }) => key);
  readonly #groups = new Map<string, WeakRef<Group>>();
  readonly #groupOf = new WeakMap<Workload, Group>();

  /** `policies`: all there are, by key. */
  constructor(policies: ReadonlyMap<PolicyKey, L4Policy>) {
    this.#policies = policies;
  }

  /** Once the policy is in `policies`. */
  added(policy: L4Policy): void {
    const scope = scopeOf(policy);
    if (scope !== undefined) this.#scoped.set(scope, policy);
    this.#concern(policy);
  }

  removed(policy: L4Policy): void {
    const scope = scopeOf(policy);
    if (scope !== undefined) this.#scoped.delete(scope, policy.key);
    this.#concern(policy);
  }

  inForce(workload: Workload): PoliciesInForce {
    const group = this.#groupOf.get(workload) ?? this.#join(workload);
    if (group.stale) this.#fill(group);
    return group;
  }

  #join(workload: Workload): Group {
    const { namespace, authorizationPolicies: named } = workload;
    const key = [namespace, ...named].join('\n');
    let group = this.#groups.get(key)?.deref();
    if (group === undefined) {
      group = { namespace, named, policies: [], missing: [], stale: true };
      this.#groups.set(key, new WeakRef(group));
    }
    this.#groupOf.set(workload, group);
    return group;
  }

  #fill(group: Group): void {
    const policies = new Set([...this.#scoped.list(everyNamespace), ...this.#scoped.list(group.namespace)]);
    const missing: PolicyKey[] = [];
    for (const key of group.named) {
      const policy = this.#policies.get(key);
      if (policy === undefined) missing.push(key);
      else policies.add(policy);
    }
    group.policies = [...policies];
    group.missing = missing;
    group.stale = false;
  }

  #concern(policy: L4Policy): void {
    const scope = scopeOf(policy);
    for (const [key, reference] of this.#groups) {
      const group = reference.deref();
      if (group === undefined) this.#groups.delete(key);
      else group.stale ||= scope === everyNamespace || scope === group.namespace || group.named.includes(policy.key);
    }
  }
}

/** The namespace all of whose workloads it is for; undefined: only for those that name it. */
function scopeOf(policy: L4Policy): string | undefined {
  return policy.scope === 'global' ? everyNamespace : policy.scope === 'namespace' ? policy.namespace : undefined;
}
