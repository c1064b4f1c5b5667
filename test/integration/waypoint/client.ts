/** HTTP and gRPC-like clients that speak inside a tunnel, as an application behind its ztunnel would. */
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect, type IncomingHttpHeaders as H2Headers } from 'node:http2';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface RequestOptions {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Record<string, string | string[]>;
  readonly body?: string;
}

/** One HTTP/1.1 request over the stream. */
export function http1(stream: Duplex, options: RequestOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        createConnection: () => stream as never,
        method: options.method ?? 'GET',
        path: options.path ?? '/',
        headers: { host: 'productpage:9080', ...options.headers },
      },
      (response) => {
        text(response).then(
          (body) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
          reject,
        );
      },
    );
    outgoing.on('error', reject);
    outgoing.end(options.body);
  });
}

export interface H2Answer {
  readonly headers: H2Headers;
  readonly trailers: H2Headers;
  readonly body: string;
}

/** One HTTP/2 request over the stream. */
export function http2(stream: Duplex, headers: Record<string, string>, body?: string): Promise<H2Answer> {
  return new Promise((resolve, reject) => {
    const session = connect('http://productpage:9080', { createConnection: () => stream as never });
    session.on('error', reject);
    const outgoing = session.request(
      { ':method': 'POST', ':path': '/', ...headers },
      { endStream: body === undefined },
    );
    let head: H2Headers = {};
    let trailers: H2Headers = {};
    outgoing.on('error', reject);
    outgoing.once('response', (got) => {
      head = got;
    });
    outgoing.once('trailers', (got) => {
      trailers = got;
    });
    text(outgoing).then((got) => {
      session.close();
      resolve({ headers: head, trailers, body: got });
    }, reject);
    if (body !== undefined) outgoing.end(body);
  });
}
