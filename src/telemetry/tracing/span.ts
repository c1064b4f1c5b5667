/** What tracing offers to those who have something to trace; `tracer.ts` stands behind it when it was asked for. */
import type { Sampler } from './sampler.ts';
import type { TraceContext } from './trace-context.ts';

export type AttributeValue = string | number | boolean;

/** Those without a value are left out. */
export type Attributes = readonly (readonly [key: string, value: AttributeValue | undefined])[];

export interface Span {
  /** Once. `error`: the span failed, and why. */
  end(attributes: Attributes, error: string | undefined): void;
}

export interface SpanStart {
  readonly name: string;
  readonly kind: 'client' | 'server';
  readonly context: TraceContext;
  readonly parentSpanId: string | undefined;
  /** Of other traces that have to do with it. */
  readonly links?: readonly TraceContext[];
  /** Whose span it is, where that is not the program itself. */
  readonly service?: string | undefined;
}

export interface Tracing {
  readonly sampler: Sampler;
  /** Only for contexts that are sampled. */
  start(start: SpanStart): Span;
}

/** A span that has ended, as it is exported. */
export interface FinishedSpan extends SpanStart {
  readonly startMicros: number;
  readonly endMicros: number;
  readonly attributes: Attributes;
  readonly error: string | undefined;
}

/** Spans of the same service, in the order of the first of each. */
export function byService(spans: readonly FinishedSpan[]): ReadonlyMap<string | undefined, readonly FinishedSpan[]> {
  return Map.groupBy(spans, ({ service }) => service);
}
