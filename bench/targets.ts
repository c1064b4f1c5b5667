/**
 * What the mesh is to reach against its peers, as data, and whether a run met it. A ratio counts by its median over the
 * repeats; a target that a run has no figures for is told as such, never as met.
 */
import { type FigureName, largest, type Results, ratioOf, type Spread, spread, spreadOf } from './statistics.ts';

/** Most of `figure` that `system` may have, as a multiple of the peer's. */
export interface RatioTarget {
  readonly kind: 'ratio';
  readonly name: string;
  readonly system: string;
  readonly peer: string;
  readonly load: string;
  readonly figure: FigureName;
  readonly limit: number;
}

/** Most bytes: of the largest proxy before the first load, of the largest under any, or of all per connection held. */
export interface MemoryTarget {
  readonly kind: 'memory';
  readonly name: string;
  readonly system: string;
  readonly when: 'idle' | 'under load' | 'per idle connection';
  readonly limit: number;
}

export type Target = RatioTarget | MemoryTarget;

export interface Verdict {
  readonly kind: 'met' | 'missed' | 'not measured';
  readonly target: Target;
  /** A ratio or bytes. */
  readonly value?: Spread;
}

const idleLoad = 'idle';

const ratio = (
  system: string,
  peer: string,
  limits: readonly (readonly [name: string, load: string, figure: FigureName, limit: number])[],
): RatioTarget[] =>
  limits.map(([name, load, figure, limit]) => ({ kind: 'ratio', name, system, peer, load, figure, limit }));

const memory = (system: string, when: MemoryTarget['when'], limit: number): MemoryTarget => ({
  kind: 'memory',
  name: `memory ${when}`,
  system,
  when,
  limit,
});

export const targets: readonly Target[] = [
  ...ratio('ztunnel-pair', 'envoy-pair', [
    ['CPU per request', 'requests-32', 'cpuPerUnit', 1.3],
    ['CPU per new connection', 'connections', 'cpuPerUnit', 1.4],
    ['CPU per GB up', 'bulk-up-1', 'cpuPerUnit', 1.8],
    ['CPU per GB down', 'bulk-down-1', 'cpuPerUnit', 1.8],
    ['ping-pong p50', 'ping-pong', 'p50Ms', 1.25],
    ['ping-pong p99', 'ping-pong', 'p99Ms', 1.25],
  ]),
  memory('ztunnel-pair', 'idle', 95e6),
  memory('ztunnel-pair', 'under load', 170e6),
  memory('ztunnel-pair', 'per idle connection', 40 * 1024),
  ...ratio('waypoint', 'envoy-waypoint', [
    ['CPU per request', 'requests-32', 'cpuPerUnit', 0.95],
    ['p99 at half of saturation', 'fixed-rate', 'p99Ms', 1],
  ]),
  memory('waypoint', 'under load', 150e6),
  ...ratio('waypoint-100', 'waypoint', [['CPU per request', 'requests-32', 'cpuPerUnit', 1.1]]),
];

/** Those of the targets whose system took part. */
export function judge(results: Results, systems: readonly { readonly key: string }[]): Verdict[] {
  const present = new Set(systems.map(({ key }) => key));
  return targets
    .filter(({ system }) => present.has(system))
    .map((target) => {
      const value = measuredOf(target, results);
      if (value === undefined) return { kind: 'not measured', target };
      return { kind: value.median <= target.limit ? 'met' : 'missed', target, value };
    });
}

function measuredOf(target: Target, results: Results): Spread | undefined {
  if (target.kind === 'ratio') return ratioOf(results, target.load, target.system, target.peer, target.figure);
  switch (target.when) {
    case 'idle': {
      const usage = results.idle.find(({ system }) => system === target.system)?.usage ?? [];
      const most = largest(usage.map(({ rssBytes }) => rssBytes));
      return most === undefined ? undefined : spread([most]);
    }
    case 'under load':
      return worst(
        loadsOf(results)
          .filter((load) => load !== idleLoad)
          .map((load) => spreadOf(results, load, target.system, 'peakRssBytes')),
      );
    case 'per idle connection':
      return spreadOf(results, idleLoad, target.system, 'bytesPerUnit');
  }
}

function loadsOf({ measurements }: Results): string[] {
  return [...new Set(measurements.map(({ load }) => load))];
}

function worst(spreads: readonly (Spread | undefined)[]): Spread | undefined {
  return spreads.reduce(
    (most, each) => (each !== undefined && each.median > (most?.median ?? -1) ? each : most),
    undefined,
  );
}
