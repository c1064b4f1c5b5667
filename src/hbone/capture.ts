/** The listening side for plain TCP: captured connections and those of SOCKS5 clients, each waiting for one verb. */
import type { Socket } from 'node:net';
import type { SocketAddress } from '../base/address.ts';
import { Cancellation } from '../base/cancellation.ts';
import type { Clock } from '../base/clock.ts';
import { AmbitError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { TcpByteEnd } from '../net/byte-end.ts';
import { DuplexEnd } from '../net/duplex-end.ts';
import { originalDestination } from '../net/original-destination.ts';
import { socketAddresses } from '../net/socket-factory.ts';
import type { ListenSpec, SocketProfile } from '../net/socket-spec.ts';
import { socksReplies } from '../net/socks5.ts';
import type { TcpEnd } from '../net/tcp-end.ts';
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

/** What of an accepted connection is known before anything is read. */
interface Accepted {
  readonly end: TcpByteEnd;
  readonly peer: SocketAddress;
  readonly local: SocketAddress;
  readonly original: SocketAddress;
}

type OnConnection = (connection: CapturedConnection) => void;

/** Hands an accepted connection to `onConnection`; or closes it. */
export function acceptEnd(
  end: TcpEnd,
  listen: ListenSpec,
  openers: Openers,
  logger: Logger,
  onConnection: OnConnection,
): void {
  const { addresses } = end;
  if (addresses === undefined) {
    end.reset();
    return;
  }
  const original = listen.redirected ? end.originalDestination : undefined;
  hand({ end, ...addresses, original: original ?? addresses.local }, openers, logger, onConnection);
}

/** The same for a socket of Node's, after its client's request where SOCKS5 is spoken. */
export function acceptSocket(
  socket: Socket,
  listen: ListenSpec,
  openers: Openers,
  logger: Logger,
  onConnection: OnConnection,
): void {
  const addresses = socketAddresses(socket);
  if (addresses === undefined) {
    socket.destroy();
    return;
  }
  const accepted = (original: SocketAddress) => ({
    end: new DuplexEnd(socket, 'downstream', openers.clock),
    ...addresses,
    original,
  });
  if (listen.greeting === 'socks5') {
    greetSocks(socket, openers.clock, logger, (requested, answer) =>
      hand(accepted(requested.destination), openers, logger, onConnection, { requested, answer }),
    );
    return;
  }
  const original = listen.redirected ? originalDestination(socket) : undefined;
  hand(accepted(original ?? addresses.local), openers, logger, onConnection);
}

function hand(accepted: Accepted, openers: Openers, logger: Logger, onConnection: OnConnection, socks?: Socks): void {
  const connection = new Captured(accepted, openers, logger, socks);
  try {
    onConnection(connection);
  } catch (error) {
    logger.error('the handler of captured connections threw', { error: errorText(error) });
    connection.abandon();
  }
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

  constructor({ end, peer, local, original }: Accepted, openers: Openers, logger: Logger, socks: Socks | undefined) {
    this.requestedHost = socks?.requested.hostname;
    this.#answer = socks?.answer;
    this.peer = peer;
    this.local = local;
    this.originalDestination = original;
    this.#openers = openers;
    this.#logger = logger;
    end.onGone(() => this.#gone.cancel());
    this.#downstream = {
      end,
      gone: this.#gone,
      accept: () => (socks === undefined ? !end.gone : socks.answer.accept()),
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
