/**
 * Metric handles everybody takes. A handle is a plain number cell: hot paths add to it, and whoever scrapes copies it out
 * (design rule 11). Label sets are resolved once per connection or route, never per event.
 */

export interface Counter {
  /** Monotonic; add only non-negative amounts. */
  value: number;
}

export interface Gauge {
  value: number;
}

export interface Histogram {
  observe(value: number): void;
}

export type Labels = Readonly<Record<string, string>>;

export interface MetricsRegistry {
  counter(name: string, help: string, labels?: Labels): Counter;
  gauge(name: string, help: string, labels?: Labels): Gauge;
  /** `buckets`: upper bounds, ascending, without +Inf. */
  histogram(name: string, help: string, buckets: readonly number[], labels?: Labels): Histogram;
  /** Forgets one label set of a family: whoever still holds its cell adds to what nobody sees. */
  remove(name: string, labels: Labels): void;
}

/** Cells that nobody scrapes: for tests and for programs without telemetry. */
export const unscrapedMetrics: MetricsRegistry = {
  counter: () => ({ value: 0 }),
  gauge: () => ({ value: 0 }),
  histogram: () => ({ observe: () => {} }),
  remove: () => {},
};
