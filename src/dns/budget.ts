/**
 * What one place may ask of us, so that no pod keeps the others of its node from being answered: queries on their way,
 * and queries a second. Beyond it a query that would have to wait is refused (SERVFAIL), and one too many is dropped.
 *
 * I1: a place always has its own small share, however busy the others are.
 */
import type { Clock } from '../base/clock.ts';
import { TokenBucket } from '../base/token-bucket.ts';

export interface DnsLimits {
  /** Queries of one place that wait for an upstream server, or for the mesh to know the place. */
  readonly waitingPerPlace: number;
  /** Of all places together; beyond, a place may have `ownShare`. */
  readonly waitingInAll: number;
  readonly ownShare: number;
  readonly queriesPerSecond: number;
  /** TCP connections of one place; more are closed at once. */
  readonly connections: number;
  /** Queries of one TCP connection that are not answered yet; more are not read. */
  readonly pipelined: number;
}

export const defaultDnsLimits: DnsLimits = {
  waitingPerPlace: 256,
  waitingInAll: 4096,
  ownShare: 16,
  queriesPerSecond: 10_000,
  connections: 128,
  pipelined: 32,
};

/** Of the whole process. */
export class DnsBudget {
  readonly limits: DnsLimits;
  waiting = 0;

  constructor(limits: DnsLimits = defaultDnsLimits) {
    this.limits = limits;
  }

  place(clock: Clock): PlaceBudget {
    return new PlaceBudget(this, clock);
  }
}

export class PlaceBudget {
  readonly #all: DnsBudget;
  readonly #clock: Clock;
  readonly #queries: TokenBucket;
  #waiting = 0;

  constructor(all: DnsBudget, clock: Clock) {
    this.#all = all;
    this.#clock = clock;
    const { queriesPerSecond } = all.limits;
    this.#queries = new TokenBucket(queriesPerSecond, queriesPerSecond, clock.nowMs());
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Takes one query of this second's; false: there are none left. */
  takeQuery(): boolean {
    return this.#queries.take(this.#clock.nowMs());
  }

  /** Room for one that waits; false: there is none. Each one taken is given back with `leave`. */
  enter(): boolean {
    const { waitingPerPlace, waitingInAll, ownShare } = this.#all.limits;
    if (this.#waiting >= (this.#all.waiting >= waitingInAll ? ownShare : waitingPerPlace)) return false;
    this.#waiting++;
    this.#all.waiting++;
    return true;
  }

  leave(): void {
    this.#waiting--;
    this.#all.waiting--;
  }
}
