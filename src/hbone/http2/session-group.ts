/** The sessions that a stream of one kind may use (one key of the pool), and who waits for them. */
import type { AmbitError } from '../../base/errors.ts';
import type { TunnelTarget } from '../seam.ts';
import type { ClientStream, StreamOutcome } from './engine.ts';
import type { PooledSession } from './pooled-session.ts';

/** Somebody who waits for a stream. */
export interface Waiter {
  /** In the order in which they came to the pool. */
  readonly number: number;
  readonly target: TunnelTarget;
  readonly headers: readonly string[];
  readonly owns: (stream: ClientStream) => void;
  /** It waits no more. */
  settle(outcome: StreamOutcome): void;
}

/** A session on its way to standing. */
export interface Opening {
  readonly target: TunnelTarget;
  readonly group: SessionGroup;
  /** From the TLS handshake on. */
  session: PooledSession | undefined;
  /** The peer or the identity was forgotten meanwhile: good for waiters before this number, not for later ones. */
  outdatedFrom: number | undefined;
}

export class SessionGroup {
  readonly key: string;
  /** Those that stand and take streams. */
  readonly #sessions = new Set<PooledSession>();
  #last: PooledSession | undefined;
  /** In the order in which they came. */
  readonly waiting = new Set<Waiter>();
  /** One at a time. */
  opening: Opening | undefined;

  constructor(key: string) {
    this.key = key;
  }

  get isEmpty(): boolean {
    return this.#sessions.size === 0 && this.waiting.size === 0 && this.opening === undefined;
  }

  /** A peer that stands and allows no stream at all: another session would be told the same. */
  get isHeldOff(): boolean {
    for (const session of this.#sessions) if (session.allowsNone) return true;
    return false;
  }

  add(session: PooledSession): void {
    this.#sessions.add(session);
    this.#last = session;
  }

  remove(session: PooledSession): void {
    this.#sessions.delete(session);
    if (this.#last === session) this.#last = undefined;
  }

  /** The one used last for as long as it has room, then the fullest that has: few sessions, so that those left over can go. */
  withRoom(): PooledSession | undefined {
    if (this.#last?.hasRoom) return this.#last;
    let fullest: PooledSession | undefined;
    for (const session of this.#sessions) {
      if (session.hasRoom && session.streams > (fullest?.streams ?? -1)) fullest = session;
    }
    if (fullest !== undefined) this.#last = fullest;
    return fullest;
  }

  /** Who has waited longest. */
  first(): Waiter | undefined {
    return this.waiting.values().next().value;
  }

  failAll(errorFor: (target: TunnelTarget) => AmbitError): void {
    for (const waiter of [...this.waiting]) waiter.settle({ kind: 'failed', error: errorFor(waiter.target) });
  }
}
