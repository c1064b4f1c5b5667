/**
 * gRPC-Web as gRPC (PROTOCOL-WEB of grpc): browsers cannot read trailers, so these stand in a last frame of the body, and all of
 * it may be base64. Whoever has the exchange sees a gRPC request, and answers as to one.
 */
import { type Duplex, Readable } from 'node:stream';
import type { Exchange, IncomingRequest } from './exchange.ts';
import { type HeaderList, headerValue, noHeaders, withHeader, withoutHeaders } from './header-list.ts';

const webType = /^application\/grpc-web(-text)?(\+[a-z0-9.-]+)?(?:;|$)/i;
const trailersFrame = 0x80;

/** The exchange itself when it is no gRPC-Web. */
export function withoutGrpcWeb(exchange: Exchange): Exchange {
  const type = headerValue(exchange.request.headers, 'content-type');
  const match = type === undefined ? null : webType.exec(type);
  return match === null ? exchange : new GrpcWebExchange(exchange, match[1] !== undefined, match[2] ?? '');
}

class GrpcWebExchange implements Exchange {
  readonly request: IncomingRequest;
  readonly #inner: Exchange;
  readonly #text: boolean;
  readonly #suffix: string;
  /** The response is one of gRPC: its trailers go into the body. */
  #framed = false;

  constructor(inner: Exchange, text: boolean, suffix: string) {
    this.#inner = inner;
    this.#text = text;
    this.#suffix = suffix;
    const { body, headers } = inner.request;
    const sized = text ? withoutHeaders(headers, (name) => name === 'content-length') : headers;
    this.request = {
      ...inner.request,
      headers: withHeader(withHeader(sized, 'content-type', `application/grpc${suffix}`), 'te', 'trailers'),
      body: body === undefined || !text ? body : Readable.from(decoded(body), { objectMode: false }),
    };
  }

  expectBody(): void {
    this.#inner.expectBody();
  }

  inform(status: number, headers: HeaderList): void {
    this.#inner.inform(status, headers);
  }

  start(status: number, headers: HeaderList, empty: boolean): void {
    const type = headerValue(headers, 'content-type');
    if (type === undefined || !/^application\/grpc(?:[+;]|$)/i.test(type)) {
      this.#inner.start(status, headers, empty);
      return;
    }
    this.#framed = !empty;
    const own = withHeader(headers, 'content-type', `application/grpc-web${this.#text ? '-text' : ''}${this.#suffix}`);
    this.#inner.start(
      status,
      withoutHeaders(own, (name) => name === 'content-length'),
      empty,
    );
  }

  write(chunk: Uint8Array): boolean {
    return this.#inner.write(this.#framed ? this.#coded(chunk) : chunk);
  }

  onDrain(listener: () => void): void {
    this.#inner.onDrain(listener);
  }

  end(trailers: HeaderList = noHeaders): void {
    if (!this.#framed) {
      this.#inner.end(trailers);
      return;
    }
    let lines = '';
    for (let i = 0; i < trailers.length; i += 2) lines += `${trailers[i]?.toLowerCase()}: ${trailers[i + 1]}\r\n`;
    const frame = Buffer.alloc(5 + lines.length);
    frame[0] = trailersFrame;
    frame.writeUInt32BE(lines.length, 1);
    frame.write(lines, 5, 'latin1');
    this.#inner.write(this.#coded(frame));
    this.#inner.end();
  }

  switchProtocols(headers: HeaderList): Duplex {
    return this.#inner.switchProtocols(headers);
  }

  reset(): void {
    this.#inner.reset();
  }

  onClosed(listener: (complete: boolean) => void): void {
    this.#inner.onClosed(listener);
  }

  /** Each part by itself, padding included, as the protocol allows. */
  #coded(chunk: Uint8Array): Uint8Array {
    return this.#text ? Buffer.from(Buffer.from(chunk).toString('base64'), 'latin1') : chunk;
  }
}

/** Base64 in parts of any length, each of which may end in padding. Throws, to whoever reads, on what is none. */
async function* decoded(body: Readable): AsyncGenerator<Buffer> {
  let rest = '';
  for await (const chunk of body as AsyncIterable<Buffer>) {
    const text = rest + chunk.toString('latin1');
    const whole = text.length - (text.length % 4);
    rest = text.slice(whole);
    const bytes = decode(text.slice(0, whole));
    if (bytes.length > 0) yield bytes;
  }
  if (rest !== '') throw new Error('gRPC-Web text that ends inside a group');
}

function decode(text: string): Buffer {
  if (!/^(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)*$/.test(text)) throw new Error('not gRPC-Web text');
  // Node stops at padding: each part by itself.
  return Buffer.concat((text.match(/[^=]+=*/g) ?? []).map((part) => Buffer.from(part, 'base64')));
}
