/**
 * What a run fails for under `--check`: what could not be measured, errors of ours (those of the others are in the report, and
 * theirs), and targets missed by far. By how far is generous on
 * purpose: a quick run is short, machines are shared, and only a fault in the code should ever fail here. Tails of latency
 * are left out: on a shared machine they are the neighbours'.
 */
import type { RunRecord } from './report/record.ts';
import { amountText, valueText } from './report/tables.ts';
import { errorLines, unmeasuredLines } from './report/troubles.ts';
import type { Target } from './targets.ts';

/** Multiples of a target's limit. Waiting depends most on who else uses the machine, memory least. */
export const margins = { cpu: 4, latency: 5, memory: 2 } as const;

/** One line each; none when the run passes. */
export function problemsOf(record: RunRecord): string[] {
  const missed = record.verdicts.flatMap((verdict) => {
    const { target, value } = verdict;
    const most = target.limit * marginOf(target);
    const tail = target.kind === 'ratio' && target.figure === 'p99Ms';
    if (value === undefined || tail || value.median <= most) return [];
    const against = target.kind === 'ratio' ? ` of ${target.peer}` : '';
    const limits = `target ${amountText(verdict, target.limit)}, allowed ${amountText(verdict, most)}`;
    return [`${target.system}, ${target.name}: ${valueText(verdict)}${against} (${limits})`];
  });
  const ours = record.systems.filter((system) => system.ours);
  return [...unmeasuredLines(record), ...errorLines(record, ours), ...missed];
}

function marginOf(target: Target): number {
  if (target.kind === 'memory') return margins.memory;
  return target.figure === 'cpuPerUnit' ? margins.cpu : margins.latency;
}
