/** The listening side for plain TCP: captured connections and those of SOCKS5 clients, each waiting for one verb. */
import type { Socket } from 'node:net';
import type { SocketAddress } from '../base/address.ts';
import { Cancellation } from '../base/cancellation.ts';
import type { Clock } from '../base/clock.ts';
import { AmbitError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { DuplexEnd } from '../net/duplex-end.ts';
import { originalDestination } from '../net/original-destination.ts';
import { socketAddresses } from '../net/socket-factory.ts';
import type { ListenSpec, SocketProfile } from '../net/socket-spec.ts';
import { socksReplies } from '../net/socks5.ts';
import { type Downstream, type Open, RunningJoin, type UpstreamOutcome } from './running-join.ts';
import type { Attempt, CapturedConnection, Join, JoinObserver, Otherwise, TunnelRequest } from './seam.ts';
import { greetSocks, type SocksAnswer, type SocksRequested, socksReplyFor } from './socks-handshake.ts';

/** How a captured connection reaches its upstream. */
export interface Openers {
  readonly clock: Clock;
  tunnel(request: TunnelRequest, cancellation: Cancellation): Promise<UpstreamOutcome>;
  dial(
    destination: SocketAddress,
    socket: SocketProfile,
    preface: Uint8Array | undefined,
    cancellation: Cancellation,
  ): Promise<UpstreamOutcome>;
}

/** Hands an accepted socket to `onConnection`, after its client's request where SOCKS5 is spoken; or closes it. */
export function acceptCaptured(
  socket: Socket,
  listen: ListenSpec,
  openers: Openers,
  logger: Logger,
  onConnection: (connection: CapturedConnection) => void,
): void {
  const addresses = socketAddresses(socket);
  if (addresses === undefined) {
    socket.destroy();
    return;
  }
  const { peer, local } = addresses;
  const hand = (original: SocketAddress, socks?: Socks) => {
    const connection = new Captured(socket, peer, local, original, openers, logger, socks);
    try {
      onConnection(connection);
    } catch (error) {
      logger.error('the handler of captured connections threw', { error: errorText(error) });
      connection.abandon();
    }
  };
  if (listen.greeting === 'socks5') {
    greetSocks(socket, openers.clock, logger, (requested, answer) =>
      hand(requested.destination, { requested, answer }),
    );
    return;
  }
  const original = listen.redirected ? originalDestination(socket) : undefined;
  hand(original ?? local);
}

interface Socks {
  readonly requested: SocksRequested;
  readonly answer: SocksAnswer;
}

class Captured implements CapturedConnection {
  readonly peer: SocketAddress;
  readonly local: SocketAddress;
  readonly originalDestination: SocketAddress;
  readonly requestedHost: string | undefined;
  readonly #answer: SocksAnswer | undefined;
  readonly #downstream: Downstream;
  readonly #gone = new Cancellation();
  readonly #openers: Openers;
  readonly #logger: Logger;
  #join: RunningJoin | undefined;
  #refused = false;

  constructor(
    socket: Socket,
    peer: SocketAddress,
    local: SocketAddress,
    original: SocketAddress,
    openers: Openers,
    logger: Logger,
    socks: Socks | undefined,
  ) {
    this.requestedHost = socks?.requested.hostname;
    this.#answer = socks?.answer;
    this.peer = peer;
    this.local = local;
    this.originalDestination = original;
    this.#openers = openers;
    this.#logger = logger;
    socket.once('close', () => this.#gone.cancel());
    const end = new DuplexEnd(socket, 'downstream');
    this.#downstream = {
      end,
      gone: this.#gone,
      accept: () => (socks === undefined ? !socket.destroyed : socks.answer.accept()),
      reject: (status, error) =>
        socks === undefined ? end.reset() : socks.answer.reject(socksReplyFor(status, error)),
    };
  }

  get gone(): boolean {
    return this.#gone.cancelled;
  }

  tunnel(request: TunnelRequest, observer: JoinObserver, otherwise?: Otherwise): Join {
    return this.#run(observer, (cancellation) => this.#openers.tunnel(request, cancellation), otherwise);
  }

  dial(
    destination: SocketAddress,
    socket: SocketProfile,
    observer: JoinObserver,
    preface?: Uint8Array,
    otherwise?: Otherwise,
  ): Join {
    const open: Open = (cancellation) => this.#openers.dial(destination, socket, preface, cancellation);
    return this.#run(observer, open, otherwise);
  }

  refuse(cause: 'not-allowed' | 'no-address' = 'not-allowed'): void {
    if (this.#join !== undefined || this.#refused) return;
    this.#refused = true;
    if (this.#answer === undefined) this.#downstream.end.reset();
    else this.#answer.reject(cause === 'no-address' ? socksReplies.hostUnreachable : socksReplies.notAllowed);
  }

  /** Its handler threw: whatever stands is cut. */
  abandon(): void {
    if (this.#join === undefined) this.refuse();
    else this.#join.stop(new AmbitError('the handler failed', { code: 'HBONE_HANDLER', origin: 'local' }));
  }

  #run(observer: JoinObserver, open: Open, otherwise: Otherwise | undefined): Join {
    if (this.#join !== undefined || this.#refused) throw new TypeError('a captured connection takes one verb');
    this.#join = new RunningJoin(this.#downstream, observer, this.#logger);
    this.#join.run(open, otherwise && ((error) => this.#another(otherwise(error))));
    return this.#join;
  }

  #another(attempt: Attempt | undefined): { observer: JoinObserver; open: Open } | undefined {
    if (attempt === undefined) return undefined;
    const { observer } = attempt;
    const open: Open = (cancellation) =>
      attempt.kind === 'tunnel'
        ? this.#openers.tunnel(attempt.request, cancellation)
        : this.#openers.dial(attempt.destination, attempt.socket, undefined, cancellation);
    return { observer, open };
  }
}
