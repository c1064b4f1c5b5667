/**
 * The three ports of a proxy: admin (loopback or a unix socket), metrics, readiness. Paths and texts are ztunnel's.
 * Admin answers only to a local Host and no foreign Origin, so that a page in a browser cannot reach it (DNS rebinding),
 * and changes state only by POST; what such a page has a browser fetch is not answered either. Each address has its share of
 * a port's connections, so that nobody keeps probes and scrapes of others out. A request that fails is answered with 500 and ends alone.
 */

import { rmSync } from 'node:fs';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AmbitError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { createServer } from '../base/node-http.ts';
import { chooseCoding, encoderFor } from './content-coding.ts';
import type { AdminDependencies } from './interfaces.ts';
import { type Reply, type Routes, textReply } from './reply.ts';
import { adminRoutes, metricsRoutes, readinessRoutes } from './routes.ts';

export interface AdminAddresses {
  readonly admin: ListenAddress | undefined;
  readonly metrics: ListenAddress | undefined;
  readonly readiness: ListenAddress | undefined;
}

export type ListenAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  /** Made with mode 0600; a stale socket file is replaced. */
  | { readonly kind: 'unix'; readonly path: string };

export interface RunningAdmin {
  /** Real ports, for port 0. Undefined for what does not listen on TCP. */
  readonly ports: {
    readonly admin: number | undefined;
    readonly metrics: number | undefined;
    readonly readiness: number | undefined;
  };
  close(): Promise<void>;
}

/** Rejects with AmbitError `ADMIN_LISTEN` when an address cannot be had; nothing stays open then. */
export async function startAdmin(
  deps: AdminDependencies,
  addresses: AdminAddresses,
  logger: Logger,
): Promise<RunningAdmin> {
  const log = logger.topic('admin');
  const servers: Server[] = [];
  const close = async () => {
    await Promise.all(servers.splice(0).map(closeServer));
  };
  const start = async (address: ListenAddress | undefined, routes: Routes, guarded: boolean) => {
    if (address === undefined) return undefined;
    const server = createServer({
      requestTimeout: 10_000,
      headersTimeout: 2_000,
      keepAliveTimeout: 5_000,
      // Node looks every 30 s otherwise, for so long a client that says nothing would stay.
      connectionsCheckingInterval: 1_000,
    });
    server.maxConnections = 128;
    shareConnections(server);
    server.on('request', (request, response) => void answer(request, response, routes, guarded, log));
    servers.push(server);
    return await listen(server, address);
  };
  try {
    const admin = await start(addresses.admin, adminRoutes(deps), true);
    const metrics = await start(addresses.metrics, metricsRoutes(deps), false);
    const readiness = await start(addresses.readiness, readinessRoutes(deps), false);
    return { ports: { admin, metrics, readiness }, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Of 128: kubelet, a scraper and an operator need a few each. */
const mostPerAddress = 32;

/** A connection beyond its address's share is closed at once. A unix socket is its owner's alone. */
function shareConnections(server: Server): void {
  const byAddress = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress;
    if (address === undefined) return;
    const held = byAddress.get(address) ?? 0;
    if (held >= mostPerAddress) {
      socket.destroy();
      return;
    }
    byAddress.set(address, held + 1);
    socket.once('close', () => {
      const left = (byAddress.get(address) ?? 1) - 1;
      if (left === 0) byAddress.delete(address);
      else byAddress.set(address, left);
    });
  });
}

/** For the whole of a body of chunks. */
const streamDeadlineMs = 60_000;

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  routes: Routes,
  guarded: boolean,
  log: Logger,
): Promise<void> {
  request.on('error', () => {});
  response.on('error', () => {});
  request.resume();
  let reply: Reply;
  try {
    reply = await route(request, routes, guarded);
  } catch (error) {
    const wrong = error instanceof AmbitError;
    if (!wrong) log.error('request failed', { path: request.url, error: errorText(error) });
    reply = textReply(wrong ? 400 : 500, errorText(error));
  }
  const headers = {
    'content-type': reply.contentType,
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    ...reply.headers,
  };
  const { body } = reply;
  if (request.method === 'HEAD' || typeof body === 'string' || body instanceof Uint8Array) {
    response.writeHead(reply.status, headers);
    response.end(request.method === 'HEAD' ? undefined : body);
    return;
  }
  await stream(request, response, { status: reply.status, headers, body }, log);
}

/**
 * Large answers under way, by who reads them: each takes the thread's time and holds what its reader has not read yet. A
 * reader that is slow on purpose takes no more than its share, so that others are still answered.
 */
class Streams {
  static readonly mostPerReader = 4;
  static readonly most = 16;
  readonly #byReader = new Map<string, number>();
  #all = 0;

  begin(reader: string): boolean {
    const own = this.#byReader.get(reader) ?? 0;
    if (own >= Streams.mostPerReader || this.#all >= Streams.most) return false;
    this.#byReader.set(reader, own + 1);
    this.#all++;
    return true;
  }

  end(reader: string): void {
    const own = (this.#byReader.get(reader) ?? 1) - 1;
    if (own === 0) this.#byReader.delete(reader);
    else this.#byReader.set(reader, own);
    this.#all--;
  }
}

const streams = new Streams();

/** A body of chunks, compressed when that is wanted. A reader that leaves or stalls ends it. */
async function stream(
  request: IncomingMessage,
  response: ServerResponse,
  reply: { readonly status: number; readonly headers: Record<string, string>; readonly body: AsyncIterable<string> },
  log: Logger,
): Promise<void> {
  const reader = request.socket.remoteAddress ?? 'this machine';
  if (!streams.begin(reader)) {
    response.writeHead(503, { 'content-type': 'text/plain; charset=utf-8', 'retry-after': '1' });
    response.end('too many large answers are under way\n');
    return;
  }
  const deadline = AbortSignal.timeout(streamDeadlineMs);
  try {
    const coding = chooseCoding(String(request.headers['accept-encoding'] ?? ''));
    const encoded = coding === undefined ? {} : { 'content-encoding': coding };
    response.writeHead(reply.status, { ...reply.headers, ...encoded });
    const chunks = Readable.from(reply.body, { objectMode: false, highWaterMark: 64 * 1024 });
    if (coding === undefined) await pipeline(chunks, response, { signal: deadline });
    else await pipeline(chunks, encoderFor(coding), response, { signal: deadline });
  } catch (error) {
    // The head is out: what is left is to cut it short, which a reader of chunks notices.
    response.destroy();
    log.debug('an answer was cut short', { path: request.url, error: errorText(error) });
  } finally {
    streams.end(reader);
  }
}

async function route(request: IncomingMessage, routes: Routes, guarded: boolean): Promise<Reply> {
  if (guarded && !isLocal(request)) return textReply(403, 'admin answers only to localhost');
  const url = URL.parse(`http://admin${request.url ?? '/'}`);
  const found = url === null ? undefined : routes.get(url.pathname);
  if (url === null || found === undefined) return textReply(404, 'not found');
  const method = request.method === 'HEAD' ? 'GET' : (request.method ?? 'GET');
  const handler = method === 'GET' ? found.get : method === 'POST' ? found.post : undefined;
  if (handler !== undefined) return await handler(url.searchParams, request);
  const allow = [found.get && 'GET', found.post && 'POST'].filter(Boolean).join(', ');
  return { ...textReply(405, `use ${allow}`), headers: { allow } };
}

/**
 * A browser sends its page's Origin, and after DNS rebinding the page's name as Host. With what a page only has it fetch (an
 * image, a script) it sends no Origin, but says that it is for another site.
 */
function isLocal(request: IncomingMessage): boolean {
  const local = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i;
  const { host, origin, 'sec-fetch-site': site } = request.headers;
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return false;
  if (host !== undefined && !local.test(host)) return false;
  return origin === undefined || local.test(origin.replace(/^https?:\/\//, ''));
}

async function listen(server: Server, address: ListenAddress): Promise<number | undefined> {
  if (address.kind === 'unix') rmSync(address.path, { force: true });
  const target = address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port };
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const where = address.kind === 'unix' ? address.path : `${address.host}:${address.port}`;
      reject(
        new AmbitError(`cannot listen on ${where} (admin, metrics or readiness)`, {
          code: 'ADMIN_LISTEN',
          origin: 'local',
          cause,
        }),
      );
    });
    // The socket file is made in this call: at no moment may others open it.
    const before = address.kind === 'unix' ? process.umask(0o177) : undefined;
    try {
      server.listen(target, resolve);
    } finally {
      if (before !== undefined) process.umask(before);
    }
  });
  server.on('error', () => {});
  return address.kind === 'unix' ? undefined : (server.address() as AddressInfo).port;
}

async function closeServer(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
