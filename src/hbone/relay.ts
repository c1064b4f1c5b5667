/**
 * The relay on node:http2 and http2-wrapper: puts pool, servers and captured connections together behind the seam.
 * See `seam.ts` for the contract; `test/support/relay-compliance.ts` holds it to that.
 */
import type { Server, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Cancellation } from '../base/cancellation.ts';
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { PeerRevocation } from '../identity/revocation.ts';
import type { SecretStore } from '../identity/secret.ts';
import { resetSocket } from '../net/reset-socket.ts';
import { listen, listeningAddress } from '../net/socket-factory.ts';
import type { ListenSpec } from '../net/socket-spec.ts';
import { acceptCaptured, type Openers } from './capture.ts';
import { openTunnel } from './connect-client.ts';
import { defaultRelayOptions, type RelayOptions } from './options.ts';
import { SessionPool } from './pool.ts';
import { openPlain } from './running-join.ts';
import type {
  CapturedConnection,
  OpenOutcome,
  Relay,
  RelayStats,
  RunningListener,
  ServeOptions,
  TunnelRequest,
} from './seam.ts';
import { HboneServer } from './server.ts';
import { TunnelStream } from './tunnel-stream.ts';

export interface RelayDependencies {
  readonly secrets: SecretStore;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Undefined: nobody's certificate is revoked. */
  readonly revocation?: PeerRevocation | undefined;
  /** What differs from `defaultRelayOptions`. */
  readonly options?: Partial<RelayOptions>;
}

export function createRelay(dependencies: RelayDependencies): Relay {
  return new NodeRelay(dependencies);
}

class NodeRelay implements Relay {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #options: RelayOptions;
  readonly #pool: SessionPool;
  readonly #openers: Openers;
  readonly #servers = new Set<HboneServer>();
  readonly #listeners = new Set<RunningListener>();
  readonly #captured = new Set<Socket>();
  readonly #revocation: PeerRevocation | undefined;
  readonly #stopListening: (() => void) | undefined;
  readonly #onAcceptError: (error: Error) => void;

  constructor({ secrets, logger, clock, revocation, options }: RelayDependencies) {
    this.#clock = clock;
    this.#logger = logger.topic('hbone');
    this.#options = { ...defaultRelayOptions, ...options };
    this.#revocation = revocation;
    this.#pool = new SessionPool({ secrets, logger: this.#logger, clock, options: this.#options, revocation });
    this.#stopListening = revocation?.onChange(() => {
      this.#pool.revocationChanged(revocation);
      for (const server of this.#servers) server.revocationChanged(revocation);
    });
    this.#onAcceptError = (error) => this.#logger.warn('accepting a connection failed', { error: errorText(error) });
    this.#openers = {
      clock,
      tunnel: (request, cancellation) => openTunnel(this.#pool, request, clock, this.#options, cancellation),
      dial: (destination, socket, preface, cancellation) =>
        openPlain(destination, socket, preface, clock, cancellation),
    };
  }

  async capture(spec: ListenSpec, onConnection: (connection: CapturedConnection) => void): Promise<RunningListener> {
    const own = new Set<Socket>();
    const server = await listen(
      spec,
      (socket) => {
        for (const set of [own, this.#captured]) {
          set.add(socket);
          socket.once('close', () => set.delete(socket));
        }
        acceptCaptured(socket, spec, this.#openers, this.#logger, onConnection);
      },
      this.#onAcceptError,
    );
    server.maxConnections = this.#options.maxCaptured;
    return this.#running(server, {
      drain: () => {},
      destroy: () => {
        for (const socket of own) resetSocket(socket);
      },
    });
  }

  async serve(spec: ListenSpec, options: ServeOptions): Promise<RunningListener> {
    const hbone = new HboneServer(options, this.#openers, this.#clock, this.#logger, this.#options, this.#revocation);
    const server = await listen(spec, (socket) => hbone.accept(socket), this.#onAcceptError);
    this.#servers.add(hbone);
    server.once('close', () => this.#servers.delete(hbone));
    return this.#running(server, {
      drain: () => hbone.drain(),
      destroy: () => hbone.destroy(),
    });
  }

  async open(request: TunnelRequest, cancellation?: Cancellation): Promise<OpenOutcome> {
    const outcome = await openTunnel(this.#pool, request, this.#clock, this.#options, cancellation);
    if (outcome.kind === 'failed') return outcome;
    const { headers, ...established } = outcome.established;
    if (outcome.kind === 'refused') return { kind: 'refused', status: outcome.status, headers, established };
    const stream: Duplex = new TunnelStream(outcome.end);
    return { kind: 'open', stream, established: outcome.established };
  }

  forgetPeer(peerIp: string): void {
    this.#pool.forgetPeer(peerIp);
  }

  forgetIdentity(identity: SpiffeId): void {
    this.#pool.forgetIdentity(identity);
    for (const server of this.#servers) server.forgetIdentity(identity);
  }

  stats(): RelayStats {
    const { sessions } = this.#pool;
    let { streams } = this.#pool;
    let servedSessions = 0;
    for (const server of this.#servers) {
      servedSessions += server.sessions;
      streams += server.streams;
    }
    return { sessions: sessions + servedSessions, servedSessions, streams, captured: this.#captured.size };
  }

  async close(): Promise<void> {
    const closing = [...this.#listeners].map((listener) => {
      listener.destroy();
      return listener.close();
    });
    this.#stopListening?.();
    this.#pool.close();
    await Promise.all(closing);
  }

  #running(server: Server, hooks: { drain(): void; destroy(): void }): RunningListener {
    let closing: Promise<void> | undefined;
    // Node's `close` waits for connections too; the listening socket itself is closed in the same tick.
    const close = () => {
      closing ??= Promise.resolve();
      if (server.listening) server.close();
      hooks.drain();
      return closing;
    };
    const listener: RunningListener = {
      address: listeningAddress(server),
      close,
      destroy: () => {
        if (server.listening) server.close();
        hooks.destroy();
      },
    };
    // Comes when the last connection has ended.
    server.once('close', () => this.#listeners.delete(listener));
    this.#listeners.add(listener);
    return listener;
  }
}
