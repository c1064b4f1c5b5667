/**
 * The relay: puts an HTTP/2 engine's pool, servers and captured connections together behind the seam.
 * See `seam.ts` for the contract; `test/support/relay-compliance.ts` holds it to that.
 */
import type { Duplex } from 'node:stream';
import type { Cancellation } from '../base/cancellation.ts';
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { Members } from '../base/members.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { PeerRevocation } from '../identity/revocation.ts';
import type { SecretStore } from '../identity/secret.ts';
import type { AcceptGate } from '../net/acceptor.ts';
import { type Listening, listen } from '../net/listener.ts';
import { hasAddon } from '../net/native-sockets.ts';
import { resetSocket } from '../net/reset-socket.ts';
import { adoptOrTell } from '../net/socket-factory.ts';
import type { ListenSpec } from '../net/socket-spec.ts';
import { TcpEnd } from '../net/tcp-end.ts';
import { acceptEnd, acceptSocket, type Openers } from './capture.ts';
import { openTunnel } from './connect-client.ts';
import type { Http2Engine, TunnelPool } from './http2/engine.ts';
import { framing } from './http2/framing.ts';
import { defaultRelayOptions, type RelayOptions } from './options.ts';
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
  /** Where connections to `serve` come from; left out: a socket of ours. */
  readonly listen?: typeof listen | undefined;
  /** Left out: `framing`. */
  readonly http2?: Http2Engine | undefined;
  /** What differs from `defaultRelayOptions`. */
  readonly options?: Partial<RelayOptions>;
}

export function createRelay(dependencies: RelayDependencies): Relay {
  return new TunnelRelay(dependencies);
}

class TunnelRelay implements Relay {
  readonly #http2: Http2Engine;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #options: RelayOptions;
  readonly #pool: TunnelPool;
  readonly #openers: Openers;
  readonly #servers = new Set<HboneServer>();
  readonly #listeners = new Set<Listener>();
  readonly #onListenerGone: (() => void)[] = [];
  #captured = 0;
  /** Plain TCP is driven by hand. */
  readonly #byHand: boolean;
  readonly #revocation: PeerRevocation | undefined;
  readonly #listen: typeof listen;
  readonly #stopListening: (() => void) | undefined;
  readonly #onAcceptError: (error: Error) => void;

  constructor({
    secrets,
    logger,
    clock,
    revocation,
    options,
    listen: listenOn = listen,
    http2 = framing,
  }: RelayDependencies) {
    this.#listen = listenOn;
    this.#http2 = http2;
    this.#byHand = !http2.usesStreams && hasAddon();
    this.#clock = clock;
    this.#logger = logger.topic('hbone');
    this.#options = { ...defaultRelayOptions, ...options };
    this.#revocation = revocation;
    this.#pool = http2.createPool({
      secrets,
      logger: this.#logger,
      clock,
      options: this.#options,
      revocation,
      openOuter: (request) => this.open(request),
    });
    this.#stopListening = revocation?.onChange(() => {
      this.#pool.revocationChanged(revocation);
      for (const server of this.#servers) server.revocationChanged(revocation);
    });
    this.#onAcceptError = (error) => this.#logger.warn('accepting a connection failed', { error: errorText(error) });
    this.#openers = {
      clock,
      tunnel: (request, cancellation) => openTunnel(this.#pool, request, clock, this.#options, cancellation),
      dial: (destination, socket, preface, cancellation) =>
        openPlain(destination, socket, preface, clock, cancellation, this.#byHand),
    };
  }

  async capture(
    spec: ListenSpec,
    onConnection: (connection: CapturedConnection) => void,
    gate?: AcceptGate,
  ): Promise<RunningListener> {
    const own = new Members<() => void>();
    /** Until `gone` is called it counts, and can be reset. */
    const counts = (reset: () => void): (() => void) => {
      const member = own.add(reset);
      this.#captured++;
      return () => {
        own.remove(member);
        this.#captured--;
        if (own.size === 0) listener.emptied();
      };
    };
    const listening = await listen(spec, {
      clock: this.#clock,
      gate: { waitMs: () => (own.size >= this.#options.maxCaptured ? fullWaitMs : (gate?.waitMs() ?? 0)) },
      onAcceptError: this.#onAcceptError,
      onDescriptor:
        this.#byHand && spec.greeting === undefined
          ? (fd) => {
              const end = adoptOrTell(fd, () => new TcpEnd(fd, 'downstream', this.#clock), this.#onAcceptError);
              if (end === undefined) return;
              end.onGone(counts(() => end.cut()));
              acceptEnd(end, spec, this.#openers, this.#logger, onConnection);
            }
          : undefined,
      onSocket: (socket) => {
        socket.once(
          'close',
          counts(() => resetSocket(socket)),
        );
        acceptSocket(socket, spec, this.#openers, this.#logger, onConnection);
      },
    });
    const listener = this.#running(listening, {
      isEmpty: () => own.size === 0,
      drain: () => {},
      destroy: () => {
        for (const reset of own.all()) reset();
      },
    });
    return listener;
  }

  async serve(spec: ListenSpec, options: ServeOptions): Promise<RunningListener> {
    const hbone = new HboneServer(
      this.#http2,
      options,
      this.#openers,
      this.#clock,
      this.#logger,
      this.#options,
      this.#revocation,
    );
    hbone.onEmpty = () => listener.emptied();
    const listening = await this.#listen(spec, {
      clock: this.#clock,
      gate: hbone,
      onAcceptError: this.#onAcceptError,
      onSocket: (socket) => hbone.accept(socket),
    });
    this.#servers.add(hbone);
    const listener = this.#running(listening, {
      isEmpty: () => hbone.connections === 0,
      drain: () => hbone.drain(),
      destroy: () => hbone.destroy(),
      gone: () => this.#servers.delete(hbone),
    });
    return listener;
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
    return { sessions: sessions + servedSessions, servedSessions, streams, captured: this.#captured };
  }

  async drained(): Promise<void> {
    while (this.#listeners.size > 0) await new Promise<void>((resolve) => this.#onListenerGone.push(resolve));
  }

  async close(): Promise<void> {
    for (const listener of [...this.#listeners]) listener.destroy();
    this.#stopListening?.();
    this.#pool.close();
  }

  /** Known until it is closed and the last of its connections has ended. */
  #running(listening: Listening, hooks: ListenerHooks): Listener {
    let closed = false;
    const emptied = () => {
      if (!closed || !hooks.isEmpty() || !this.#listeners.delete(listener)) return;
      hooks.gone?.();
      for (const resolve of this.#onListenerGone.splice(0)) resolve();
    };
    const listener: Listener = {
      address: listening.address,
      emptied,
      async close() {
        hooks.drain();
        await listening.close();
        closed = true;
        emptied();
      },
      destroy: () => {
        listening.destroy();
        closed = true;
        hooks.destroy();
        emptied();
      },
    };
    this.#listeners.add(listener);
    return listener;
  }
}

interface Listener extends RunningListener {
  /** None of its connections is left. */
  emptied(): void;
}

interface ListenerHooks {
  isEmpty(): boolean;
  drain(): void;
  destroy(): void;
  gone?(): void;
}

/** At a listener's own limit, how soon it looks again. */
const fullWaitMs = 50;
