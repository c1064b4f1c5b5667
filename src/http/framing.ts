/**
 * Refuses requests whose end two parsers could see in different places (RFC 9112 §6.3), the root of request smuggling.
 * The parsers below are strict already; this is the rule in one place, whatever parser stands below, checked on the
 * headers as they came. A refusal is answered with its status and the connection is closed.
 */
import { type HeaderList, headerBytes, headerValue, headerValues } from './header-list.ts';
import { isAuthority } from './request-target.ts';

export interface Refusal {
  readonly status: number;
  readonly reason: string;
}

export const maxHeaderBytes = 60 * 1024;
export const maxHeaderCount = 200;

/** `headers` as received, HTTP/1.1, or 1.0 where that is served. Undefined: the request may pass. */
export function checkHttp1Framing(httpVersion: string, headers: HeaderList, http10 = false): Refusal | undefined {
  const old = httpVersion === '1.0';
  if (old && !http10) return { status: 426, reason: 'HTTP/1.0 is not served' };
  if (!old && httpVersion !== '1.1') return { status: 505, reason: 'unknown version of HTTP' };
  const size = checkSize(headers);
  if (size !== undefined) return size;
  const hosts = headerValues(headers, 'host');
  if (hosts.length > 1 || (hosts.length === 0 && !old)) return bad('exactly one Host header is required');
  if (hosts.length === 1 && !isAuthority(hosts[0] as string)) return bad('malformed Host header');
  const lengths = headerValues(headers, 'content-length');
  const encodings = headerValues(headers, 'transfer-encoding');
  if (lengths.length > 1) return bad('more than one Content-Length');
  if (lengths.length === 1 && !/^[0-9]{1,15}$/.test(lengths[0] as string)) return bad('malformed Content-Length');
  if (encodings.length > 0 && lengths.length > 0) return bad('Content-Length beside Transfer-Encoding');
  // RFC 9112 §6.1: a coding in HTTP/1.0 is a sign of faulty framing.
  if (encodings.length > 0 && old) return bad('Transfer-Encoding in HTTP/1.0');
  if (encodings.length > 1) return bad('more than one Transfer-Encoding');
  if (encodings.length === 1 && (encodings[0] as string).toLowerCase() !== 'chunked') {
    return { status: 501, reason: 'only the chunked transfer coding is served' };
  }
  const expectation = headerValue(headers, 'expect');
  if (expectation !== undefined && expectation.toLowerCase() !== '100-continue') {
    return { status: 417, reason: 'unknown expectation' };
  }
  return undefined;
}

/** `headers` without pseudo headers, HTTP/2. Connection-specific ones were refused by the codec. */
export function checkHttp2Framing(authority: string | undefined, headers: HeaderList): Refusal | undefined {
  const size = checkSize(headers);
  if (size !== undefined) return size;
  const host = headerValue(headers, 'host');
  if (authority !== undefined && host !== undefined && host !== authority) return bad('Host differs from :authority');
  const named = authority ?? host;
  if (named === undefined || !isAuthority(named)) return bad('missing or malformed :authority');
  if (headerValues(headers, 'content-length').length > 1) return bad('more than one Content-Length');
  return undefined;
}

function checkSize(headers: HeaderList): Refusal | undefined {
  const over = headers.length > 2 * maxHeaderCount || headerBytes(headers) > maxHeaderBytes;
  return over ? { status: 431, reason: 'too many or too large headers' } : undefined;
}

function bad(reason: string): Refusal {
  return { status: 400, reason };
}
