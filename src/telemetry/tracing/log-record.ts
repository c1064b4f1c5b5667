/** One line of an access log as a collector takes it (OpenTelemetry's log data model). */
import type { Attributes } from './span.ts';

export interface LogRecord {
  readonly timeMicros: number;
  readonly body: string;
  readonly attributes: Attributes;
  /** Of the span that it belongs to, if there is one. */
  readonly context: { readonly traceId: string; readonly spanId: string } | undefined;
}
