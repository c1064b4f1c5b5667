/** W3C Trace Context: the `traceparent` header (https://www.w3.org/TR/trace-context/), and new ids. */
import type { Random } from '../../base/random.ts';

export interface TraceContext {
  /** 32 hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** Of the span whose context this is: 16 hexadecimal digits, not all zero. */
  readonly spanId: string;
  readonly sampled: boolean;
}

const form = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** Undefined for what is no context. A version to come may have more behind it, 00 may not. */
export function parseTraceparent(text: string | undefined): TraceContext | undefined {
  if (text === undefined || text.length > 256) return undefined;
  const [, version, traceId = '', spanId = '', flags = '', more] = form.exec(text) ?? [];
  if (version === undefined || version === 'ff' || (version === '00' && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

export function formatTraceparent({ traceId, spanId, sampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`;
}

export function newTraceId(random: Random): string {
  return hex(random, 4);
}

export function newSpanId(random: Random): string {
  return hex(random, 2);
}

/** `words` × 8 hexadecimal digits, never all zero. */
function hex(random: Random, words: number): string {
  let text = '';
  for (let i = 0; i < words; i++) {
    const word = Math.floor(random.next() * 2 ** 32);
    text += ((i === 0 ? word | 1 : word) >>> 0).toString(16).padStart(8, '0');
  }
  return text;
}
