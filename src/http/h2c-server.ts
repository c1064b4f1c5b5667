/**
 * HTTP/2 in clear (prior knowledge) served over any byte stream with node:http2. Limits follow what meshes use: 100
 * concurrent streams a connection, a bounded header list, a budget for resets; pushes are off by being a server that
 * never pushes; extended CONNECT is offered for WebSocket alone.
 *
 * I1: when the client's bytes end, so does the session, in that very event. Node's adapter between a stream and HTTP/2
 *     (JSStreamSocket) ends its own side then, whatever the session has yet to send, and throws at the next write; a
 *     destroyed session writes no more. Who has ended can open no window and acknowledge nothing, so none is served.
 */
import { constants, performServerHandshake, type ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { forgetListeners } from '../base/forget-listeners.ts';
import type { ConnectionHandlers, ServedConnection } from './exchange.ts';
import { checkHttp2Framing, maxHeaderBytes, maxHeaderCount, type Refusal } from './framing.ts';
import { Http2Exchange } from './h2c-exchange.ts';
import type { HeaderList } from './header-list.ts';
import { parseTarget } from './request-target.ts';

const windowBytes = 1024 * 1024;

/** Serves the stream's requests. Takes ownership of it: it is ended or destroyed here. */
export function serveH2c(stream: Duplex, handlers: ConnectionHandlers): ServedConnection {
  stream.on('error', ignore);
  const session = performServerHandshake(stream, {
    maxHeaderListPairs: maxHeaderCount + 8,
    streamResetBurst: 1000,
    streamResetRate: 100,
    // An application's own doing: what HTTP/1.1 clients get from it, others get as well.
    strictSingleValueFields: false,
    settings: {
      maxConcurrentStreams: 100,
      initialWindowSize: windowBytes,
      maxHeaderListSize: maxHeaderBytes,
      enableConnectProtocol: true,
    },
  });
  session.on('error', ignore);
  session.once('close', () => forgetListeners(session));
  stream.once('end', () => session.destroy());
  session.on('stream', (h2: ServerHttp2Stream, _headers, flags: number, rawHeaders: readonly string[]) => {
    h2.on('error', ignore);
    serve(h2, rawHeaders, (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0, handlers);
  });
  return {
    // A stream that crosses the GOAWAY is refused by its last number, and so safe to ask again (RFC 9113 §8.7). The notice
    // beforehand of §6.8 cannot be sent: node:http2 ignores streams silently once `goaway` was called, whatever its number.
    drain: () => session.close(),
    finish: () => session.close(),
    destroy: () => session.destroy(),
  };
}

function serve(h2: ServerHttp2Stream, raw: HeaderList, bodyless: boolean, handlers: ConnectionHandlers): void {
  const pseudo = new Map<string, string>();
  const headers: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string;
    if (name.startsWith(':')) pseudo.set(name, raw[i + 1] as string);
    else headers.push(name, raw[i + 1] as string);
  }
  const protocol = pseudo.get(':protocol');
  const asked = pseudo.get(':method') ?? '';
  const named = pseudo.get(':authority');
  const target = parseTarget(pseudo.get(':path') ?? '', handlers.pathNormalization);
  const refusal =
    checkConnect(asked, protocol, bodyless) ??
    checkHttp2Framing(named, headers) ??
    (target.kind === 'rejected' ? { status: 400, reason: target.reason } : undefined);
  if (refusal !== undefined || target.kind === 'rejected') {
    const status = refusal?.status ?? 400;
    if (!h2.headersSent && !h2.destroyed) h2.respond({ ':status': status }, { endStream: true });
    h2.resume();
    handlers.refused(status, refusal?.reason ?? '');
    return;
  }
  const host = headers.findIndex((text, i) => i % 2 === 0 && text === 'host');
  const authority = target.authority ?? named ?? (headers[host + 1] as string);
  const upgrade = protocol === undefined ? undefined : 'websocket';
  // As an HTTP/1.1 client would ask for it: what policies and routes say about the one they say about the other.
  const method = upgrade === undefined ? asked : 'GET';
  const where = { method, authority, path: target.path, query: target.query };
  handlers.exchange(new Http2Exchange(h2, where, headers, bodyless, upgrade));
}

function checkConnect(method: string, protocol: string | undefined, bodyless: boolean): Refusal | undefined {
  if (method !== 'CONNECT') return protocol === undefined ? undefined : { status: 400, reason: 'malformed CONNECT' };
  if (protocol === undefined) return { status: 405, reason: 'CONNECT inside a tunnel is not served' };
  if (protocol !== 'websocket') return { status: 501, reason: 'only WebSocket is served over CONNECT' };
  return bodyless ? { status: 400, reason: 'a WebSocket that has ended' } : undefined;
}

function ignore(): void {}
