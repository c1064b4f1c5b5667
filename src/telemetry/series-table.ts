/**
 * Sets of series that share one set of labels, as long as somebody needs them: who is counted in one, and since when
 * nothing has moved.
 *
 * I1: no more than `limit` sets; what has no room is counted in a set labelled `overflow`, and told.
 * I2: a set in which a connection lives is never dropped: nothing that is still being counted is lost.
 */
import type { TrafficLabels } from './traffic-labels.ts';

export interface Series {
  readonly labels: TrafficLabels;
  /** Connections that live in it. */
  readonly live: number;
  /** Grows with whatever happens in it. */
  readonly activity: number;
  /** Takes its metrics out of their families. */
  drop(): void;
}

/** Sets that may be dropped, and the way to drop them. */
export interface SeriesHolder {
  /** Sets without a live connection in which nothing has moved for so long, by `nowMs` of this and earlier calls. */
  idle(nowMs: number, forMs: number): readonly Series[];
  /** Drops those that are still idle; the number of them. */
  drop(series: Iterable<Series>): number;
  readonly size: number;
}

interface Entry<S extends Series> {
  readonly key: string;
  readonly series: S;
  activity: number;
  sinceMs: number;
  /** Labels may still be held by whoever made them, and with them this. */
  dropped: boolean;
}

export class SeriesTable<S extends Series> implements SeriesHolder {
  readonly #limit: number;
  readonly #make: (labels: TrafficLabels) => S;
  readonly #onOverflow: () => void;
  readonly #byKey = new Map<string, Entry<S>>();
  readonly #bySeries = new Map<Series, Entry<S>>();
  readonly #overflow = new Map<string, S>();
  readonly #byLabels = new WeakMap<TrafficLabels, Entry<S>>();

  constructor(limit: number, make: (labels: TrafficLabels) => S, onOverflow: () => void) {
    this.#limit = limit;
    this.#make = make;
    this.#onOverflow = onOverflow;
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** Labels that are the same object are looked up once. `key` tells sets apart. */
  of(labels: TrafficLabels, key: (labels: TrafficLabels) => string): S {
    const known = this.#byLabels.get(labels);
    if (known?.dropped === false) return known.series;
    const text = key(labels);
    let entry = this.#byKey.get(text);
    if (entry === undefined) {
      if (this.#byKey.size >= this.#limit) return this.#overflowOf(labels);
      const series = this.#make(labels);
      entry = { key: text, series, activity: series.activity, sinceMs: Number.NaN, dropped: false };
      this.#byKey.set(text, entry);
      this.#bySeries.set(series, entry);
    }
    this.#byLabels.set(labels, entry);
    return entry.series;
  }

  idle(nowMs: number, forMs: number): readonly Series[] {
    const idle: Series[] = [];
    for (const entry of this.#byKey.values()) {
      const { series } = entry;
      const moved = series.live > 0 || series.activity !== entry.activity || Number.isNaN(entry.sinceMs);
      if (moved) {
        entry.activity = series.activity;
        entry.sinceMs = nowMs;
      } else if (nowMs - entry.sinceMs >= forMs) {
        idle.push(series);
      }
    }
    return idle;
  }

  drop(list: Iterable<Series>): number {
    let dropped = 0;
    for (const series of list) {
      const entry = this.#bySeries.get(series);
      if (entry === undefined || series.live > 0 || series.activity !== entry.activity) continue;
      this.#bySeries.delete(series);
      this.#byKey.delete(entry.key);
      entry.dropped = true;
      series.drop();
      dropped++;
    }
    return dropped;
  }

  #overflowOf(labels: TrafficLabels): S {
    this.#onOverflow();
    const { reporter, connectionSecurityPolicy, shape } = labels;
    const key = `${reporter} ${connectionSecurityPolicy} ${shape?.overflow?.key ?? ''}`;
    return this.#overflow.getOrInsertComputed(key, () => this.#make(overflowLabels(labels)));
  }
}

/** What has few values stays, so that sums by reporter and security are still right. */
function overflowLabels({ reporter, connectionSecurityPolicy, shape }: TrafficLabels): TrafficLabels {
  const text = 'overflow';
  const workload = {
    workload: text,
    canonicalService: text,
    canonicalRevision: text,
    namespace: text,
    principal: text,
    app: text,
    version: text,
    cluster: text,
    region: text,
    zone: text,
  };
  return {
    reporter,
    source: workload,
    destination: workload,
    destinationService: text,
    destinationServiceName: text,
    destinationServiceNamespace: text,
    connectionSecurityPolicy,
    shape: shape?.overflow,
  };
}
