/**
 * Walks curves up and down again, so that a drift of the machine counts for the ends as for the middle. Of the visits of
 * a point the least cost counts, since what else runs on the machine only adds to it; of other figures the median.
 *
 * I1: a point that cannot be measured is told with its reason and costs the others nothing.
 */
import { errorText } from '../../src/base/errors.ts';
import { median } from '../statistics.ts';
import type { Curve, Figure, Ground, Visit } from './curve.ts';
import { type Law, lawOf, type Point } from './law.ts';

export interface Series extends Figure {
  readonly points: readonly Point[];
  readonly law: Law | undefined;
}

export interface WalkedCurve {
  readonly key: string;
  readonly title: string;
  readonly xLabel: string;
  readonly series: readonly Series[];
  readonly failures: readonly { readonly x: number; readonly reason: string }[];
}

export async function walk(curve: Curve, points: readonly number[], ground: Ground): Promise<WalkedCurve> {
  const { key, title, xLabel, figures } = curve;
  const visits = new Map<number, Visit[]>();
  const failures: { x: number; reason: string }[] = [];
  for (const x of [...points, ...points.toReversed()]) {
    try {
      visits.set(x, [...(visits.get(x) ?? []), await curve.visit(x, ground)]);
    } catch (error) {
      failures.push({ x, reason: errorText(error) });
    }
  }
  await curve.leave(ground);
  const series = figures.map((figure) => {
    const found = [...visits].map(([x, all]): Point => {
      const values = all.map((each) => each[figure.key] ?? Number.NaN);
      return [x, figure.onPath ? Math.min(...values) : median(values)];
    });
    const sorted = found.filter(([, y]) => Number.isFinite(y)).sort(([a], [b]) => a - b);
    return { ...figure, points: sorted, law: lawOf(sorted) };
  });
  return { key, title, xLabel, series, failures };
}
