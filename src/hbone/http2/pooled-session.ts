/**
 * A session of the pool from the TLS handshake to its end: what it may still take, how long it stays, and whom it tells.
 *
 * I1: once it has left it takes no new stream, whatever happens; it ends with the last of those it has.
 */
import { formatSocketAddress } from '../../base/address.ts';
import type { Timer } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { PeerRevocation } from '../../identity/revocation.ts';
import { watchLiveness } from '../liveness.ts';
import { endIfRevoked } from '../revoked-sessions.ts';
import type { SessionCarrier } from '../session-carrier.ts';
import type { SessionFacts } from '../session-facts.ts';
import type { ClientStream, PoolDependencies } from './engine.ts';
import { type ClientSession, type ClientSessionEvents, openClientSession } from './session.ts';

export interface PooledSessionEvents {
  /** The peer's SETTINGS have come. */
  stands(session: PooledSession): void;
  /** While it stands: there may be room, or no stream is left. */
  room(session: PooledSession): void;
  /** It takes no new streams. Once, before it is told to go. */
  leaves(session: PooledSession): void;
  /** Once, as the last. `cause`: why, when that is known. */
  closed(session: PooledSession, cause: unknown): void;
}

export class PooledSession implements ClientSessionEvents {
  readonly facts: SessionFacts;
  readonly #session: ClientSession;
  readonly #carrier: SessionCarrier;
  readonly #use: PoolDependencies;
  readonly #events: PooledSessionEvents;
  #hasLeft = false;
  #cause: unknown;
  #stopWatching: (() => void) | undefined;
  #aged: Timer | undefined;

  /** Owns the carrier's socket. */
  constructor(carrier: SessionCarrier, use: PoolDependencies, events: PooledSessionEvents) {
    this.facts = carrier.facts;
    this.#carrier = carrier;
    this.#use = use;
    this.#events = events;
    this.#session = openClientSession(carrier.socket, { relay: use.options, clock: use.clock }, this);
  }

  get source(): string {
    return this.facts.source;
  }

  get streams(): number {
    return this.#session.streams;
  }

  /** It may take streams, now or later. */
  get isOpen(): boolean {
    return !this.#hasLeft && this.#session.open;
  }

  /** For one more stream, now. */
  get hasRoom(): boolean {
    const { streams, maxStreams } = this.#session;
    return this.isOpen && streams < maxStreams && streams < this.#use.options.maxStreamsPerClientSession;
  }

  get allowsNone(): boolean {
    return this.isOpen && this.#session.maxStreams === 0;
  }

  /** Only while it has room. Throws TypeError for headers that cannot be sent. */
  request(headers: readonly string[]): ClientStream {
    const stream = this.#session.request(headers);
    // Its numbers may be used up.
    if (!this.#session.open) this.leave();
    return stream;
  }

  /** No new streams, and those who hold idle ones are told: the peer, or what vouched for the session, goes. */
  leave(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    this.#events.leaves(this);
    this.#session.retire();
    this.facts.leaving.cancel();
  }

  endIfRevoked(revocation: PeerRevocation): void {
    endIfRevoked(this.#session, this.facts, revocation, 'source', this.#use.logger);
  }

  destroy(): void {
    this.#session.destroy();
  }

  ready(): void {
    const { clock, options, logger } = this.#use;
    this.#carrier.settled();
    this.#stopWatching = watchLiveness(this.#session, clock, options, {
      isIdle: () => this.#session.streams === 0,
      idleReleaseMs: options.idleReleaseMs,
      onIdle: () => this.leave(),
      onDead: () => logger.warn('HBONE ping timeout', { peer: formatSocketAddress(this.facts.peer) }),
    });
    if (this.facts.nested) this.#aged = clock.after(options.nestedSessionMs, () => this.leave());
    this.#events.stands(this);
  }

  goingAway(): void {
    this.leave();
  }

  room(): void {
    this.#events.room(this);
  }

  failed(error: unknown): void {
    this.#cause ??= error;
    const peer = formatSocketAddress(this.facts.peer);
    this.#use.logger.debug('HBONE session failed', { peer, error: errorText(error) });
  }

  closed(): void {
    this.#stopWatching?.();
    this.#aged?.cancel();
    this.leave();
    this.#events.closed(this, this.#cause);
  }
}
