/** What went wrong in a run, one line each: turns that could not be measured, and errors under load with their causes. */
import { errorsOf } from '../statistics.ts';
import type { RunRecord } from './record.ts';

/** None of a run without fault. */
export function troublesOf(record: RunRecord): string[] {
  return [...unmeasuredLines(record), ...errorLines(record, record.systems)];
}

/** Turns without a result. */
export function unmeasuredLines(record: RunRecord): string[] {
  // A tool that is not there fails every turn of a load in the same words.
  const failures = Map.groupBy(record.failures, ({ load, reason }) => `${load}\n${reason}`);
  return [...failures.values()].map((turns) => {
    const systems = [...new Set(turns.map(({ system }) => system))].join(', ');
    const count = turns.length === 1 ? '1 turn' : `${turns.length} turns`;
    return `${turns[0]?.load}: ${count} not measured (${systems}): ${turns[0]?.reason}`;
  });
}

/** Errors under load of these systems, with their causes. */
export function errorLines(record: RunRecord, systems: RunRecord['systems']): string[] {
  return record.loads.flatMap(({ key: load }) =>
    systems.flatMap(({ key: system }) => {
      const { count, causes } = errorsOf(record, load, system);
      const told = [...causes].map(([cause, times]) => `${cause} ${times}`).join(', ');
      return count === 0 ? [] : [`${load} on ${system}: ${count} errors${told === '' ? '' : ` (${told})`}`];
    }),
  );
}
