/**
 * Telemetry (telemetry.istio.io): which traffic is logged, measured and traced, and how. An object with anything in it that
 * cannot be read is not used at all: half of a filter would log what was to be left out.
 */
import * as z from 'zod';
import type { Diagnostic } from '../base/diagnostics.ts';
import { compileExpression, type Expression } from '../route/cel/expression.ts';
import { trafficAttributes } from '../route/telemetry/attributes.ts';
import type { TrafficFacts } from '../route/telemetry/facts.ts';
import type { CustomTag } from '../route/telemetry/rules.ts';
import { type ConfigObject, diagnose, type Parsed, parseContent, perObject } from './object.ts';
import { type PolicyTarget, readTargets } from './policy-targets.ts';
import { message, positiveDuration, unknownFields } from './proto-json.ts';
import { customTags } from './telemetry-tags.ts';
import { labelsSchema, listOf } from './values.ts';

export interface AccessLoggingSpec {
  readonly providers: readonly string[];
  readonly filter: Expression<TrafficFacts> | undefined;
  /** Undefined: not said. */
  readonly disabled: boolean | undefined;
}

export interface MetricOverrideSpec {
  /** Undefined: all of them. */
  readonly metrics: readonly string[] | undefined;
  /** `ALL_METRICS` was written out. */
  readonly all: boolean;
  readonly disabled: boolean | undefined;
  /** Undefined: the label is removed. */
  readonly tags: ReadonlyMap<string, Expression<TrafficFacts> | undefined>;
}

export interface MetricsSpec {
  readonly providers: readonly string[];
  readonly overrides: readonly MetricOverrideSpec[];
  readonly reportingIntervalMs: number | undefined;
}

export interface TracingSpec {
  readonly providers: readonly string[];
  readonly samplingPercent: number | undefined;
  readonly disabled: boolean | undefined;
  readonly customTags: readonly CustomTag[] | undefined;
  readonly istioTags: boolean | undefined;
  readonly byRequestId: boolean | undefined;
  readonly propagate: boolean | undefined;
}

export interface TelemetrySpec {
  readonly object: ConfigObject;
  readonly namespace: string;
  readonly targets: readonly PolicyTarget[];
  /** For pods: nothing to waypoints. */
  readonly selects: boolean;
  /** Those that concern servers, which a waypoint is, in their order. */
  readonly accessLogging: readonly AccessLoggingSpec[];
  readonly metrics: readonly MetricsSpec[];
  readonly tracing: readonly TracingSpec[];
}

/** Istio's words for its standard metrics. */
export const metricNames: Readonly<Record<string, string>> = {
  REQUEST_COUNT: 'istio_requests_total',
  REQUEST_DURATION: 'istio_request_duration_milliseconds',
  REQUEST_SIZE: 'istio_request_bytes',
  RESPONSE_SIZE: 'istio_response_bytes',
  TCP_OPENED_CONNECTIONS: 'istio_tcp_connections_opened_total',
  TCP_CLOSED_CONNECTIONS: 'istio_tcp_connections_closed_total',
  TCP_SENT_BYTES: 'istio_tcp_sent_bytes_total',
  TCP_RECEIVED_BYTES: 'istio_tcp_received_bytes_total',
  GRPC_REQUEST_MESSAGES: 'istio_request_messages_total',
  GRPC_RESPONSE_MESSAGES: 'istio_response_messages_total',
};
const knownMetrics = new Set(Object.values(metricNames));

const mostEntries = 64;
const mostTags = 64;

const providers = listOf(message({ name: z.string().min(1).max(253) })).transform((list) =>
  list.map(({ name }) => name),
);
const mode = z.enum(['CLIENT_AND_SERVER', 'CLIENT', 'SERVER']).nullish();
const match = message({ mode }).nullish();

export const expressionSchema = z.string().transform((source, context): Expression<TrafficFacts> => {
  const expression = compileExpression(source, trafficAttributes);
  if (!('problem' in expression)) return expression;
  context.addIssue({ code: 'custom', message: `${expression.problem} (character ${expression.at + 1})` });
  return z.NEVER;
});

const accessLogging = message({
  match,
  providers,
  filter: message({ expression: expressionSchema.nullish() }).nullish(),
  disabled: z.boolean().nullish(),
});

const metricName = z.string().transform((name, context) => {
  const full = metricNames[name] ?? (name.startsWith('istio_') ? name : `istio_${name}`);
  if (knownMetrics.has(full)) return full;
  context.addIssue({ code: 'custom', message: `there is no metric ${name.slice(0, 80)}` });
  return z.NEVER;
});

/** What a user of Prometheus may query by; `le` is the histogram's own. */
const labelName = z.string().regex(/^(?!le$|__)[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'not a name of a label');

const tagOverride = message({ operation: z.enum(['UPSERT', 'REMOVE']).default('UPSERT'), value: z.string().nullish() })
  .transform(({ operation, value }) => (operation === 'REMOVE' ? undefined : (value ?? '')))
  .pipe(expressionSchema.optional());

const metrics = message({
  providers,
  reportingInterval: positiveDuration.nullish(),
  overrides: listOf(
    message({
      match: message({
        metric: z.literal('ALL_METRICS').or(metricName).nullish(),
        customMetric: metricName.nullish(),
        mode,
      }).nullish(),
      disabled: z.boolean().nullish(),
      tagOverrides: z.record(labelName, tagOverride).nullish(),
    }),
  ),
});

const tracing = message({
  match,
  providers,
  randomSamplingPercentage: z.number().min(0).max(100).nullish(),
  disableSpanReporting: z.boolean().nullish(),
  customTags: customTags.nullish(),
  enableIstioTags: z.boolean().nullish(),
  useRequestIdForTraceSampling: z.boolean().nullish(),
  disableContextPropagation: z.boolean().nullish(),
});

const entries = <T extends z.ZodType>(schema: T) =>
  listOf(schema).refine((list) => list.length <= mostEntries, `more than ${mostEntries} entries`);

const schema = z.looseObject({
  spec: message({
    selector: message({ matchLabels: labelsSchema.nullish() }).nullish(),
    targetRef: z.unknown().optional(),
    targetRefs: z.unknown().optional(),
    accessLogging: entries(accessLogging),
    metrics: entries(metrics),
    tracing: entries(tracing),
  })
    .nullish()
    .transform((spec) => spec ?? undefined),
});

const known = ['selector', 'targetRef', 'targetRefs', 'accessLogging', 'metrics', 'tracing'];

export const parseTelemetry = perObject((object: ConfigObject): Parsed<TelemetrySpec> => {
  const { value, diagnostics } = parseContent(object, schema);
  if (value === undefined) return { value, diagnostics };
  const { spec } = value;
  const targets = readTargets(spec ?? {});
  if (targets === undefined) {
    const problem = diagnose(object, 'OBJECT_INVALID', 'targetRefs cannot be read', ['spec', 'targetRefs']);
    return { value: undefined, diagnostics: [problem] };
  }
  const more: Diagnostic[] = [];
  const unknown = spec === undefined ? [] : unknownFields(spec, known);
  if (unknown.length > 0)
    more.push(diagnose(object, 'TELEMETRY_IGNORED', `not followed: ${unknown.join(', ')}`, ['spec']));
  const parsed: TelemetrySpec = {
    object,
    namespace: object.metadata.namespace,
    targets,
    selects: Object.keys(spec?.selector?.matchLabels ?? {}).length > 0,
    accessLogging: (spec?.accessLogging ?? [])
      .filter((entry) => ofServers(entry.match?.mode))
      .map(({ providers: names, filter, disabled }) => ({
        providers: names,
        filter: filter?.expression ?? undefined,
        disabled: disabled ?? undefined,
      })),
    metrics: (spec?.metrics ?? []).map(({ providers: names, reportingInterval, overrides }) => ({
      providers: names,
      reportingIntervalMs: reportingInterval ?? undefined,
      overrides: overrides.filter((entry) => ofServers(entry.match?.mode)).map(overrideSpec),
    })),
    tracing: (spec?.tracing ?? []).filter((entry) => ofServers(entry.match?.mode)).map(tracingSpec),
  };
  return { value: parsed, diagnostics: more };
});

function overrideSpec(override: z.output<typeof metrics>['overrides'][number]): MetricOverrideSpec {
  const { match: which, disabled, tagOverrides } = override;
  const one = which?.customMetric ?? which?.metric ?? undefined;
  return {
    metrics: one === undefined || one === 'ALL_METRICS' ? undefined : [one],
    all: one === 'ALL_METRICS',
    disabled: disabled ?? undefined,
    tags: new Map(Object.entries(tagOverrides ?? {}).slice(0, mostTags)),
  };
}

function tracingSpec(entry: z.output<typeof tracing>): TracingSpec {
  return {
    providers: entry.providers,
    samplingPercent: entry.randomSamplingPercentage ?? undefined,
    disabled: entry.disableSpanReporting ?? undefined,
    customTags: entry.customTags ?? undefined,
    istioTags: entry.enableIstioTags ?? undefined,
    byRequestId: entry.useRequestIdForTraceSampling ?? undefined,
    propagate: entry.disableContextPropagation == null ? undefined : !entry.disableContextPropagation,
  };
}

function ofServers(which: z.output<typeof mode>): boolean {
  return which !== 'CLIENT';
}
