/**
 * The trace context of a request: read from what the client sent, in W3C's form or in B3's, and written in the forms that came,
 * and in the one that the collector's world uses.
 *
 * I1: a client's context is believed to be numbers and a wish: it decides nothing but whether a span is kept.
 */
import { type HeaderList, headerValue, withHeader, withoutHeaders } from '../../http/header-list.ts';
import { formatB3, parseB3, parseB3Headers } from '../../telemetry/tracing/b3.ts';
import { formatTraceparent, parseTraceparent, type TraceContext } from '../../telemetry/tracing/trace-context.ts';

export interface Incoming {
  readonly parent: TraceContext | undefined;
  /** Undefined: nobody has decided. */
  readonly sampled: boolean | undefined;
  readonly w3c: boolean;
  readonly b3: boolean;
  readonly b3Headers: boolean;
}

export function readTraceHeaders(headers: HeaderList): Incoming {
  const traceparent = headerValue(headers, 'traceparent');
  const single = headerValue(headers, 'b3');
  const several = {
    traceId: headerValue(headers, 'x-b3-traceid'),
    spanId: headerValue(headers, 'x-b3-spanid'),
    sampled: headerValue(headers, 'x-b3-sampled'),
    flags: headerValue(headers, 'x-b3-flags'),
  };
  const forms = {
    w3c: traceparent !== undefined,
    b3: single !== undefined,
    b3Headers: several.traceId !== undefined || several.sampled !== undefined || several.flags !== undefined,
  };
  const w3c = parseTraceparent(traceparent);
  if (w3c !== undefined) return { ...forms, parent: w3c, sampled: w3c.sampled };
  const b3 = single === undefined ? parseB3Headers(several) : parseB3(single);
  return { ...forms, parent: b3.context, sampled: b3.sampled };
}

/** Headers with the context in place of what came. `parentSpanId`: of the span whose context it is. */
export function withTraceHeaders(
  headers: HeaderList,
  { w3c, b3, b3Headers }: Pick<Incoming, 'w3c' | 'b3' | 'b3Headers'>,
  context: TraceContext,
  parentSpanId: string,
): HeaderList {
  let out = headers;
  if (w3c) out = withHeader(out, 'traceparent', formatTraceparent(context));
  if (b3) out = withHeader(out, 'b3', formatB3(context, parentSpanId));
  if (!b3Headers) return out;
  return [
    ...withoutHeaders(out, (name) => name.startsWith('x-b3-')),
    'x-b3-traceid',
    context.traceId,
    'x-b3-spanid',
    context.spanId,
    'x-b3-parentspanid',
    parentSpanId,
    'x-b3-sampled',
    context.sampled ? '1' : '0',
  ];
}
