/** Sends steps to the applier of their kind, in the order that each needs of the others; withdrawal is the mirror image. */
import type { ApplyContext } from './context.ts';
import { ensureFilters, withdrawFilters } from './filter-applier.ts';
import { ensureLinks, withdrawLinks } from './link-applier.ts';
import { ensureRouting, withdrawRouting } from './routing-applier.ts';
import { ensureSets, withdrawSets } from './set-applier.ts';
import type { FilterStep, LinkStep, RoutingStep, SetStep, Step, SysctlStep } from './step.ts';
import { ensureSysctls, withdrawSysctls } from './sysctl-applier.ts';

interface StepGroups {
  readonly links: LinkStep[];
  readonly sysctls: SysctlStep[];
  readonly sets: SetStep[];
  readonly routing: RoutingStep[];
  readonly filters: FilterStep[];
}

/** Makes what is missing; number of changes. Throws at the first failure, with `context.undo` telling the way back. */
export async function ensureSteps(context: ApplyContext, steps: readonly Step[]): Promise<number> {
  const groups = groupSteps(steps);
  return (
    (await ensureLinks(context, groups.links)) +
    (await ensureSysctls(context, groups.sysctls)) +
    (await ensureSets(context, groups.sets)) +
    (await ensureRouting(context, groups.routing)) +
    (await ensureFilters(context, groups.filters))
  );
}

export interface Withdrawal {
  readonly count: number;
  /** What could not be withdrawn, and why. */
  readonly failures: readonly unknown[];
}

/** Removes what is there; goes on after a failure, so that as little as possible stays behind. */
export async function withdrawSteps(context: ApplyContext, steps: readonly Step[]): Promise<Withdrawal> {
  const groups = groupSteps(steps);
  const failures: unknown[] = [];
  let count = 0;
  const parts = [
    () => withdrawFilters(context, groups.filters),
    () => withdrawRouting(context, groups.routing),
    () => withdrawSets(context, groups.sets),
    () => withdrawSysctls(context, groups.sysctls),
    () => withdrawLinks(context, groups.links),
  ];
  for (const part of parts) {
    try {
      count += await part();
    } catch (error) {
      failures.push(error);
    }
  }
  return { count, failures };
}

function groupSteps(steps: readonly Step[]): StepGroups {
  const groups: StepGroups = { links: [], sysctls: [], sets: [], routing: [], filters: [] };
  for (const step of steps) addStep(groups, step);
  return groups;
}

function addStep(groups: StepGroups, step: Step): void {
  switch (step.kind) {
    case 'link':
    case 'device':
    case 'address':
    case 'up':
      groups.links.push(step);
      return;
    case 'sysctl':
      groups.sysctls.push(step);
      return;
    case 'set':
    case 'set-member':
      groups.sets.push(step);
      return;
    case 'route':
    case 'policy-rule':
      groups.routing.push(step);
      return;
    case 'table':
    case 'member-rule':
      groups.filters.push(step);
      return;
  }
}
