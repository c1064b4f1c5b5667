/**
 * What the Telemetry API and the mesh configuration say about the traffic of one gateway or service, merged and compiled: which
 * logs with which filters, which metrics with which labels, which traces. Immutable; nothing is parsed per request.
 */

import type { ServiceKey } from '../../mesh/model.ts';
import type { Expression } from '../cel/expression.ts';
import type { HttpExport, ServiceTarget } from '../mesh-config.ts';
import type { TrafficFacts } from './facts.ts';
import type { LogFormat } from './log-format.ts';
import type { LogValue } from './log-operators.ts';

export type ReadValue = (facts: TrafficFacts) => LogValue;

export type LogProvider =
  /** The proxy's own lines, on its log. */
  | { readonly kind: 'own' }
  | { readonly kind: 'file'; readonly name: string; readonly path: string; readonly format: LogFormat }
  | {
      readonly kind: 'otlp';
      readonly name: string;
      readonly target: ServiceTarget;
      readonly logName: string;
      readonly body: (facts: TrafficFacts) => string;
      readonly attributes: readonly (readonly [key: string, read: ReadValue])[];
    };

export interface AccessLogRule {
  readonly provider: LogProvider;
  /** Only traffic of which it is certainly true is logged; undefined: all of it. */
  readonly filter: Expression<TrafficFacts> | undefined;
}

export interface MetricOverride {
  readonly disabled: boolean;
  readonly remove: readonly string[];
  readonly set: readonly (readonly [label: string, value: Expression<TrafficFacts>])[];
}

export interface MetricsRule {
  /** By the metric's name in full. */
  readonly overrides: ReadonlyMap<string, MetricOverride>;
  /** Of TCP connections and gRPC streams; undefined: the default. */
  readonly reportingIntervalMs: number | undefined;
}

export type TraceProvider =
  /** Whatever the program's environment names (OTEL_EXPORTER_OTLP_ENDPOINT). */
  | { readonly kind: 'environment' }
  | {
      readonly kind: 'otlp';
      readonly name: string;
      readonly target: ServiceTarget;
      /** Undefined: Istio would speak gRPC to it. */
      readonly http: HttpExport | undefined;
      readonly headers: readonly (readonly [name: string, value: string])[];
      readonly maxTagLength: number;
    }
  | {
      readonly kind: 'zipkin';
      readonly name: string;
      readonly target: ServiceTarget;
      readonly path: string;
      readonly maxTagLength: number;
      readonly shortTraceIds: boolean;
    };

export interface CustomTag {
  readonly name: string;
  readonly value:
    | { readonly kind: 'read'; readonly read: ReadValue }
    /** Of the waypoint's process. */
    | { readonly kind: 'environment'; readonly variable: string; readonly fallback: string | undefined };
}

export interface TracingRule {
  /** Undefined: nothing takes spans; contexts still pass. */
  readonly provider: TraceProvider | undefined;
  /** Of traces that begin here, 0 to 100; undefined: the environment's sampler decides. */
  readonly samplingPercent: number | undefined;
  /** The decision is drawn from `x-request-id`, so that all who know it decide alike. */
  readonly byRequestId: boolean;
  readonly customTags: readonly CustomTag[];
  readonly istioTags: boolean;
  /** Contexts are sent on. */
  readonly propagate: boolean;
}

export interface TelemetryRules {
  /** Undefined: nobody said anything, the proxy's own log is written. */
  readonly accessLogs: readonly AccessLogRule[] | undefined;
  readonly metrics: MetricsRule | undefined;
  readonly tracing: TracingRule | undefined;
}

export interface TelemetryModel {
  /** By the gateway's key. */
  readonly gateways: ReadonlyMap<string, TelemetryRules>;
  /** Of services that have more than their gateway, by both keys. */
  readonly services: ReadonlyMap<string, ReadonlyMap<ServiceKey, TelemetryRules>>;
}

/** Undefined: nothing was said about this traffic. */
export function rulesFor(
  model: TelemetryModel | undefined,
  gateway: string | undefined,
  service: ServiceKey | undefined,
): TelemetryRules | undefined {
  if (model === undefined || gateway === undefined) return undefined;
  const own = service === undefined ? undefined : model.services.get(gateway)?.get(service);
  return own ?? model.gateways.get(gateway);
}
