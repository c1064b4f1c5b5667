/**
 * Tells HTTP/1.1, HTTP/2 and anything else apart by a connection's first bytes (R35), as Envoy's http_inspector. Nothing
 * is consumed: what was read is put back. A connection that stays silent is one where the server speaks first.
 */
import type { Duplex } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import { type ClientHello, readClientHello } from '../net/client-hello.ts';
import { peek } from '../net/peek.ts';

export type Sniffed = 'http1' | 'http2' | 'other';

const http2Preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const longestRequestLine = 16_384;

/** Undefined: more bytes are needed. */
export function sniffBytes(bytes: Buffer): Sniffed | undefined {
  const start = bytes.toString('latin1', 0, Math.min(bytes.length, longestRequestLine));
  if (start.startsWith(http2Preface)) return 'http2';
  if (http2Preface.startsWith(start)) return undefined;
  const lineEnd = start.indexOf('\n');
  if (lineEnd >= 0) return /^[A-Z][A-Z-]{0,23} \S+ HTTP\/1\.[01]\r?$/.test(start.slice(0, lineEnd)) ? 'http1' : 'other';
  if (start.length >= longestRequestLine) return 'other';
  return /^[A-Z][A-Z-]{0,23}( \S*( [HTP/1.0]*\r?)?)?$/.test(start) ? undefined : 'other';
}

/**
 * Waits for the first bytes. `timeoutMs` undefined: silence may last, a first line that has begun may not. Undefined:
 * the stream ended or broke first.
 */
export function sniff(stream: Duplex, clock: Clock, timeoutMs: number | undefined): Promise<Sniffed | undefined> {
  return peek<Sniffed>(stream, { clock, silenceMs: timeoutMs, read: sniffBytes, otherwise: 'other' });
}

/** The server name of a TLS client; one that is silent, or speaks no TLS, has none. Undefined: the stream broke. */
export function sniffServerName(stream: Duplex, clock: Clock, timeoutMs: number): Promise<ClientHello | undefined> {
  return peek<ClientHello>(stream, {
    clock,
    silenceMs: timeoutMs,
    read: readClientHello,
    otherwise: { kind: 'other' },
  });
}
