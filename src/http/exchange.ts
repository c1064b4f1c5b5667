/**
 * One request and its response, whatever HTTP version carries them: what the servers of this room hand to their user.
 *
 * I1: `closed` is reported exactly once. I2: nothing here throws for what the peer does; calls after the end do nothing.
 * I3: a response that was cut short never looks whole: `reset` breaks the framing instead of ending it.
 */
import type { Duplex, Readable } from 'node:stream';
import { type HeaderList, headerValue } from './header-list.ts';
import type { PathNormalization } from './request-target.ts';

export interface IncomingRequest {
  readonly version: '1.0' | '1.1' | '2';
  readonly method: string;
  /** Host header, `:authority`, or the authority of an absolute-form target. */
  readonly authority: string;
  /** Normalised, without query. */
  readonly path: string;
  /** With its question mark; empty without query. */
  readonly query: string;
  /** End-to-end headers: no pseudo headers, no Host, nothing hop-by-hop. */
  readonly headers: HeaderList;
  /** Undefined when the request has none. Truncation arrives as 'error'. */
  readonly body: Readable | undefined;
  /** `websocket` when the client asks for that upgrade; other upgrades are not offered to anyone. */
  readonly upgrade: string | undefined;
}

export interface Exchange {
  readonly request: IncomingRequest;
  /** Tells a client that waits for it to send the body (100 Continue). Harmless when none waits. */
  expectBody(): void;
  /** An interim response, 102 to 199. */
  inform(status: number, headers: HeaderList): void;
  /** Response head. `headers` are end-to-end ones. `empty`: neither body nor trailers follow; `end` must still be called. */
  start(status: number, headers: HeaderList, empty: boolean): void;
  /** False when the caller should wait for `onDrain`. */
  write(chunk: Uint8Array): boolean;
  onDrain(listener: () => void): void;
  end(trailers?: HeaderList): void;
  /** Answers 101 and gives the connection's bytes. Only when `request.upgrade` is set. The caller owns the stream. */
  switchProtocols(headers: HeaderList): Duplex;
  /** Ends the exchange by breaking it: RST_STREAM, or the connection on HTTP/1.1. After a whole response on HTTP/2 it breaks the request alone. */
  reset(): void;
  /** `complete`: the whole response was handed to the connection; otherwise the client left first or it was reset. */
  onClosed(listener: (complete: boolean) => void): void;
}

/** A complete small response of our own making. */
export function respond(exchange: Exchange, status: number, headers: HeaderList, body: string): void {
  const bytes = Buffer.from(body);
  const untyped = bytes.length > 0 && headerValue(headers, 'content-type') === undefined;
  const head = untyped ? ['content-type', 'text/plain', ...headers] : headers;
  exchange.start(status, [...head, 'content-length', String(bytes.length)], bytes.length === 0);
  if (bytes.length > 0 && exchange.request.method !== 'HEAD') exchange.write(bytes);
  exchange.end();
}

/** A connection whose requests are served. */
export interface ServedConnection {
  /**
   * Tells the client to go elsewhere: GOAWAY, or `connection: close` on the next response. What an HTTP/1.1 client sends
   * before it knows is served, since it could not tell whether it may send it again (RFC 9112 §9.6): idle connections stay.
   */
  drain(): void;
  /** It has had the time to know: ends with what is under way, at once when nothing is. After `drain`. */
  finish(): void;
  destroy(): void;
}

export interface ConnectionHandlers {
  /** Of the paths of requests; `base` where it is not said. Asked for each. */
  readonly pathNormalization?: PathNormalization;
  /** Total. */
  exchange(exchange: Exchange): void;
  /** A request that was refused before it became an exchange; it has been answered. */
  refused(status: number, reason: string): void;
}
