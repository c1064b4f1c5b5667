/** Token buckets per caller: who asks too often is told to wait, and nobody else notices. */
import type { Clock } from '../base/clock.ts';
import { TokenBucket } from '../base/token-bucket.ts';

export interface BudgetOptions {
  readonly burst: number;
  readonly perSecond: number;
  /** Callers remembered; the one that has been quiet longest is forgotten first. */
  readonly maxCallers: number;
}

export class CallBudget {
  readonly #options: BudgetOptions;
  readonly #clock: Clock;
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(options: BudgetOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  /** Whether the caller may make this call. */
  take(caller: string): boolean {
    const { burst, perSecond, maxCallers } = this.#options;
    const nowMs = this.#clock.nowMs();
    const bucket = this.#buckets.get(caller) ?? new TokenBucket(perSecond, burst, nowMs);
    this.#buckets.delete(caller);
    this.#buckets.set(caller, bucket);
    if (this.#buckets.size > maxCallers) {
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    return bucket.take(nowMs);
  }
}
