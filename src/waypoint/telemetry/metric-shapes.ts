/**
 * From what a Telemetry says about metrics to the shapes that metrics have: one for each combination of values that traffic gave
 * its labels. Evaluated once per request, when it is over; without expressions there is one shape, and nothing is evaluated.
 *
 * I1: at most `keptShapes` combinations are remembered per rule; what has a value of more than 256 characters is cut.
 */
import { textOf } from '../../route/cel/values.ts';
import type { TrafficFacts } from '../../route/telemetry/facts.ts';
import type { MetricsRule } from '../../route/telemetry/rules.ts';
import type { MetricChange, MetricShape } from '../../telemetry/metric-shape.ts';

const keptShapes = 1_000;
const longestValue = 256;

interface KnownRule {
  /** Sources of all expressions, each once. */
  readonly sources: readonly string[];
  readonly evaluate: readonly ((facts: TrafficFacts) => ReturnType<typeof textOf>)[];
  readonly key: string;
  readonly overflow: MetricShape;
  readonly shapes: Map<string, MetricShape>;
}

const known = new WeakMap<MetricsRule, KnownRule>();

/** `facts` are asked for only where a value depends on them. */
export function shapeOf(rule: MetricsRule | undefined, facts: () => TrafficFacts): MetricShape | undefined {
  if (rule === undefined || rule.overrides.size === 0) return undefined;
  const ofRule = known.getOrInsertComputed(rule, () => prepare(rule));
  if (ofRule.evaluate.length === 0) return ofRule.overflow;
  const made = facts();
  const values = ofRule.evaluate.map((read) => (read(made) ?? 'unknown').slice(0, longestValue));
  const key = JSON.stringify(values);
  const shape = ofRule.shapes.get(key);
  if (shape !== undefined) return shape;
  const [oldest] = ofRule.shapes.keys();
  if (ofRule.shapes.size >= keptShapes && oldest !== undefined) ofRule.shapes.delete(oldest);
  const fresh = makeShape(
    rule,
    `${ofRule.key}${key}`,
    (source) => values[ofRule.sources.indexOf(source)] ?? 'unknown',
    {
      fromTraffic: true,
      overflow: ofRule.overflow,
    },
  );
  ofRule.shapes.set(key, fresh);
  return fresh;
}

/** Of a rule none of whose values depend on the traffic. */
export function fixedShape(rule: MetricsRule | undefined): MetricShape | undefined {
  if (rule === undefined || rule.overrides.size === 0) return undefined;
  return known.getOrInsertComputed(rule, () => prepare(rule)).overflow;
}

/** Whether values depend on the traffic. */
export function needsFacts(rule: MetricsRule | undefined): boolean {
  return rule !== undefined && [...rule.overrides.values()].some(({ set }) => set.length > 0);
}

function prepare(rule: MetricsRule): KnownRule {
  const expressions = new Map(
    [...rule.overrides.values()].flatMap(({ set }) => set.map(([, expression]) => [expression.source, expression])),
  );
  const key = JSON.stringify(
    [...rule.overrides].map(([metric, { disabled, remove, set }]) => [
      metric,
      disabled,
      remove,
      set.map(([label, { source }]) => [label, source]),
    ]),
  );
  return {
    sources: [...expressions.keys()],
    evaluate: [...expressions.values()].map(
      ({ evaluate }) =>
        (facts) =>
          textOf(evaluate(facts)),
    ),
    key,
    overflow: makeShape(rule, key, () => 'overflow', { fromTraffic: false, overflow: undefined }),
    shapes: new Map(),
  };
}

function makeShape(
  rule: MetricsRule,
  key: string,
  valueFor: (source: string) => string,
  rest: Pick<MetricShape, 'fromTraffic' | 'overflow'>,
): MetricShape {
  const changes = new Map<string, MetricChange>();
  for (const [metric, { disabled, remove, set }] of rule.overrides) {
    changes.set(metric, {
      disabled,
      remove,
      set: set.map(([label, { source }]) => [label, valueFor(source)] as const),
    });
  }
  return { key, changes, ...rest };
}
