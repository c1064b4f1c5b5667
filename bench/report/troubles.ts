/** What went wrong in a run, one line each: turns that could not be measured, and errors under load with their causes. */
import { errorsOf } from '../statistics.ts';
import type { RunRecord } from './record.ts';

/** None of a run without fault. */
export function troublesOf(record: RunRecord): string[] {
  const failures = record.failures.map(
    ({ load, system, repeat, reason }) => `${load} on ${system}, repeat ${repeat}, was not measured: ${reason}`,
  );
  const errors = record.loads.flatMap(({ key: load }) =>
    record.systems.flatMap(({ key: system }) => {
      const { count, causes } = errorsOf(record, load, system);
      const told = [...causes].map(([cause, times]) => `${cause} ${times}`).join(', ');
      return count === 0 ? [] : [`${load} on ${system}: ${count} errors${told === '' ? '' : ` (${told})`}`];
    }),
  );
  return [...failures, ...errors];
}
