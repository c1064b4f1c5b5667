/**
 * The one door to undici: a pool of HTTP connections per endpoint, pair of identities and protocol, over whatever byte
 * streams the connector gives. Choosing endpoints, retries and deadlines are not its business.
 *
 * Settings that are not free (each tried): an http:// origin, for with https:// undici ties SNI to Host and reconnects
 * when it changes; `pipelining` 100 for h2c, or requests wait behind a stream that survives a GOAWAY; `reset: false`
 * for HEAD, or every HEAD closes its connection; undici's timeouts off, because deadlines are the caller's.
 */
import type { Duplex, Readable } from 'node:stream';
import type { Client as ClientOf, Dispatcher, Pool as PoolOf } from 'undici';
import type { SocketAddress } from '../base/address.ts';
import type { Cancellation } from '../base/cancellation.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { maxHeaderBytes } from '../http/framing.ts';
import type { HeaderList } from '../http/header-list.ts';
import { PlainSocket } from '../net/plain-socket.ts';
import type { Circuit } from './circuit.ts';
import { ConnectionQueue, mostWaiting, type QueuedPool, type QueuedRequest } from './connection-queue.ts';
import type { Connector } from './connector.ts';
import { poolKey, type UpstreamEndpoint, type UpstreamProtocol } from './endpoint.ts';
import { plainConnections } from './profile.ts';
import { readAtOnce } from './read-at-once.ts';
import { NotConnected, Overflow, type RunningTry, type ServedConnection, Try, type TryHandler } from './running-try.ts';
import { Client, Pool } from './undici.ts';
import { mendUndiciStreams, withoutStreamNature } from './undici-h2.ts';
import { keepRawHeads } from './undici-heads.ts';

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

export type { RunningTry, TryHandler } from './running-try.ts';

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
  /** The same for endpoints that are known by the name, which has other addresses now. */
  forgetName(hostname: string): void;
  readonly size: number;
  close(): Promise<void>;
}

/** A connection or pool without requests for so long is closed. */
const idlePoolMs = 60_000;
const maxConnectionsPerPool = 1024;

interface Entry {
  readonly key: string;
  readonly endpoint: UpstreamEndpoint;
  readonly pool: PoolOf;
  /** Not dropped. */
  open: boolean;
  active: number;
  /** When the last request ended, if none runs. */
  idleSinceMs: number;
  idle: Timer | undefined;
  link: { readonly local: SocketAddress; readonly peer: SocketAddress } | undefined;
  /** Connections that stand or are being made. */
  connections: number;
  /** Requests sent so far. */
  sent: number;
  readonly queue: ConnectionQueue | undefined;
}

/** Requests that one pool holds, whatever its limits: on connections and before them. */
const mostOfPool = { h1: maxConnectionsPerPool + mostWaiting, h2c: 8 * 100 + mostWaiting } as const;

export function createUpstreamPools(connector: Connector, clock: Clock): UpstreamPools {
  const entries = new Map<string, Entry>();
  /** The same for endpoints that come again as the same object: their keys need not be made. */
  const byEndpoint = { h1: new WeakMap<UpstreamEndpoint, Entry>(), h2c: new WeakMap<UpstreamEndpoint, Entry>() };
  const queues = new WeakMap<Circuit, ConnectionQueue>();
  mendUndiciStreams();
  keepRawHeads();

  const drop = (entry: Entry) => {
    if (!entry.open) return;
    entry.idle?.cancel();
    entry.open = false;
    if (entries.get(entry.key) === entry) entries.delete(entry.key);
    entry.pool.close().catch(ignore);
  };

  /** Idle connections would keep a peer that drains waiting; new requests find their way by another session. */
  const dropWhenLeaving = (entry: Entry, stream: Duplex, leaving: Cancellation) => {
    const onLeaving = () => drop(entry);
    if (leaving.cancelled) onLeaving();
    leaving.on(onLeaving);
    stream.once('close', () => leaving.off(onLeaving));
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
    const { profile } = endpoint;
    const { circuit } = profile ?? {};
    const queue =
      circuit === undefined || profile?.queues !== true
        ? undefined
        : queues.getOrInsertComputed(circuit, () => new ConnectionQueue(circuit));
    const entry: Entry = {
      key,
      endpoint,
      pool: makePool(endpoint, protocol, connector, {
        begun: () => {
          entry.connections++;
          if (circuit !== undefined) circuit.connections++;
        },
        linked: (link, stream, leaving) => {
          entry.link = link;
          if (leaving !== undefined) dropWhenLeaving(entry, stream, leaving);
          const { maxDurationMs } = profile?.connections ?? {};
          if (maxDurationMs === undefined) return;
          const old = clock.after(maxDurationMs, () => drop(entry));
          stream.once('close', () => old.cancel());
        },
        gone: () => {
          entry.connections--;
          if (circuit !== undefined) circuit.connections--;
          queue?.wake();
        },
      }),
      open: true,
      active: 0,
      idleSinceMs: clock.nowMs(),
      idle: undefined,
      link: undefined,
      connections: 0,
      sent: 0,
      queue,
    };
    entries.set(key, entry);
    watch(entry, idleMsOf(endpoint));
    return entry;
  };

  /** undici counts requests of HTTP/1.1 connections itself; an HTTP/2 pool that has sent its share makes way for another. */
  const countSent = (entry: Entry, protocol: UpstreamProtocol) => {
    const most = entry.endpoint.profile?.connections.maxRequests;
    if (most !== undefined && protocol === 'h2c' && ++entry.sent >= most && entry.open) drop(entry);
  };

  const release = (entry: Entry) => {
    if (--entry.active === 0) entry.idleSinceMs = clock.nowMs();
    entry.queue?.wake();
  };

  // One timer for a pool, none for a request.
  const watch = (entry: Entry, afterMs: number) => {
    if (afterMs === Number.POSITIVE_INFINITY) return;
    entry.idle = clock.after(afterMs, () => {
      const idleMs = entry.active === 0 ? clock.nowMs() - entry.idleSinceMs : 0;
      const mostMs = idleMsOf(entry.endpoint);
      if (idleMs >= mostMs) drop(entry);
      else watch(entry, mostMs - idleMs);
    });
  };

  return {
    send(endpoint, protocol, request, handler) {
      const entry = known(endpoint, protocol) ?? open(endpoint, protocol);
      entry.active++;
      const running = new Try(handler, () => release(entry));
      if (entry.active > mostOfPool[protocol]) {
        running.onResponseError(undefined, new Overflow('too many requests of one pool'));
        return running;
      }
      const dispatch = () => {
        try {
          entry.pool.dispatch(dispatchOptions(request, protocol), running);
        } catch (error) {
          running.onResponseError(undefined, error as Error);
        }
        countSent(entry, protocol);
      };
      if (entry.queue === undefined) dispatch();
      else enterQueue(entry, entry.queue, running, dispatch);
      return running;
    },
    lastLink: (endpoint, protocol) => known(endpoint, protocol)?.link,
    forget(workloadUid) {
      for (const entry of [...entries.values()]) if (entry.endpoint.workload.uid === workloadUid) drop(entry);
    },
    forgetName(hostname) {
      for (const entry of [...entries.values()]) {
        const { transport } = entry.endpoint;
        if (transport.kind === 'name' && transport.everywhere && transport.hostname === hostname) drop(entry);
      }
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

/** Each connection has begun before it is linked, and is gone once, whether or not it was. */
interface ConnectionEvents {
  begun(): void;
  linked(
    link: { readonly local: SocketAddress; readonly peer: SocketAddress },
    stream: Duplex,
    leaving: Cancellation | undefined,
  ): void;
  gone(): void;
}

function makePool(
  endpoint: UpstreamEndpoint,
  protocol: UpstreamProtocol,
  connector: Connector,
  events: ConnectionEvents,
): PoolOf {
  const { maxPerEndpoint, maxStreams, maxRequests, idleMs } = endpoint.profile?.connections ?? plainConnections;
  const pool = new Pool('http://upstream', {
    connections: Math.min(maxPerEndpoint ?? maxConnectionsPerPool, protocol === 'h2c' ? 8 : maxConnectionsPerPool),
    pipelining: protocol === 'h2c' ? Math.min(maxStreams ?? 100, 100) : 1,
    factory: tellingClient,
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: maxHeaderBytes,
    ...(maxRequests !== undefined && protocol === 'h1' ? { maxRequestsPerClient: maxRequests } : {}),
    // What a server says of its own patience (`Keep-Alive: timeout=`) goes before, unless a DestinationRule asks for less.
    keepAliveTimeout: idleTimer(idleMsOf(endpoint)),
    ...(idleMs === undefined ? {} : { keepAliveMaxTimeout: idleTimer(idleMs) }),
    connect: (_options, callback) => {
      events.begun();
      connector.connect(endpoint, undefined, protocol).then((outcome) => {
        if (outcome.kind === 'failed') {
          events.gone();
          callback(new NotConnected(outcome.error.message, { cause: outcome.error }), null);
          return;
        }
        const { stream, local, peer, leaving } = outcome.connected;
        stream.once('close', () => events.gone());
        events.linked({ local, peer }, stream, leaving);
        // undici reads the negotiated protocol from here.
        Object.assign(stream, { alpnProtocol: protocol === 'h2c' ? 'h2' : 'http/1.1' });
        if (protocol === 'h1' && stream instanceof PlainSocket) readAtOnce(stream);
        callback(null, stream as never);
      }, ignore);
    },
  });
  pool.on('connectionError', ignore);
  return pool;
}

/** A connection of undici's, which tells each request that goes out on it how many went before. */
function tellingClient(origin: URL, options: object): ClientOf {
  const client = new Client(origin, options);
  const connection: ServedConnection = { requests: 0 };
  client.on('connect', () => {
    connection.requests = 0;
  });
  const dispatch = client.dispatch.bind(client);
  client.dispatch = (request, handler) => {
    if (handler instanceof Try) handler.onConnection = connection;
    return dispatch(request, handler);
  };
  return client;
}

/** What a timer of undici's can hold. */
function idleTimer(idleMs: number): number {
  return Math.min(Math.max(1, idleMs), 24 * 3_600_000);
}

function idleMsOf({ profile }: UpstreamEndpoint): number {
  return profile?.connections.idleMs ?? idlePoolMs;
}

function enterQueue(entry: Entry, queue: ConnectionQueue, running: Try, dispatch: () => void): void {
  const request = new QueuedTry(entry, running, dispatch);
  let waits = false;
  // By a name: a literal assigned as it stands would be kept as well (docs/performance.md).
  const underWay = () => {
    if (waits) queue.left(request);
    waits = false;
  };
  running.onUnderWay = underWay;
  switch (queue.enter(request)) {
    case 'refused':
      running.onResponseError(undefined, new Overflow('too many requests wait for a connection'));
      break;
    case 'waits':
      if (running.started || running.over) queue.left(request);
      else waits = true;
      break;
    case 'started':
      break;
  }
}

/** Classes, not literals with getters: those would be kept until the next whole collection (docs/performance.md). */
class QueuedTry implements QueuedRequest {
  readonly pool: QueuedPool;
  readonly #running: Try;
  readonly start: () => void;

  constructor(entry: Entry, running: Try, start: () => void) {
    this.pool = new PoolOfEntry(entry);
    this.#running = running;
    this.start = start;
  }

  get over(): boolean {
    return this.#running.over;
  }

  get started(): boolean {
    return this.#running.started;
  }
}

class PoolOfEntry implements QueuedPool {
  readonly #entry: Entry;

  constructor(entry: Entry) {
    this.#entry = entry;
  }

  get free(): number {
    return this.#entry.pool.stats.free;
  }

  get connections(): number {
    return this.#entry.connections;
  }
}

function dispatchOptions(request: UpstreamRequest, protocol: UpstreamProtocol): Dispatcher.DispatchOptions {
  const body = request.body !== undefined && protocol === 'h2c' ? withoutStreamNature(request.body) : request.body;
  return {
    method: request.method,
    path: request.path,
    headers: withHost(request.authority, request.headers),
    // Its types know nothing of iterables, which it takes as bodies all the same.
    body: (body as Readable | undefined) ?? null,
    upgrade: request.upgrade ?? null,
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

function ignore(): void {}
