/**
 * How many sessions the pool may have, in all and for one source, and which of them go when others need their place: those without
 * streams, the longest idle first. Pure bookkeeping.
 */
import type { RelayOptions } from '../options.ts';

/** What is counted: it knows whose it is. */
interface Counted {
  readonly source: string;
}

export class SessionBudget<Session extends Counted> {
  readonly #most: number;
  readonly #mostPerSource: number;
  #count = 0;
  /** Those being opened and those that end included. */
  readonly #bySource = new Map<string, number>();
  readonly #idle = new Set<Session>();

  constructor({
    maxClientSessions,
    maxClientSessionsPerSource,
  }: Pick<RelayOptions, 'maxClientSessions' | 'maxClientSessionsPerSource'>) {
    this.#most = maxClientSessions;
    this.#mostPerSource = maxClientSessionsPerSource;
  }

  get isFull(): boolean {
    return this.#count >= this.#most;
  }

  heldBy(source: string): number {
    return this.#bySource.get(source) ?? 0;
  }

  isFullFor(source: string): boolean {
    return this.heldBy(source) >= this.#mostPerSource;
  }

  /** One more is about to be opened. */
  enter(source: string): void {
    this.#count++;
    this.#bySource.set(source, this.heldBy(source) + 1);
  }

  /** What was entered has ended. */
  leave(source: string): void {
    this.#count--;
    const left = this.heldBy(source) - 1;
    if (left > 0) this.#bySource.set(source, left);
    else this.#bySource.delete(source);
  }

  /** It has no stream. */
  idle(session: Session): void {
    this.#idle.add(session);
  }

  /** It has one, or will not get any. */
  notIdle(session: Session): void {
    this.#idle.delete(session);
  }

  longestIdle(): Session | undefined {
    return this.#idle.values().next().value;
  }

  longestIdleOf(source: string): Session | undefined {
    for (const session of this.#idle) if (session.source === source) return session;
    return undefined;
  }
}
