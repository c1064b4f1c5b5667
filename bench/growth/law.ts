/** What a curve says about growth: its exponent, and whether it is worse than a logarithm. */

/** A number of things, and what was measured with so many. */
export type Point = readonly [x: number, y: number];

export interface Law {
  /** y ~ x^exponent, between the first and the last point. */
  readonly exponent: number;
  /** Of the last to the first. */
  readonly ratio: number;
  readonly worseThanLogarithmic: boolean;
}

/** Below that, what the last step adds to the first point's value is taken for noise. */
const noticeable = 0.2;

/**
 * A logarithm adds the same with every tenfold. Worse is what adds, on the last step, over twice as much a tenfold as all
 * steps before it did, and that noticeably. Undefined for fewer than two points. Points in ascending order.
 */
export function lawOf(points: readonly Point[]): Law | undefined {
  const first = points[0];
  const last = points.at(-1);
  const before = points.at(-2);
  if (first === undefined || last === undefined || before === undefined) return undefined;
  const ratio = last[1] / first[1];
  const rise = last[1] - Math.max(first[1], before[1]);
  const earlier = points.length === 2 ? 0 : Math.max(0, perTenfold(first, before));
  return {
    exponent: Math.log(ratio) / Math.log(last[0] / first[0]),
    ratio,
    worseThanLogarithmic: rise > noticeable * first[1] && perTenfold(before, last) > 2 * earlier,
  };
}

function perTenfold(from: Point, to: Point): number {
  return (to[1] - from[1]) / Math.log10(to[0] / from[0]);
}
