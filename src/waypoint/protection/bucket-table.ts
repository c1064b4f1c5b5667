/**
 * Token buckets by key, at most `maxKeys` of them, the one unused for longest first. A bucket that has filled up again
 * says nothing and can be dropped for a new key without loss; what happens when none has is the limit's `whenFull`.
 *
 * I1: of one key's requests at most `burst` + T · `tokens` / `intervalMs` are admitted in any time T; where keys share, a key
 *     may have that twice, from its own bucket and from the shared one; where buckets are evicted there is no such bound.
 * I2: a refused request takes nothing. I3: time that goes back fills nothing.
 */
import type { LocalRateLimit } from '../../route/traffic-protection.ts';

interface Bucket {
  /** Tokens × `intervalMs`, so that whole milliseconds give whole numbers. */
  level: number;
  filledMs: number;
}

export type BucketVerdict =
  /** `remaining`: whole tokens left for the key, this one not taken. `resetMs`: until the bucket is full again. */
  | { readonly kind: 'free'; readonly remaining: number; readonly resetMs: number }
  /** `waitMs`: until a token is there. */
  | { readonly kind: 'over'; readonly waitMs: number; readonly resetMs: number }
  | { readonly kind: 'no-room' };

/** Looked at, oldest first, for one that is full again. */
const looked = 8;

export class BucketTable {
  readonly #limit: LocalRateLimit;
  readonly #buckets = new Map<string, Bucket>();
  #shared: Bucket | undefined;

  constructor(limit: LocalRateLimit) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Whether a request of the key may pass. Takes nothing. */
  look(key: string, nowMs: number): BucketVerdict {
    const { tokens, intervalMs, burst } = this.#limit;
    const bucket = this.#find(key, nowMs);
    if (bucket === undefined) return { kind: 'no-room' };
    this.#fill(bucket, nowMs);
    const resetMs = (burst * intervalMs - bucket.level) / tokens;
    if (bucket.level >= intervalMs) return { kind: 'free', remaining: Math.floor(bucket.level / intervalMs), resetMs };
    return { kind: 'over', waitMs: (intervalMs - bucket.level) / tokens, resetMs };
  }

  /** After `look` said `free` for the key, in the same turn. */
  take(key: string, nowMs: number): void {
    const { intervalMs, maxKeys } = this.#limit;
    const known = this.#buckets.get(key);
    const bucket = known ?? this.#find(key, nowMs);
    if (bucket === undefined) return;
    bucket.level -= intervalMs;
    if (bucket === this.#shared) return;
    if (known !== undefined) this.#buckets.delete(key);
    else if (this.#buckets.size >= maxKeys) this.#makeRoom(nowMs);
    this.#buckets.set(key, bucket);
  }

  /** The key's bucket, a new one that is not in the table yet, or the shared one. */
  #find(key: string, nowMs: number): Bucket | undefined {
    const known = this.#buckets.get(key);
    if (known !== undefined) return known;
    if (this.#buckets.size < this.#limit.maxKeys || this.#dispensable(nowMs) !== undefined) return this.#new(nowMs);
    switch (this.#limit.whenFull) {
      case 'evict':
        return this.#new(nowMs);
      case 'share':
        this.#shared ??= this.#new(nowMs);
        return this.#shared;
      case 'deny':
        return undefined;
    }
  }

  #makeRoom(nowMs: number): void {
    const oldest = this.#dispensable(nowMs) ?? this.#buckets.keys().next().value;
    if (oldest !== undefined) this.#buckets.delete(oldest);
  }

  /** A key whose bucket is full again. */
  #dispensable(nowMs: number): string | undefined {
    let left = looked;
    for (const [key, bucket] of this.#buckets) {
      if (left-- === 0) return undefined;
      this.#fill(bucket, nowMs);
      if (bucket.level >= this.#limit.burst * this.#limit.intervalMs) return key;
    }
    return undefined;
  }

  #new(nowMs: number): Bucket {
    return { level: this.#limit.burst * this.#limit.intervalMs, filledMs: nowMs };
  }

  #fill(bucket: Bucket, nowMs: number): void {
    const { tokens, intervalMs, burst } = this.#limit;
    if (nowMs <= bucket.filledMs) return;
    bucket.level = Math.min(burst * intervalMs, bucket.level + (nowMs - bucket.filledMs) * tokens);
    bucket.filledMs = nowMs;
  }
}
