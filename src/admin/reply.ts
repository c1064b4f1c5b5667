/** What a path of the three ports answers with, and how its handlers are written down. */
import type { IncomingMessage } from 'node:http';

export interface Reply {
  readonly status: number;
  readonly contentType: string;
  /** Chunks: made while they are sent, and compressed when the client wants it. */
  readonly body: string | Uint8Array | AsyncIterable<string>;
  readonly headers?: Readonly<Record<string, string>>;
}

export type Handler = (query: URLSearchParams, request: IncomingMessage) => Reply | Promise<Reply>;

export interface Methods {
  /** For the index page. */
  readonly about: string;
  readonly get?: Handler;
  readonly post?: Handler;
}

export type Routes = ReadonlyMap<string, Methods>;

export function textReply(status: number, body: string): Reply {
  return { status, contentType: 'text/plain; charset=utf-8', body: `${body}\n` };
}
