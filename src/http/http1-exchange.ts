/** An exchange on node:http's request and response. Names, order and case of headers go out as given. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Exchange, IncomingRequest } from './exchange.ts';
import { type HeaderList, headerValue, noHeaders, withoutHeaders } from './header-list.ts';
import { ownMatters, stripHopByHop } from './hop-by-hop.ts';

/** A text is copied more often. */
const mostHeldBytes = 2048;

export class Http1Exchange implements Exchange {
  readonly request: IncomingRequest;
  readonly #incoming: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #upgraded: Duplex | undefined;
  readonly #connection: { readonly draining: boolean };
  readonly #closedListeners: ((complete: boolean) => void)[] = [];
  readonly #drainListeners: (() => void)[] = [];
  /** The response is listened to once it has had no room, which few have. */
  #awaitsDrain = false;
  #continued = false;
  #headWaits = false;
  /** First bytes of the body, while the head waits for them: most responses are whole in the turn in which they begin. */
  #held: Uint8Array | undefined;
  #trailersAllowed = false;
  #closed = false;

  constructor(
    incoming: IncomingMessage,
    response: ServerResponse,
    target: { readonly authority: string; readonly path: string; readonly query: string },
    upgraded: Duplex | undefined,
    connection: { readonly draining: boolean },
  ) {
    this.#connection = connection;
    this.#incoming = incoming;
    this.#response = response;
    this.#upgraded = upgraded;
    this.request = {
      version: incoming.httpVersion === '1.0' ? '1.0' : '1.1',
      method: incoming.method ?? '',
      authority: target.authority,
      path: target.path,
      query: target.query,
      headers: stripHopByHop(incoming.rawHeaders, ownMatters),
      body: hasBody(incoming) ? incoming : undefined,
      upgrade: upgraded === undefined ? undefined : 'websocket',
    };
    response.sendDate = false;
    response.once('close', () => this.#close(response.writableFinished));
    upgraded?.once('close', () => this.#close(response.writableFinished));
  }

  expectBody(): void {
    if (this.#continued || this.#response.headersSent || this.request.version === '1.0') return;
    this.#continued = true;
    if (headerValue(this.#incoming.rawHeaders, 'expect') !== undefined) this.#response.writeContinue();
  }

  inform(status: number, headers: HeaderList): void {
    // RFC 9110 §15.2: a client of HTTP/1.0 knows no interim responses.
    if (this.#response.headersSent || this.#closed || this.request.version === '1.0') return;
    // No prototype: a name may be `constructor`.
    const fields: Record<string, string[]> = Object.create(null);
    for (let i = 0; i < headers.length; i += 2) {
      const name = headers[i] as string;
      fields[name] = [...(fields[name] ?? []), headers[i + 1] as string];
    }
    this.#response.writeInformation(status, fields);
  }

  start(status: number, headers: HeaderList, empty: boolean): void {
    const response = this.#response;
    if (response.headersSent || this.#closed) return;
    const bodyless = empty && status >= 200 && status !== 204 && status !== 304 && this.request.method !== 'HEAD';
    const coded = headerValue(headers, 'transfer-encoding') !== undefined;
    const sized = coded ? withoutHeaders(headers, (name) => name === 'transfer-encoding') : headers;
    const measured = headerValue(sized, 'content-length') !== undefined;
    this.#trailersAllowed = !empty && !measured;
    // A request body that nobody read stands between this response and the next request: do not wait for it.
    const unread = this.request.body !== undefined && !this.#incoming.complete;
    if (unread || this.#connection.draining) response.shouldKeepAlive = false;
    try {
      response.writeHead(status, (bodyless && !measured ? [...sized, 'content-length', '0'] : sized) as string[]);
    } catch {
      // Somebody else's headers, and Node throws for what HTTP cannot carry.
      this.reset();
      return;
    }
    // It goes out together with what there is of the body in this turn.
    this.#headWaits = true;
    process.nextTick(flushHead, this);
  }

  flushHead(): void {
    const waits = this.#headWaits;
    const held = this.#takeHeld();
    if (this.#closed) return;
    if (held !== undefined) this.#send(held);
    else if (waits) this.#response.flushHeaders();
  }

  write(chunk: Uint8Array): boolean {
    if (chunk.length === 0 || this.#closed || this.#response.writableEnded) return true;
    if (this.#headWaits && this.#held === undefined && chunk.length <= mostHeldBytes) {
      this.#held = chunk;
      return true;
    }
    const held = this.#takeHeld();
    if (held !== undefined) this.#send(held);
    return this.#send(chunk);
  }

  #send(chunk: Uint8Array): boolean {
    const room = this.#response.write(chunk);
    if (!room && !this.#awaitsDrain) {
      this.#awaitsDrain = true;
      this.#response.on('drain', () => {
        for (const listener of this.#drainListeners) listener();
      });
    }
    return room;
  }

  onDrain(listener: () => void): void {
    this.#drainListeners.push(listener);
  }

  end(trailers: HeaderList = noHeaders): void {
    const response = this.#response;
    if (this.#closed || response.writableEnded) return;
    const held = this.#takeHeld();
    if (this.#trailersAllowed && trailers.length > 0) response.addTrailers(pairs(trailers));
    if (held === undefined) response.end();
    // As text it is one with the head: one write below instead of two.
    else response.end(Buffer.from(held.buffer, held.byteOffset, held.length).toString('latin1'), 'latin1');
  }

  /** The head waits for nothing any more. */
  #takeHeld(): Uint8Array | undefined {
    const held = this.#held;
    this.#held = undefined;
    this.#headWaits = false;
    return held;
  }

  switchProtocols(headers: HeaderList): Duplex {
    const stream = this.#upgraded as Duplex;
    const response = this.#response;
    let head = 'HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n';
    for (let i = 0; i < headers.length; i += 2) head += `${headers[i]}: ${headers[i + 1]}\r\n`;
    response.removeAllListeners('finish');
    response.detachSocket(stream as IncomingMessage['socket']);
    stream.write(Buffer.from(`${head}\r\n`, 'latin1'));
    return stream;
  }

  reset(): void {
    const error = new Error('the exchange was reset');
    if (this.#upgraded !== undefined) this.#upgraded.destroy(error);
    this.#incoming.socket.destroy(error);
    this.#close(false);
  }

  onClosed(listener: (complete: boolean) => void): void {
    this.#closedListeners.push(listener);
  }

  #close(complete: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const listener of this.#closedListeners) listener(complete);
  }
}

function flushHead(exchange: Http1Exchange): void {
  exchange.flushHead();
}

function hasBody(incoming: IncomingMessage): boolean {
  const { rawHeaders } = incoming;
  if (headerValue(rawHeaders, 'transfer-encoding') !== undefined) return true;
  return Number(headerValue(rawHeaders, 'content-length') ?? 0) > 0;
}

function pairs(list: HeaderList): [string, string][] {
  const out: [string, string][] = [];
  for (let i = 0; i < list.length; i += 2) out.push([list[i] as string, list[i + 1] as string]);
  return out;
}
