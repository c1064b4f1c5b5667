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
