/**
 * From turns to figures: each with its median and spread over the repeats, and ratios of two systems.
 *
 * I1: a ratio is taken between turns of the same repeat, then its median: what slowed the machine down slowed both.
 */
import type { Measurement, Usage } from './model.ts';

/** What a run measured. */
export interface Results {
  /** What each system's proxies held before the first load. */
  readonly idle: readonly { readonly system: string; readonly usage: readonly Usage[] }[];
  readonly measurements: readonly Measurement[];
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** A figure of one turn; undefined where the load or the system has none. */
export type FigureName =
  | 'perSecond'
  /** Seconds of all proxies together. */
  | 'cpuPerUnit'
  | 'p50Ms'
  | 'p90Ms'
  | 'p99Ms'
  | 'p999Ms'
  /** Of the largest proxy. */
  | 'peakRssBytes'
  /** What all proxies together hold beyond what they held before the first load of the run. */
  | 'bytesPerUnit';

const figures: Readonly<Record<FigureName, (turn: Measurement, idle: readonly Usage[]) => number | undefined>> = {
  perSecond: ({ result }) => result.perSecond,
  cpuPerUnit: (turn) => perUnit(turn, turn.before, (usage) => usage.cpuSeconds),
  p50Ms: ({ result }) => result.latency?.p50Ms,
  p90Ms: ({ result }) => result.latency?.p90Ms,
  p99Ms: ({ result }) => result.latency?.p99Ms,
  p999Ms: ({ result }) => result.latency?.p999Ms,
  peakRssBytes: ({ after }) => largest(after.map((usage) => usage.peakRssBytes)),
  bytesPerUnit: (turn, idle) => perUnit(turn, idle, (usage) => usage.rssBytes),
};

/** Undefined when no turn of the load on the system has the figure. */
export function spreadOf(results: Results, load: string, system: string, figure: FigureName): Spread | undefined {
  return spread([...byRepeat(results, load, system, figure).values()]);
}

/** `system` : `peer`, pair by pair; undefined when no repeat has both. */
export function ratioOf(
  results: Results,
  load: string,
  system: string,
  peer: string,
  figure: FigureName,
): Spread | undefined {
  const peers = byRepeat(results, load, peer, figure);
  const ratios = [...byRepeat(results, load, system, figure)].flatMap(([repeat, value]) => {
    const other = peers.get(repeat);
    return other === undefined || !(other > 0) ? [] : [value / other];
  });
  return spread(ratios);
}

/** Over all repeats, with how often each cause was told. */
export function errorsOf(
  results: Results,
  load: string,
  system: string,
): { readonly count: number; readonly causes: ReadonlyMap<string, number> } {
  const turns = turnsOf(results, load, system);
  const causes = new Map<string, number>();
  for (const [cause, times] of turns.flatMap(({ result }) => Object.entries(result.causes ?? {}))) {
    causes.set(cause, (causes.get(cause) ?? 0) + times);
  }
  return { count: turns.reduce((sum, { result }) => sum + result.errors, 0), causes };
}

export function spread(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined;
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low = Number.NaN, high = low] =
    sorted.length % 2 === 1 ? [sorted[middle]] : sorted.slice(middle - 1, middle + 1);
  return (low + high) / 2;
}

export function largest(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : Math.max(...values);
}

function byRepeat(results: Results, load: string, system: string, figure: FigureName): ReadonlyMap<number, number> {
  const idle = results.idle.find((each) => each.system === system)?.usage ?? [];
  const values = turnsOf(results, load, system).map((turn) => [turn.repeat, figures[figure](turn, idle)] as const);
  return new Map(values.filter((pair): pair is readonly [number, number] => Number.isFinite(pair[1])));
}

function turnsOf({ measurements }: Results, load: string, system: string): readonly Measurement[] {
  return measurements.filter((each) => each.load === load && each.system === system);
}

/** Undefined rather than 0 of no units, or without proxies. */
function perUnit(
  { after, result }: Measurement,
  before: readonly Usage[],
  of: (usage: Usage) => number,
): number | undefined {
  if (after.length === 0 || result.units <= 0) return undefined;
  const total = (usages: readonly Usage[]) => usages.reduce((sum, usage) => sum + of(usage), 0);
  return (total(after) - total(before)) / result.units;
}
