/**
 * HTTP/1.1 served over any byte stream with node:http's parser and writer. One server object for all connections; what
 * belongs to one connection is found by its stream.
 *
 * I1: every request that is refused before it becomes an exchange is answered and its connection closed, so that bytes
 *     whose meaning is disputed are never read as a second request. I2: header counts are checked here, because
 *     node:http would drop what is over its own limit silently, and policies would not see it. I3: pipelined requests are
 *     handed on one after the other, each once the response before it is out: only safe ones might go side by side (RFC
 *     9112 §9.3.2), and nobody but their sender knows which depend on which.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { createServer, ServerResponse as Response, STATUS_CODES } from '../base/node-http.ts';
import type { ConnectionHandlers, ServedConnection } from './exchange.ts';
import { checkHttp1Framing, maxHeaderBytes, type Refusal } from './framing.ts';
import { headerValue, headerValues } from './header-list.ts';
import { Http1Exchange } from './http1-exchange.ts';
import { parseTarget, type TargetOutcome } from './request-target.ts';

type Listener = (...values: unknown[]) => void;

interface Connection {
  readonly server: Server;
  readonly http10Host: string | undefined;
  readonly stream: Duplex;
  /** Listeners that the stream did not have before node:http got it. */
  readonly added: (event: string) => Listener[];
  readonly handlers: ConnectionHandlers;
  active: number;
  /** Under way; undefined: none. */
  current: { readonly request: IncomingMessage; readonly response: ServerResponse } | undefined;
  /** Read last. Its body may not be. */
  last: IncomingMessage | undefined;
  /** Read, but not begun: their turn comes when the response before them is out. */
  readonly queue: (() => void)[];
  /** What the parser could not take behind requests that are not answered yet: told after the last of them. */
  refusal: Refusal | undefined;
  /** Requests read and not answered yet, those that are ignored after a refusal included. */
  unanswered: number;
  /** Responses from now on say that they are the last. One that had begun does not, so another request may follow it. */
  draining: boolean;
  /** What is under way is the last, whatever its head said. */
  finishing: boolean;
  /** Refused: whatever else was read with the disputed request is not taken for a request. */
  over: boolean;
}

/** Unanswered requests of one connection; node:http reads on without a bound. As many as HTTP/2 allows streams. */
const maxUnanswered = 100;

/**
 * Where a stream has its connection. Not in a WeakMap: that keeps a young value with a way back to its key until the next whole
 * collection (V8 14.6), and with it all of a connection that lasted for one request.
 */
const connectionKey = Symbol('connection');

interface Served {
  [connectionKey]?: Connection | undefined;
}

function connectionOf(stream: Duplex): Connection | undefined {
  return (stream as Served)[connectionKey];
}

/** First byte of a request to the end of its headers. Bodies and idle connections have none: the tunnel's owner ends those. */
const defaultHeadTimeoutMs = 60_000;

/** Serves streams only, it never listens. The deadline is on the process's own clock, as node:http alone knows where in its bytes a connection is. */
export function createHttp1Server(headTimeoutMs: number): Server {
  const server = createServer({
    maxHeaderSize: maxHeaderBytes,
    insecureHTTPParser: false,
    // Checked here, so that a refusal is counted like every other.
    requireHostHeader: false,
    requestTimeout: 0,
    headersTimeout: headTimeoutMs,
    connectionsCheckingInterval: Math.ceil(headTimeoutMs / 10),
    // For all that ask, or node:http would drop what was read together with one that is not upgraded: the beginning of a
    // next request, whose rest it would then take for one (nodejs 26.10).
    shouldUpgradeCallback: () => true,
  });
  server.maxHeadersCount = 0;
  // A client may finish sending before its response comes: half-close is preserved through every hop (design rule 6).
  (server as { httpAllowHalfOpen?: boolean }).httpAllowHalfOpen = true;
  server.on('request', (request: IncomingMessage, response: ServerResponse) => serve(request, response, undefined));
  // Without this listener node answers 100 Continue by itself, before anything was decided about the request.
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) =>
    serve(request, response, undefined),
  );
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) =>
    serve(request, response, undefined),
  );
  server.on('upgrade', serveUpgrade);
  server.on('connect', (_request: IncomingMessage, stream: Duplex) =>
    refuseRaw(stream, { status: 405, reason: 'CONNECT inside a tunnel is not served' }),
  );
  server.on('clientError', (error: NodeJS.ErrnoException, stream: Duplex) => {
    // Bytes behind a request that closes the connection are nobody's.
    if (error.code !== 'HPE_CLOSED_CONNECTION') refuseRaw(stream, refusalFor(error));
  });
  // node:http looks for heads that are late from this event on.
  server.emit('listening');
  return server;
}

const defaultServer = createHttp1Server(defaultHeadTimeoutMs);

export interface Http1Options {
  readonly server?: Server;
  /** The authority of a request of HTTP/1.0 that names none; undefined: HTTP/1.0 is not served. */
  readonly http10Host?: string | undefined;
}

/** Serves the stream's requests. Takes ownership of it: it is ended or destroyed here. */
export function serveHttp1(stream: Duplex, handlers: ConnectionHandlers, options: Http1Options = {}): ServedConnection {
  const { server = defaultServer, http10Host } = options;
  const own = new Set([...stream.listeners('pause'), ...stream.listeners('resume')]);
  const connection: Connection = {
    server,
    added: (event) => (stream.listeners(event) as Listener[]).filter((listener) => !own.has(listener)),
    http10Host,
    stream,
    handlers,
    active: 0,
    current: undefined,
    last: undefined,
    queue: [],
    refusal: undefined,
    unanswered: 0,
    draining: false,
    finishing: false,
    over: false,
  };
  stream.on('error', ignore);
  const served = stream as Served;
  served[connectionKey] = connection;
  stream.once('close', () => {
    served[connectionKey] = undefined;
  });
  // Heads are octets, which were read as Latin-1; node:http does not always say so when it writes one.
  stream.setDefaultEncoding('latin1');
  server.emit('connection', stream);
  return {
    drain() {
      connection.draining = true;
    },
    finish() {
      connection.finishing = true;
      if (connection.active === 0) stream.end();
    },
    destroy: () => stream.destroy(),
  };
}

function serve(request: IncomingMessage, response: ServerResponse, upgraded: Duplex | undefined): void {
  const connection = connectionOf(request.socket);
  request.on('error', ignore);
  response.on('error', ignore);
  if (connection === undefined) {
    request.socket.destroy();
    return;
  }
  if (++connection.unanswered > maxUnanswered) {
    connection.over = true;
    connection.stream.destroy();
    return;
  }
  const headers = request.rawHeaders;
  const refusal = checkHttp1Framing(request.httpVersion, headers, connection.http10Host !== undefined);
  const target = parseTarget(request.url ?? '', connection.handlers.pathNormalization);
  if (connection.over || refusal !== undefined || target.kind === 'rejected') {
    response.once('close', () => connection.unanswered--);
    if (connection.over) return;
    refuse(connection, response, refusal ?? { status: 400, reason: (target as { reason: string }).reason });
    return;
  }
  connection.active++;
  connection.last = request;
  if (connection.current === undefined) begin(connection, request, response, target, upgraded);
  else connection.queue.push(() => begin(connection, request, response, target, upgraded));
}

function begin(
  connection: Connection,
  request: IncomingMessage,
  response: ServerResponse,
  { path, query, authority: named }: Extract<TargetOutcome, { kind: 'target' }>,
  upgraded: Duplex | undefined,
): void {
  const authority = named ?? headerValue(request.rawHeaders, 'host') ?? connection.http10Host ?? '';
  const exchange = new Http1Exchange(request, response, { authority, path, query }, upgraded, connection);
  connection.current = { request, response };
  exchange.onClosed(() => answered(connection, response));
  connection.handlers.exchange(exchange);
}

/** The next request's turn, unless this was the connection's last. */
function answered(connection: Connection, response: ServerResponse): void {
  connection.unanswered--;
  connection.active--;
  connection.current = undefined;
  const { stream, queue } = connection;
  if (!response.shouldKeepAlive || stream.destroyed || stream.writableEnded) {
    queue.length = 0;
    return;
  }
  const next = queue.shift();
  if (next !== undefined) next();
  else if (connection.refusal !== undefined) endWith(stream, connection.refusal);
  else if (connection.finishing) stream.end();
}

function serveUpgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void {
  // A connection may ask for many.
  if (!stream.listeners('error').includes(ignore)) stream.on('error', ignore);
  const connection = connectionOf(stream);
  // Refused already: its end is under way.
  if (connection?.over === true) return;
  // The answers before this one still own the stream, and the bytes behind it cannot be kept for their end.
  if (connection === undefined || connection.active > 0) {
    stream.destroy();
    connection?.handlers.refused(400, 'upgrade behind a request under way');
    return;
  }
  if (head.length > 0) stream.unshift(head);
  const response = new Response(request);
  response.assignSocket(stream as IncomingMessage['socket']);
  const offered = asksForWebSocket(request);
  // What its sender wrote behind it is of another protocol: never a request.
  if (offered || !keepsAlive(request)) response.shouldKeepAlive = false;
  response.once('finish', () => {
    response.detachSocket(stream as IncomingMessage['socket']);
    // As node:http tells for the responses that it made.
    response.emit('close');
    if (!response.shouldKeepAlive || connection.finishing) {
      stream.end();
      return;
    }
    // node:http leaves these on a stream that it gives away, and adds them anew.
    for (const event of ['pause', 'resume']) {
      for (const listener of connection.added(event)) stream.off(event, listener);
    }
    connection.server.emit('connection', stream);
  });
  serve(request, response, offered ? stream : undefined);
}

function refuse(connection: Connection, response: ServerResponse, refusal: Refusal): void {
  connection.over = true;
  response.shouldKeepAlive = false;
  response.sendDate = false;
  const body = `${refusal.reason}\n`;
  response.writeHead(refusal.status, ['content-type', 'text/plain', 'content-length', String(body.length)]);
  response.end(body);
  connection.handlers.refused(refusal.status, refusal.reason);
}

/** What the parser could not take: there is no response object. */
function refuseRaw(stream: Duplex, refusal: Refusal | undefined): void {
  const connection = connectionOf(stream);
  if (refusal === undefined || !stream.writable) {
    stream.destroy();
    return;
  }
  // It was refused already and is being answered.
  if (connection?.over === true) return;
  connection?.handlers.refused(refusal.status, refusal.reason);
  if (connection?.current !== undefined) {
    refuseBehind(connection, connection.current, refusal);
    return;
  }
  endWith(stream, refusal);
}

/** What cannot be taken stands behind a request whose response is not out yet, or in its body. */
function refuseBehind(
  connection: Connection,
  { request, response }: NonNullable<Connection['current']>,
  refusal: Refusal,
): void {
  const { last, queue, stream } = connection;
  connection.over = true;
  const ofCurrent = last === request && !request.complete;
  if (!ofCurrent && refusal.status !== 408) {
    // Whole requests get their responses first.
    if (last?.complete === false) queue.pop();
    connection.refusal = refusal;
  } else if (ofCurrent && !response.headersSent) endWith(stream, refusal);
  // Inside a response that is under way an answer would be read as part of it.
  else stream.destroy();
}

function endWith(stream: Duplex, refusal: Refusal): void {
  const reason = STATUS_CODES[refusal.status] ?? '';
  stream.end(`HTTP/1.1 ${refusal.status} ${reason}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`, () =>
    stream.destroy(),
  );
}

/** Undefined: nobody is there to be answered. */
function refusalFor(error: NodeJS.ErrnoException): Refusal | undefined {
  if (error.code === 'HPE_HEADER_OVERFLOW') return { status: 431, reason: 'headers too large' };
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return { status: 408, reason: 'headers did not end in time' };
  return error.code?.startsWith('HPE_') === true
    ? { status: 400, reason: `malformed request: ${error.code}` }
    : undefined;
}

function keepsAlive(request: IncomingMessage): boolean {
  const tokens = headerValues(request.rawHeaders, 'connection').join(',').toLowerCase().split(',');
  return !tokens.some((token) => token.trim() === 'close');
}

function asksForWebSocket(request: IncomingMessage): boolean {
  const { upgrade, 'content-length': length = '0', 'transfer-encoding': coding } = request.headers;
  const bodyless = length === '0' && coding === undefined;
  return (
    request.httpVersion === '1.1' && request.method === 'GET' && bodyless && upgrade?.toLowerCase() === 'websocket'
  );
}

function ignore(): void {}
