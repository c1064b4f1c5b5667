/**
 * What a plan is made of: typed steps, plain data that survives JSON (the state file keeps the plan that was applied).
 * The order of a plan's steps is the order in which its script reads; appliers group them by tool.
 */
import type { Family, Hook, Rule, TableName } from './rule.ts';

export interface TunnelLink {
  readonly kind: 'geneve' | 'vxlan';
  readonly id: number;
  readonly remote: string;
  readonly port: number;
  readonly mtu: number;
}

export type LinkStep =
  /** Create the device. */
  | { readonly kind: 'link'; readonly device: string; readonly tunnel: TunnelLink; readonly why: string }
  /** The device must be there already; it is neither made nor removed. */
  | { readonly kind: 'device'; readonly device: string; readonly why: string }
  | { readonly kind: 'address'; readonly device: string; readonly address: string; readonly why: string }
  | { readonly kind: 'up'; readonly device: string; readonly why: string };

/** `path` below /proc/sys, with slashes (a device name may contain dots). */
export interface SysctlStep {
  readonly kind: 'sysctl';
  readonly path: string;
  readonly value: string;
  readonly why: string;
}

export type SetStep =
  | { readonly kind: 'set'; readonly set: string; readonly family: Family; readonly why: string }
  | {
      readonly kind: 'set-member';
      readonly set: string;
      readonly ip: string;
      readonly comment?: string;
      readonly why: string;
    };

export interface RouteStep {
  readonly kind: 'route';
  readonly family: Family;
  readonly table: number;
  readonly type?: 'local';
  /** `default`, an address or a CIDR block. */
  readonly to: string;
  readonly via?: string;
  readonly device: string;
  readonly scope?: 'link';
  readonly source?: string;
  readonly onlink?: true;
  readonly why: string;
}

export interface PolicyRuleStep {
  readonly kind: 'policy-rule';
  readonly family: Family;
  readonly priority: number;
  readonly mark?: { readonly value: number; readonly mask: number };
  readonly action:
    | { readonly kind: 'goto'; readonly priority: number }
    | { readonly kind: 'lookup'; readonly table: number };
  readonly why: string;
}

export type RoutingStep = RouteStep | PolicyRuleStep;

/** A chain of ours. `members`: its rules are added one by one per pod, and a second apply leaves them. */
export interface Chain {
  readonly name: string;
  readonly rules: readonly Rule[];
  readonly members?: true;
}

/** The only thing done to a built-in chain: one jump, inserted first. */
export interface Jump {
  readonly hook: Hook;
  readonly protocol?: 'tcp';
  readonly chain: string;
}

export interface TableStep {
  readonly kind: 'table';
  readonly family: Family;
  readonly table: TableName;
  readonly chains: readonly Chain[];
  readonly jumps: readonly Jump[];
  readonly why: string;
}

/** One pod's rule in a `members` chain, where the kernel has no ipset. */
export interface MemberRuleStep {
  readonly kind: 'member-rule';
  readonly family: Family;
  readonly table: TableName;
  readonly chain: string;
  readonly rule: Rule;
  readonly why: string;
}

export type FilterStep = TableStep | MemberRuleStep;

export type Step = LinkStep | SysctlStep | SetStep | RoutingStep | FilterStep;

/** Text equality of what a step does; the reason does not count. */
function stepKey(step: Step): string {
  return JSON.stringify(step, (key, value) => (key === 'why' ? undefined : value));
}

/**
 * What of `former` the new steps no longer want. Of a table only chains and jumps that go: a chain that merely changes is
 * rewritten in one transaction, so that no packet passes between the old rules and the new.
 */
export function obsoleteSteps(former: readonly Step[], wanted: readonly Step[]): Step[] {
  const keys = new Set(wanted.map(stepKey));
  return former.flatMap((step): Step[] => {
    if (keys.has(stepKey(step))) return [];
    if (step.kind === 'set-member') return wanted.some((other) => isSameMember(step, other)) ? [] : [step];
    if (step.kind !== 'table') return [step];
    const heirs = wanted.filter((other) => other.kind === 'table' && sameTable(step, other)) as TableStep[];
    const chains = step.chains.filter(
      ({ name }) => !heirs.some((heir) => heir.chains.some((each) => each.name === name)),
    );
    const texts = new Set(heirs.flatMap((heir) => heir.jumps.map((jump) => JSON.stringify(jump))));
    const jumps = step.jumps.filter((jump) => !texts.has(JSON.stringify(jump)));
    return chains.length + jumps.length === 0 ? [] : [{ ...step, chains, jumps }];
  });
}

function sameTable(a: TableStep, b: TableStep): boolean {
  return a.family === b.family && a.table === b.table;
}

/** The comment of a member is for the reader only. */
function isSameMember(a: SetStep & { kind: 'set-member' }, b: Step): boolean {
  return b.kind === 'set-member' && a.set === b.set && a.ip === b.ip;
}
