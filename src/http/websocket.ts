/**
 * The opening of a WebSocket between HTTP/1.1 (RFC 6455 §4) and HTTP/2 (RFC 8441): the one proves by a key that the other end
 * knows what it agrees to, the other by its settings, so the key is made or answered where the version changes.
 */
import { createHash, randomBytes } from 'node:crypto';
import { type HeaderList, headerValue, withHeader, withoutHeaders } from './header-list.ts';

const keyName = 'sec-websocket-key';
const acceptName = 'sec-websocket-accept';

/** Of a request that goes on in the other version, `to`. */
export function openingHeaders(headers: HeaderList, to: '1.1' | '2'): HeaderList {
  if (to === '2') return withoutHeaders(headers, (name) => name === keyName);
  return withHeader(headers, keyName, randomBytes(16).toString('base64'));
}

/**
 * Of the answer, which came in the other version, `from`. `sent`: headers of the request as the application got it; `received`:
 * as they came from the client. Undefined: the application does not know what it agreed to.
 */
export function acceptedHeaders(
  headers: HeaderList,
  from: '1.1' | '2',
  { sent, received }: { readonly sent: HeaderList; readonly received: HeaderList },
): HeaderList | undefined {
  if (from === '2') {
    const key = headerValue(received, keyName);
    return key === undefined ? headers : withHeader(headers, acceptName, acceptOf(key));
  }
  if (headerValue(headers, acceptName) !== acceptOf(headerValue(sent, keyName) ?? '')) return undefined;
  return withoutHeaders(headers, (name) => name === acceptName);
}

function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
}
