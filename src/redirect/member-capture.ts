/**
 * How a program says "traffic of the captured pods": one rule that asks an ipset, or, where there is no ipset, a jump to a
 * chain that has one rule per pod. Either way a pod comes and goes without the other rules being touched.
 */
import type { Membership } from './parameters.ts';
import type { Rule, TableName } from './rule.ts';
import type { Chain, MemberRuleStep } from './step.ts';

export interface MemberCapture {
  readonly table: TableName;
  /** Chain of the per-pod rules, used without ipset. */
  readonly chain: string;
  /** The packet's end that is the pod. */
  readonly direction: 'src' | 'dst';
  /** What to do, without the condition on the pod. */
  readonly rule: Rule;
}

export function captureRule(capture: MemberCapture, membership: Membership, set: string): Rule {
  const { rule } = capture;
  if (membership === 'ipset') {
    return { ...rule, matches: [...(rule.matches ?? []), { kind: 'set', set, direction: capture.direction }] };
  }
  return {
    ...(rule.protocol === undefined ? {} : { protocol: rule.protocol }),
    target: { kind: 'jump', chain: capture.chain },
    why: `${rule.why} (one rule per pod)`,
  };
}

/** The empty chains that the per-pod rules go to; none with ipset. */
export function captureChains(
  captures: readonly MemberCapture[],
  membership: Membership,
  table: TableName,
): readonly Chain[] {
  if (membership === 'ipset') return [];
  return captures
    .filter((capture) => capture.table === table)
    .map((capture) => ({ name: capture.chain, rules: [], members: true }));
}

export function captureMemberSteps(captures: readonly MemberCapture[], ip: string): MemberRuleStep[] {
  return captures.map((capture) => ({
    kind: 'member-rule',
    family: 'ipv4',
    table: capture.table,
    chain: capture.chain,
    rule: { ...capture.rule, ...(capture.direction === 'src' ? { from: ip } : { to: ip }) },
    why: capture.rule.why,
  }));
}
