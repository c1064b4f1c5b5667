/**
 * The counts behind the limits of TrafficProtections: buckets, places, questions under way and what was refused. They hang
 * on the records of the limits, so they live as long as those do: an object that did not change keeps its counts, one
 * that was changed starts anew.
 */
import type { Clock } from '../../base/clock.ts';
import type { Counter, MetricsRegistry } from '../../base/metrics.ts';
import type { ConcurrencyLimit, GlobalRateLimit, LocalRateLimit } from '../../route/traffic-protection.ts';
import { BucketTable } from './bucket-table.ts';
import { Turnstile } from './turnstile.ts';

export type LimitReason =
  | 'local_rate_limit'
  | 'global_rate_limit'
  | 'rate_limit_service'
  | 'concurrency'
  | 'body_size'
  | 'header_size';

/** Questions to the service of one limit that may wait for an answer at a time. */
const mostQuestions = 1000;

export class Protections {
  readonly #clock: Clock;
  readonly #metrics: MetricsRegistry;
  readonly #buckets = new WeakMap<LocalRateLimit, BucketTable>();
  readonly #turnstiles = new WeakMap<ConcurrencyLimit, Turnstile>();
  readonly #questions = new WeakMap<GlobalRateLimit, { open: number }>();
  readonly #counters = new Map<string, Counter>();

  constructor({ clock, metrics }: { readonly clock: Clock; readonly metrics: MetricsRegistry }) {
    this.#clock = clock;
    this.#metrics = metrics;
  }

  buckets(limit: LocalRateLimit): BucketTable {
    return this.#buckets.getOrInsertComputed(limit, () => new BucketTable(limit));
  }

  turnstile(limit: ConcurrencyLimit): Turnstile {
    return this.#turnstiles.getOrInsertComputed(limit, () => new Turnstile(limit, this.#clock));
  }

  /** False: too many wait already. `end` after each that began. */
  beginQuestion(limit: GlobalRateLimit): boolean {
    const questions = this.#questions.getOrInsertComputed(limit, () => ({ open: 0 }));
    if (questions.open >= mostQuestions) return false;
    questions.open++;
    return true;
  }

  endQuestion(limit: GlobalRateLimit): void {
    const questions = this.#questions.get(limit);
    if (questions !== undefined) questions.open--;
  }

  /** `limit`: `namespace/object/limit`. */
  count(limit: string, reason: LimitReason, enforced: boolean): void {
    const key = `${reason} ${enforced} ${limit}`;
    let counter = this.#counters.get(key);
    if (counter === undefined) {
      const help = 'Requests over a limit of a TrafficProtection; enforced="false": in a dry run, let through.';
      counter = this.#metrics.counter('ambit_limited_requests_total', help, { limit, reason, enforced: `${enforced}` });
      this.#counters.set(key, counter);
    }
    counter.value++;
  }
}
