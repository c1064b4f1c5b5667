/** Sessions of clients: SETTINGS, windows and limits of node:http2, and the requests that come. */
import {
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerStreamResponseOptions,
} from 'node:http2';
import type { TLSSocket } from 'node:tls';
import {
  lingerMs,
  type ServedSessionEvents,
  type ServedSessionOptions,
  type ServedStream,
  type Session,
} from '../http2/engine.ts';
import type { TunnelHeaders } from '../seam.ts';
import { sessionMemoryMegabytes } from './session-memory.ts';
import { TunnelEnd } from './tunnel-end.ts';

export function serveSession(
  socket: TLSSocket,
  { relay, maxStreams, clock }: ServedSessionOptions,
  events: ServedSessionEvents,
): Session {
  const session = performServerHandshake(socket, {
    settings: {
      maxConcurrentStreams: maxStreams,
      initialWindowSize: relay.streamWindowBytes,
      maxFrameSize: relay.maxFrameBytes,
      maxHeaderListSize: relay.serverHeaderListBytes,
      enablePush: false,
    },
    streamResetBurst: relay.streamResetBurst,
    streamResetRate: relay.streamResetRate,
    maxSessionMemory: sessionMemoryMegabytes(relay),
  });
  session.on('error', (error) => events.failed(error));
  session.setLocalWindowSize(relay.connectionWindowBytes);
  session.on('stream', (stream, _headers, _flags, raw: string[]) => events.stream(new NodeServedStream(stream, raw)));
  session.once('close', () => events.closed());
  socket.once('finish', () => {
    const linger = clock.after(lingerMs, () => socket.destroy());
    socket.once('close', () => linger.cancel());
  });
  return new NodeServedSession(session);
}

class NodeServedSession implements Session {
  readonly #session: ServerHttp2Session;

  constructor(session: ServerHttp2Session) {
    this.#session = session;
  }

  get destroyed(): boolean {
    return this.#session.destroyed;
  }

  /** What a peer has sent meanwhile it knows to be unprocessed. */
  retire(): void {
    if (!this.#session.closed && !this.#session.destroyed) this.#session.close();
  }

  destroy(error?: Error): void {
    this.#session.destroy(error);
  }

  ping(answered: () => void): boolean {
    return this.#session.ping(answered);
  }
}

class NodeServedStream implements ServedStream {
  readonly end: TunnelEnd;
  readonly headers: readonly string[];
  readonly #stream: ServerHttp2Stream;

  /** In the tick of the session's 'stream' event; see TunnelEnd. */
  constructor(stream: ServerHttp2Stream, headers: readonly string[]) {
    this.#stream = stream;
    this.headers = headers;
    this.end = new TunnelEnd(stream, 'downstream');
  }

  onOver(call: () => void): void {
    this.#stream.once('close', call);
  }

  /** After a final answer Node stops the client's direction by itself. */
  respond(status: number, headers: TunnelHeaders, final: boolean): boolean {
    const stream = this.#stream;
    if (stream.closed || stream.destroyed || stream.headersSent) return false;
    const list = [':status', String(status), ...headers.flat()];
    // Node's types leave `sendDate` out.
    const options: ServerStreamResponseOptions & { sendDate: false } = { sendDate: false };
    stream.respond(list, final ? { ...options, endStream: true } : { ...options, waitForTrailers: true });
    return true;
  }
}
