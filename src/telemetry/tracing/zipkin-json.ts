/** Spans as Zipkin's API takes them (https://zipkin.io/zipkin-api/#/default/post_spans), piece by piece. */
import type { FinishedSpan } from './span.ts';

export interface ZipkinOptions {
  /** Of spans that are the program's own. */
  readonly service: string;
  /** Ids of traces have 64 bits: the last of ours. */
  readonly shortTraceIds: boolean;
}

export function* zipkinJson(options: ZipkinOptions, spans: readonly FinishedSpan[]): Generator<string> {
  yield '[';
  for (const [index, span] of spans.entries())
    yield `${index === 0 ? '' : ','}${JSON.stringify(record(options, span))}`;
  yield ']';
}

function record({ service, shortTraceIds }: ZipkinOptions, span: FinishedSpan) {
  const { context, parentSpanId, name, kind, startMicros, endMicros, attributes, error } = span;
  const tags: Record<string, string> = {};
  for (const [key, value] of attributes) if (value !== undefined) tags[key] = String(value);
  if (error !== undefined) tags.error = error;
  return {
    traceId: shortTraceIds ? context.traceId.slice(16) : context.traceId,
    id: context.spanId,
    ...(parentSpanId === undefined ? {} : { parentId: parentSpanId }),
    name,
    kind: kind.toUpperCase(),
    timestamp: startMicros,
    // Zipkin takes 0 for not known.
    duration: Math.max(1, endMicros - startMicros),
    localEndpoint: { serviceName: span.service ?? service },
    tags,
  };
}
