/**
 * The one door to undici: a pool of HTTP connections per endpoint, pair of identities and protocol, over whatever byte
 * streams the connector gives. Choosing endpoints, retries and deadlines are not its business.
 *
 * Settings that are not free (each tried): an http:// origin, for with https:// undici ties SNI to Host and reconnects
 * when it changes; `pipelining` 100 for h2c, or requests wait behind a stream that survives a GOAWAY; `reset: false`
 * for HEAD, or every HEAD closes its connection; undici's timeouts off, because deadlines are the caller's.
 */
import type { Duplex, Readable } from 'node:stream';
import { type Dispatcher, Pool } from 'undici';
import type { SocketAddress } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import { maxHeaderBytes } from '../http/framing.ts';
import { type HeaderList, noHeaders } from '../http/header-list.ts';
import type { TryResult } from '../route/retry.ts';
import type { Connector } from './connector.ts';
import { poolKey, type UpstreamEndpoint, type UpstreamProtocol } from './endpoint.ts';
import { mendUndiciStreams, withoutStreamNature } from './undici-h2.ts';

export interface UpstreamRequest {
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly authority: string;
  /** End-to-end headers, without Host. */
  readonly headers: HeaderList;
  readonly body: Readable | undefined;
  readonly upgrade: string | undefined;
}

/** What becomes of one try. Exactly one of `end`, `failed` and `upgraded` comes, as the last call. */
export interface TryHandler {
  inform(status: number, headers: HeaderList): void;
  head(status: number, headers: HeaderList): void;
  /** False pauses until `resume`. */
  data(chunk: Buffer): boolean;
  end(trailers: HeaderList): void;
  /** The stream is the handler's. */
  upgraded(headers: HeaderList, stream: Duplex): void;
  failed(result: Extract<TryResult, { kind: 'connect-failure' | 'refused-stream' | 'reset' }>, error: Error): void;
}

export interface RunningTry {
  /** Nothing more is told to the handler. */
  abort(reason: string): void;
  resume(): void;
}

export interface UpstreamPools {
  send(
    endpoint: UpstreamEndpoint,
    protocol: UpstreamProtocol,
    request: UpstreamRequest,
    handler: TryHandler,
  ): RunningTry;
  /** Addresses of the newest connection to the endpoint, for logs. */
  lastLink(
    endpoint: UpstreamEndpoint,
    protocol: UpstreamProtocol,
  ): { readonly local: SocketAddress; readonly peer: SocketAddress } | undefined;
  /** The workload left or changed: no new request over what is open; requests under way end by themselves. */
  forget(workloadUid: string): void;
  readonly size: number;
  close(): Promise<void>;
}

/** A pool without requests for so long is closed. */
const idlePoolMs = 60_000;
const maxConnectionsPerPool = 1024;

interface Entry {
  readonly key: string;
  readonly endpoint: UpstreamEndpoint;
  readonly pool: Pool;
  /** Not dropped. */
  open: boolean;
  active: number;
  /** When the last request ended, if none runs. */
  idleSinceMs: number;
  idle: Timer | undefined;
  link: { readonly local: SocketAddress; readonly peer: SocketAddress } | undefined;
}

/** Marks errors that mean: no connection, nothing was sent. */
class NotConnected extends Error {}

export function createUpstreamPools(connector: Connector, clock: Clock): UpstreamPools {
  const entries = new Map<string, Entry>();
  /** The same for endpoints that come again as the same object: their keys need not be made. */
  const byEndpoint = { h1: new WeakMap<UpstreamEndpoint, Entry>(), h2c: new WeakMap<UpstreamEndpoint, Entry>() };
  mendUndiciStreams();

  const drop = (entry: Entry) => {
    entry.idle?.cancel();
    entry.open = false;
    if (entries.get(entry.key) === entry) entries.delete(entry.key);
    entry.pool.close().catch(ignore);
  };

  const known = (endpoint: UpstreamEndpoint, protocol: UpstreamProtocol): Entry | undefined => {
    const seen = byEndpoint[protocol].get(endpoint);
    if (seen?.open === true) return seen;
    const entry = entries.get(poolKey(endpoint, protocol));
    if (entry !== undefined) byEndpoint[protocol].set(endpoint, entry);
    return entry;
  };

  const open = (endpoint: UpstreamEndpoint, protocol: UpstreamProtocol): Entry => {
    const key = poolKey(endpoint, protocol);
    const entry: Entry = {
      key,
      endpoint,
      pool: makePool(endpoint, protocol, connector, (link) => {
        entry.link = link;
      }),
      open: true,
      active: 0,
      idleSinceMs: clock.nowMs(),
      idle: undefined,
      link: undefined,
    };
    entries.set(key, entry);
    watch(entry, idlePoolMs);
    return entry;
  };

  const release = (entry: Entry) => {
    if (--entry.active === 0) entry.idleSinceMs = clock.nowMs();
  };

  // One timer for a pool, none for a request.
  const watch = (entry: Entry, afterMs: number) => {
    entry.idle = clock.after(afterMs, () => {
      const idleMs = entry.active === 0 ? clock.nowMs() - entry.idleSinceMs : 0;
      if (idleMs >= idlePoolMs) drop(entry);
      else watch(entry, idlePoolMs - idleMs);
    });
  };

  return {
    send(endpoint, protocol, request, handler) {
      const entry = known(endpoint, protocol) ?? open(endpoint, protocol);
      entry.active++;
      const running = new Try(handler, () => release(entry));
      try {
        entry.pool.dispatch(dispatchOptions(request, protocol), running);
      } catch (error) {
        running.onResponseError(undefined, error as Error);
      }
      return running;
    },
    lastLink: (endpoint, protocol) => known(endpoint, protocol)?.link,
    forget(workloadUid) {
      for (const entry of [...entries.values()]) if (entry.endpoint.workload.uid === workloadUid) drop(entry);
    },
    get size() {
      return entries.size;
    },
    async close() {
      const all = [...entries.values()];
      entries.clear();
      for (const entry of all) {
        entry.idle?.cancel();
        entry.open = false;
      }
      await Promise.all(all.map((entry) => entry.pool.destroy().catch(ignore)));
    },
  };
}

function makePool(
  endpoint: UpstreamEndpoint,
  protocol: UpstreamProtocol,
  connector: Connector,
  linked: (link: { readonly local: SocketAddress; readonly peer: SocketAddress }) => void,
): Pool {
  const pool = new Pool('http://upstream', {
    connections: protocol === 'h2c' ? 8 : maxConnectionsPerPool,
    pipelining: protocol === 'h2c' ? 100 : 1,
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: maxHeaderBytes,
    connect: (_options, callback) => {
      connector.connect(endpoint).then((outcome) => {
        if (outcome.kind === 'failed') {
          callback(new NotConnected(outcome.error.message, { cause: outcome.error }), null);
          return;
        }
        const { stream, local, peer } = outcome.connected;
        linked({ local, peer });
        // undici reads the negotiated protocol from here.
        Object.assign(stream, { alpnProtocol: protocol === 'h2c' ? 'h2' : 'http/1.1' });
        callback(null, stream as never);
      }, ignore);
    },
  });
  pool.on('connectionError', ignore);
  return pool;
}

function dispatchOptions(request: UpstreamRequest, protocol: UpstreamProtocol): Dispatcher.DispatchOptions {
  const body = request.body !== undefined && protocol === 'h2c' ? withoutStreamNature(request.body) : request.body;
  return {
    method: request.method,
    path: request.path,
    headers: withHost(request.authority, request.headers),
    // Its types know nothing of iterables, which it takes as bodies all the same.
    body: (body as Readable | undefined) ?? null,
    upgrade: protocol === 'h1' ? (request.upgrade ?? null) : null,
    reset: false,
    // Of HTTP/1.1 connections one request uses one: never wait behind another.
    blocking: false,
  };
}

function withHost(authority: string, headers: HeaderList): string[] {
  const all = ['host', authority];
  for (const text of headers) all.push(text);
  return all;
}

class Try implements RunningTry {
  readonly #handler: TryHandler;
  readonly #release: () => void;
  #controller: Dispatcher.DispatchController | undefined;
  #aborted: string | undefined;
  #over = false;

  constructor(handler: TryHandler, release: () => void) {
    this.#handler = handler;
    this.#release = release;
  }

  abort(reason: string): void {
    if (this.#over) return;
    this.#aborted = reason;
    // undici tells the abort as an error, at once: by then this try must be over.
    this.#finish();
    this.#controller?.abort(new Error(reason));
  }

  resume(): void {
    this.#controller?.resume();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#aborted !== undefined) controller.abort(new Error(this.#aborted));
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (this.#over) return;
    const headers = rawList(controller.rawHeaders);
    if (status >= 200) this.#handler.head(status, headers);
    else if (status > 101) this.#handler.inform(status, headers);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#over && !this.#handler.data(chunk)) controller.pause();
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (this.#over) return;
    this.#finish();
    this.#handler.end(rawList(controller.rawTrailers));
  }

  onRequestUpgrade(
    controller: Dispatcher.DispatchController,
    _status: number,
    _headers: unknown,
    stream: Duplex,
  ): void {
    stream.on('error', ignore);
    if (this.#over) {
      stream.destroy();
      return;
    }
    this.#finish();
    this.#handler.upgraded(rawList(controller.rawHeaders), stream);
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    if (this.#over) return;
    this.#finish();
    this.#handler.failed({ kind: failureKind(error) }, error);
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#release();
  }
}

function failureKind(error: Error): 'connect-failure' | 'refused-stream' | 'reset' {
  if (error instanceof NotConnected) return 'connect-failure';
  return /REFUSED_STREAM/.test(errorText(error)) ? 'refused-stream' : 'reset';
}

/** Buffers on HTTP/1.1, an object with lower-case names on HTTP/2. */
function rawList(raw: Dispatcher.DispatchController['rawHeaders']): HeaderList {
  if (raw === undefined || raw === null) return noHeaders;
  if (Array.isArray(raw)) return raw.map((text) => (typeof text === 'string' ? text : text.toString('latin1')));
  const list: string[] = [];
  for (const [name, value] of Object.entries(raw)) {
    if (name.startsWith(':') || value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) list.push(name, one);
  }
  return list;
}

function ignore(): void {}
