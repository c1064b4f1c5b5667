/**
 * Several Telemetries of one place made one, from the widest to the narrowest, with Istio's rules
 * (https://istio.io/latest/docs/tasks/observability/telemetry/#scope-inheritance-and-overrides): providers replace those of the
 * wider one, overrides of metrics are laid over each other, settings of traces are taken field by field.
 */
import type { MetricOverride, MetricsRule, TracingRule } from '../route/telemetry/rules.ts';
import {
  type AccessLoggingSpec,
  type MetricsSpec,
  metricNames,
  type TelemetrySpec,
  type TracingSpec,
} from './telemetry.ts';

/** A log that is written, by its provider's name. */
export interface NamedLog {
  readonly provider: string;
  readonly filter: AccessLoggingSpec['filter'];
}

/** Undefined: nobody said anything. */
export function mergeAccessLogs(
  chain: readonly TelemetrySpec[],
  defaults: readonly string[],
): readonly NamedLog[] | undefined {
  const levels = chain.map(({ accessLogging }) => accessLogging).filter((entries) => entries.length > 0);
  if (levels.length === 0) return undefined;
  const filters = new Map<string, AccessLoggingSpec['filter']>();
  let inScope: readonly string[] = defaults;
  for (const entries of levels) {
    const named = entries.flatMap(({ providers }) => providers);
    if (named.length > 0) inScope = named;
  }
  const logs = new Map<string, NamedLog>();
  let parents: readonly string[] = defaults;
  for (const { providers, filter, disabled } of levels.flat()) {
    const names = providers.length > 0 ? providers : parents;
    parents = names;
    for (const provider of names) {
      // One that a narrower level does not name is not written.
      if (!inScope.includes(provider)) continue;
      if (disabled === true) {
        logs.delete(provider);
        continue;
      }
      if (filter !== undefined || providers.length > 0) filters.set(provider, filter);
      logs.set(provider, { provider, filter: filters.get(provider) });
    }
  }
  return [...logs.values()];
}

/** Undefined: metrics as they always are. `isPrometheus`: the one provider there is. */
export function mergeMetrics(
  chain: readonly TelemetrySpec[],
  defaults: readonly string[],
  isPrometheus: (provider: string) => boolean,
): MetricsRule | undefined {
  const entries = chain.flatMap(({ metrics }) => metrics);
  if (entries.length === 0) return defaults.some(isPrometheus) ? undefined : allOff;
  const named = entries.filter(({ providers }) => providers.length > 0).at(-1)?.providers ?? defaults;
  if (!named.some(isPrometheus)) return allOff;
  const overrides = new Map<string, Mutable>();
  let allDisabled = false;
  let reportingIntervalMs: number | undefined;
  let parents = defaults;
  for (const entry of entries) {
    const names = entry.providers.length > 0 ? entry.providers : parents;
    parents = names;
    if (!names.some((name) => isPrometheus(name) && named.includes(name))) continue;
    reportingIntervalMs = entry.reportingIntervalMs ?? reportingIntervalMs;
    for (const override of entry.overrides) {
      if (override.all && override.disabled === true) {
        allDisabled = true;
        continue;
      }
      // A narrower level that says anything has them back.
      allDisabled = false;
      for (const metric of override.metrics ?? everyMetric) apply(overrides, metric, override);
    }
  }
  if (allDisabled) return { ...allOff, reportingIntervalMs };
  const meant = [...overrides].map(([metric, override]) => [metric, finished(override)] as const);
  const changed = meant.filter(([, { disabled, remove, set }]) => disabled || remove.length + set.length > 0);
  if (changed.length === 0 && reportingIntervalMs === undefined) return undefined;
  return { overrides: new Map(changed), reportingIntervalMs };
}

type Tags = MetricsSpec['overrides'][number]['tags'];

interface Mutable {
  disabled: boolean;
  readonly tags: Map<string, Tags extends ReadonlyMap<string, infer Value> ? Value : never>;
}

function apply(overrides: Map<string, Mutable>, metric: string, override: MetricsSpec['overrides'][number]): void {
  const known = overrides.getOrInsertComputed(metric, () => ({ disabled: false, tags: new Map() }));
  known.disabled = override.disabled ?? known.disabled;
  for (const [label, value] of override.tags) known.tags.set(label, value);
}

function finished({ disabled, tags }: Mutable): MetricOverride {
  const sorted = [...tags].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    disabled,
    remove: sorted.flatMap(([label, value]) => (value === undefined ? [label] : [])),
    set: sorted.flatMap(([label, value]) => (value === undefined ? [] : [[label, value] as const])),
  };
}

const everyMetric = Object.values(metricNames);
const allOff: MetricsRule = {
  overrides: new Map(everyMetric.map((metric) => [metric, { disabled: true, remove: [], set: [] }])),
  reportingIntervalMs: undefined,
};

export interface NamedTracing extends Omit<TracingRule, 'provider'> {
  /** The first that was named; undefined: the default. */
  readonly provider: string | undefined;
  /** Spans are not reported. */
  readonly disabled: boolean;
}

/** Undefined: nobody said anything. */
export function mergeTracing(chain: readonly TelemetrySpec[]): NamedTracing | undefined {
  const entries: readonly TracingSpec[] = chain.flatMap(({ tracing }) => tracing);
  if (entries.length === 0) return undefined;
  const last = <Field extends keyof TracingSpec>(field: Field) =>
    entries.findLast((entry) => entry[field] !== undefined)?.[field];
  return {
    provider: entries.findLast(({ providers }) => providers.length > 0)?.providers[0],
    disabled: last('disabled') ?? false,
    samplingPercent: last('samplingPercent'),
    byRequestId: last('byRequestId') ?? true,
    customTags: last('customTags') ?? [],
    istioTags: last('istioTags') ?? true,
    propagate: last('propagate') ?? true,
  };
}
