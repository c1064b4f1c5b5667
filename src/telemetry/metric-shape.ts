/**
 * What somebody changed about traffic metrics (Istio's Telemetry, `metrics.overrides`): some are off, some have other labels.
 * Shapes are few and interned by whoever makes them; a shape without any of it does not exist.
 */
import type { Labels } from '../base/metrics.ts';

export interface MetricChange {
  readonly disabled: boolean;
  readonly remove: readonly string[];
  readonly set: readonly (readonly [label: string, value: string])[];
}

export interface MetricShape {
  /** The same text for the same changes, and only for them. */
  readonly key: string;
  /** By the metric's name; one that is not here is as it always is. */
  readonly changes: ReadonlyMap<string, MetricChange>;
  /** Some values come from traffic: a series nobody adds to ends, whether or not its workloads are still there. */
  readonly fromTraffic: boolean;
  /** The same with `overflow` for every value: where label sets found no room. */
  readonly overflow: MetricShape | undefined;
}

/** Undefined: the metric is off. */
export function shapedLabels(shape: MetricShape | undefined, metric: string, labels: Labels): Labels | undefined {
  const change = shape?.changes.get(metric);
  if (change === undefined) return labels;
  if (change.disabled) return undefined;
  const out: Record<string, string> = { ...labels };
  for (const label of change.remove) delete out[label];
  for (const [label, value] of change.set) out[label] = value;
  return out;
}
