/**
 * Zipkin's B3 headers (https://github.com/openzipkin/b3-propagation), in one header or in several.
 *
 * I1: ids are read strictly; what is no context is none, and a decision without ids is a decision all the same.
 */
import type { TraceContext } from './trace-context.ts';

export interface B3Context {
  /** Undefined: there are no ids. A trace id of 64 bits has zeros before it. */
  readonly context: TraceContext | undefined;
  /** Undefined: nobody has decided. */
  readonly sampled: boolean | undefined;
}

const none: B3Context = { context: undefined, sampled: undefined };
const single = /^([0-9a-f]{32}|[0-9a-f]{16})-([0-9a-f]{16})(?:-([01d])(?:-[0-9a-f]{16})?)?$/;

/** `b3: {trace}-{span}-{sampled}-{parent}`, or the decision alone. */
export function parseB3(text: string | undefined): B3Context {
  if (text === undefined || text.length > 256) return none;
  if (/^[01d]$/.test(text)) return { context: undefined, sampled: text !== '0' };
  const [, traceId, spanId, decision] = single.exec(text) ?? [];
  return b3Context(traceId, spanId, decision === undefined ? undefined : decision !== '0');
}

export interface B3Headers {
  readonly traceId: string | undefined;
  readonly spanId: string | undefined;
  readonly sampled: string | undefined;
  readonly flags: string | undefined;
}

export function parseB3Headers({ traceId, spanId, sampled, flags }: B3Headers): B3Context {
  const decision =
    flags === '1' || sampled === '1' || sampled === 'true'
      ? true
      : sampled === '0' || sampled === 'false'
        ? false
        : undefined;
  const good = /^(?:[0-9a-f]{32}|[0-9a-f]{16})$/i.test(traceId ?? '') && /^[0-9a-f]{16}$/i.test(spanId ?? '');
  return good ? b3Context(traceId?.toLowerCase(), spanId?.toLowerCase(), decision) : { ...none, sampled: decision };
}

function b3Context(traceId: string | undefined, spanId: string | undefined, sampled: boolean | undefined): B3Context {
  if (traceId === undefined || spanId === undefined || /^0+$/.test(traceId) || /^0+$/.test(spanId)) {
    return { context: undefined, sampled };
  }
  return { context: { traceId: traceId.padStart(32, '0'), spanId, sampled: sampled ?? false }, sampled };
}

export function formatB3({ traceId, spanId, sampled }: TraceContext, parentSpanId: string | undefined): string {
  const parent = parentSpanId === undefined ? '' : `-${parentSpanId}`;
  return `${traceId}-${spanId}-${sampled ? '1' : '0'}${parent}`;
}
