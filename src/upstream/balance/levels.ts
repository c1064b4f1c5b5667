/**
 * How requests are spread over priority levels: Envoy's rule, in whole percents. A level takes what its healthy endpoints can,
 * with a reserve of 40 percent; the rest goes to the next. Pure. Source: Envoy, "Priority levels" and "Panic threshold".
 */

export interface LevelHealth {
  readonly healthy: number;
  readonly total: number;
}

export interface LevelLoads {
  /** Percent of the requests; they make 100. */
  readonly loads: readonly number[];
  /** Levels where health is not looked at: too few are healthy for it to be believed. */
  readonly panic: readonly boolean[];
}

/** A level with 72 percent healthy endpoints still takes everything. */
export const overprovisioningPercent = 140;

export function levelLoads(levels: readonly LevelHealth[], minHealthPercent: number): LevelLoads {
  const health = levels.map(({ healthy, total }) =>
    total === 0 ? 0 : Math.min(100, Math.floor((overprovisioningPercent * healthy) / total)),
  );
  const available = Math.min(
    100,
    health.reduce((sum, percent) => sum + percent, 0),
  );
  const calm = levels.map(() => false);
  if (available === 0 && minHealthPercent === 0)
    return { loads: levels.map((_, i) => (i === 0 ? 100 : 0)), panic: calm };
  const panic =
    available === 100
      ? calm
      : levels.map(({ healthy, total }) => (total === 0 ? 0 : (100 * healthy) / total) < minHealthPercent);
  return { loads: panic.every((each) => each) ? loadsInPanic(levels) : loadsByHealth(health, available), panic };
}

function loadsByHealth(health: readonly number[], available: number): readonly number[] {
  let left = 100;
  const loads = health.map((percent) => {
    const load = Math.min(left, available === 0 ? 0 : Math.floor((percent * 100) / available));
    left -= load;
    return load;
  });
  // What rounding left over.
  const first = health.findIndex((percent) => percent > 0);
  return loads.map((load, i) => (i === Math.max(0, first) ? load + left : load));
}

/** By the number of endpoints, healthy or not. */
function loadsInPanic(levels: readonly LevelHealth[]): readonly number[] {
  const all = levels.reduce((sum, { total }) => sum + total, 0);
  const loads = levels.map(({ total }) => (all === 0 ? 0 : Math.floor((100 * total) / all)));
  const left = 100 - loads.reduce((sum, load) => sum + load, 0);
  const first = Math.max(
    0,
    levels.findIndex(({ total }) => total > 0),
  );
  return loads.map((load, i) => (i === first ? load + left : load));
}
