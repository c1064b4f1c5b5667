/** One measured decision: what is called, how often it may grow, what it may cost. */
import type { Operation } from './measure.ts';

export interface MicroCase {
  /** What is decided, as given to `--only`. */
  readonly group: string;
  /** What its cost could follow: number of policies, routes, endpoints. */
  readonly size: number;
  /** Undefined when there is but one of the group. */
  readonly unit: string | undefined;
  /** Per call, where `calibration` takes `referenceNs`. */
  readonly budgetNs: number;
  /** Builds its world. Measured is only what it returns. */
  readonly prepare: () => Operation;
}

/** Cases of one group over sizes. `budgetsNs` is by size. */
export function sized(
  group: string,
  unit: string,
  budgetsNs: Readonly<Record<number, number>>,
  prepare: (size: number) => Operation,
): MicroCase[] {
  return Object.entries(budgetsNs).map(([text, budgetNs]) => {
    const size = Number(text);
    return { group, size, unit, budgetNs, prepare: () => prepare(size) };
  });
}
