/**
 * An exchange on a node:http2 server stream.
 *
 * A truncated upload would look whole: the body is handed on through a stream of its own (`http2-bytes.ts`). In the other
 * direction `close` sends END_STREAM before RST_STREAM unless trailers are awaited.
 */
import { constants, type ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { closeHttp2Stream } from '../base/close-http2-stream.ts';
import { forgetListeners } from '../base/forget-listeners.ts';
import type { Exchange, IncomingRequest } from './exchange.ts';
import { type HeaderList, headerValue, noHeaders } from './header-list.ts';
import { ownMatters, stripHopByHop } from './hop-by-hop.ts';
import { http2Bytes, wholeBody } from './http2-bytes.ts';

export class Http2Exchange implements Exchange {
  readonly request: IncomingRequest;
  readonly #stream: ServerHttp2Stream;
  readonly #closedListeners: ((complete: boolean) => void)[] = [];
  readonly #expects: boolean;
  readonly #upgrading: Duplex | undefined;
  #trailers: HeaderList = noHeaders;
  #continued = false;
  #ended = false;
  #closed = false;

  constructor(
    stream: ServerHttp2Stream,
    head: { readonly method: string; readonly authority: string; readonly path: string; readonly query: string },
    headers: HeaderList,
    bodyless: boolean,
    /** `:protocol` of an extended CONNECT (RFC 8441). */
    upgrade?: 'websocket',
  ) {
    this.#stream = stream;
    this.#upgrading = upgrade === undefined ? undefined : http2Bytes(stream);
    this.#expects = headerValue(headers, 'expect') !== undefined;
    this.request = {
      version: '2',
      ...head,
      headers: stripHopByHop(headers, ownMatters),
      body: bodyless || upgrade !== undefined ? undefined : wholeBody(stream),
      upgrade,
    };
    if (bodyless) stream.resume();
    stream.on('wantTrailers', () => {
      if (this.#ended && !stream.closed) this.#sendTrailers();
    });
    stream.once('close', () => {
      this.#close(this.#ended && stream.rstCode === constants.NGHTTP2_NO_ERROR);
      forgetListeners(stream);
    });
  }

  expectBody(): void {
    if (!this.#expects || this.#continued || this.#stream.headersSent || this.#stream.closed) return;
    this.#continued = true;
    this.#stream.additionalHeaders({ ':status': 100 });
  }

  inform(status: number, headers: HeaderList): void {
    if (this.#stream.headersSent || this.#stream.closed || this.#stream.destroyed) return;
    this.#stream.additionalHeaders({ ':status': status, ...fields(headers) });
  }

  start(status: number, headers: HeaderList, empty: boolean): void {
    if (this.#stream.headersSent || this.#stream.closed || this.#stream.destroyed) return;
    const list = [':status', String(status)];
    for (let i = 0; i < headers.length; i += 2)
      list.push((headers[i] as string).toLowerCase(), headers[i + 1] as string);
    try {
      // What the client wrote behind its CONNECT is nobody's.
      this.#upgrading?.resume();
      this.#stream.respond(list, { endStream: empty, waitForTrailers: !empty, sendDate: false } as object);
    } catch {
      // Somebody else's headers, and Node throws for what HTTP/2 cannot carry.
      this.reset();
      return;
    }
    if (empty) this.#ended = true;
  }

  write(chunk: Uint8Array): boolean {
    // An empty write may abort the process: see TunnelEnd.
    const idle = chunk.length === 0 || this.#stream.destroyed || this.#stream.writableEnded;
    return idle ? true : this.#stream.write(chunk);
  }

  onDrain(listener: () => void): void {
    this.#stream.on('drain', listener);
  }

  end(trailers: HeaderList = noHeaders): void {
    if (this.#stream.destroyed || this.#stream.writableEnded) return;
    this.#trailers = trailers;
    this.#ended = true;
    this.#stream.end();
  }

  switchProtocols(headers: HeaderList): Duplex {
    const bytes = this.#upgrading as Duplex;
    const list = [':status', '200'];
    for (let i = 0; i < headers.length; i += 2)
      list.push((headers[i] as string).toLowerCase(), headers[i + 1] as string);
    if (this.#stream.destroyed || this.#stream.closed) bytes.destroy(new Error('the stream has closed'));
    else this.#stream.respond(list, { sendDate: false } as object);
    return bytes;
  }

  reset(): void {
    const stream = this.#stream;
    // The client has it all: only what it still sends is refused (RFC 9113 §8.1).
    const whole = this.#ended && !stream.destroyed && stream.state.localClose === 1;
    const code = whole ? constants.NGHTTP2_NO_ERROR : constants.NGHTTP2_INTERNAL_ERROR;
    if (!stream.destroyed) closeHttp2Stream(stream, code);
    this.#close(whole);
  }

  onClosed(listener: (complete: boolean) => void): void {
    this.#closedListeners.push(listener);
  }

  /** The application chose them, and Node throws for what HTTP/2 cannot carry. */
  #sendTrailers(): void {
    try {
      this.#stream.sendTrailers(fields(this.#trailers));
    } catch {
      this.reset();
    }
  }

  #close(complete: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const listener of this.#closedListeners) listener(complete);
  }
}

function fields(list: HeaderList): Record<string, string[]> {
  // No prototype: a name may be `constructor`.
  const out: Record<string, string[]> = Object.create(null);
  for (let i = 0; i < list.length; i += 2) {
    const name = (list[i] as string).toLowerCase();
    out[name] = [...(out[name] ?? []), list[i + 1] as string];
  }
  return out;
}
