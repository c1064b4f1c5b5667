/**
 * HTTP/1.1 served over any byte stream with node:http's parser and writer. One server object for all connections; what
 * belongs to one connection is found by its stream.
 *
 * I1: every request that is refused before it becomes an exchange is answered and its connection closed, so that bytes
 *     whose meaning is disputed are never read as a second request. I2: header counts are checked here, because
 *     node:http would drop what is over its own limit silently, and policies would not see it.
 */
import { createServer, type IncomingMessage, type Server, ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ConnectionHandlers, ServedConnection } from './exchange.ts';
import { checkHttp1Framing, maxHeaderBytes, type Refusal } from './framing.ts';
import { headerValue } from './header-list.ts';
import { Http1Exchange } from './http1-exchange.ts';
import { parseTarget } from './request-target.ts';

interface Connection {
  readonly stream: Duplex;
  readonly handlers: ConnectionHandlers;
  active: number;
  /** Requests read and not answered yet, those that are ignored after a refusal included. */
  unanswered: number;
  draining: boolean;
  /** Refused: whatever else was read with the disputed request is not taken for a request. */
  over: boolean;
}

/** Unanswered requests of one connection; node:http reads on without a bound. As many as HTTP/2 allows streams. */
const maxUnanswered = 100;

const connections = new WeakMap<Duplex, Connection>();

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
    shouldUpgradeCallback: asksForWebSocket,
  });
  server.maxHeadersCount = 0;
  // A client may finish sending before its response comes: half-close is preserved through every hop (design rule 6).
  (server as { httpAllowHalfOpen?: boolean }).httpAllowHalfOpen = true;
  server.on('request', (request: IncomingMessage, response: ServerResponse) => serve(request, response, undefined));
  // Without this listener node answers 100 Continue by itself, before anything was decided about the request.
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) =>
    serve(request, response, undefined),
  );
  server.on('upgrade', serveUpgrade);
  server.on('connect', (_request: IncomingMessage, stream: Duplex) =>
    refuseRaw(stream, { status: 405, reason: 'CONNECT inside a tunnel is not served' }),
  );
  server.on('clientError', (error: NodeJS.ErrnoException, stream: Duplex) => refuseRaw(stream, refusalFor(error)));
  // node:http looks for heads that are late from this event on.
  server.emit('listening');
  return server;
}

const defaultServer = createHttp1Server(defaultHeadTimeoutMs);

/** Serves the stream's requests. Takes ownership of it: it is ended or destroyed here. */
export function serveHttp1(stream: Duplex, handlers: ConnectionHandlers, server = defaultServer): ServedConnection {
  const connection: Connection = { stream, handlers, active: 0, unanswered: 0, draining: false, over: false };
  stream.on('error', ignore);
  connections.set(stream, connection);
  // Heads are octets, which were read as Latin-1; node:http does not always say so when it writes one.
  stream.setDefaultEncoding('latin1');
  server.emit('connection', stream);
  return {
    drain() {
      connection.draining = true;
      if (connection.active === 0) stream.end();
    },
    destroy: () => stream.destroy(),
  };
}

function serve(request: IncomingMessage, response: ServerResponse, upgraded: Duplex | undefined): void {
  const connection = connections.get(request.socket);
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
  const refusal = checkHttp1Framing(request.httpVersion, headers);
  const target = parseTarget(request.url ?? '');
  if (connection.over || refusal !== undefined || target.kind === 'rejected') {
    response.once('close', () => connection.unanswered--);
    if (connection.over) return;
    refuse(connection, response, refusal ?? { status: 400, reason: (target as { reason: string }).reason });
    return;
  }
  connection.active++;
  const authority = target.authority ?? (headerValue(headers, 'host') as string);
  const where = { authority, path: target.path, query: target.query };
  const exchange = new Http1Exchange(request, response, where, upgraded, () => connection.draining);
  exchange.onClosed(() => {
    connection.unanswered--;
    connection.active--;
    if (connection.draining && connection.active === 0) connection.stream.end();
  });
  connection.handlers.exchange(exchange);
}

function serveUpgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void {
  stream.on('error', ignore);
  const connection = connections.get(stream);
  // Refused already: its end is under way.
  if (connection?.over === true) return;
  // The answers before this one still own the stream, and the bytes behind it cannot be kept for their end.
  if (connection === undefined || connection.active > 0) {
    stream.destroy();
    connection?.handlers.refused(400, 'upgrade behind a request under way');
    return;
  }
  if (head.length > 0) stream.unshift(head);
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(stream as IncomingMessage['socket']);
  response.once('finish', () => stream.end());
  serve(request, response, stream);
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
  const connection = connections.get(stream);
  if (refusal === undefined || !stream.writable) {
    stream.destroy();
    return;
  }
  connection?.handlers.refused(refusal.status, refusal.reason);
  // Inside a response that is under way an answer would be read as part of it.
  if (connection !== undefined && connection.active > 0) {
    stream.destroy();
    return;
  }
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

function asksForWebSocket(request: IncomingMessage): boolean {
  return request.method === 'GET' && request.headers.upgrade?.toLowerCase() === 'websocket';
}

function ignore(): void {}
