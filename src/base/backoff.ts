/** Exponential back-off with jitter and a cap. Pure state: the caller owns the timer. */
import type { Random } from './random.ts';

export interface BackoffOptions {
  readonly initialMs: number;
  readonly maxMs: number;
  readonly factor?: number;
  /** Share of the delay that is random around it: 0.2 gives ±20 %. */
  readonly jitter?: number;
}

export class Backoff {
  readonly #options: Required<BackoffOptions>;
  readonly #random: Random;
  #attempts = 0;

  constructor(options: BackoffOptions, random: Random) {
    this.#options = { factor: 2, jitter: 0.2, ...options };
    this.#random = random;
  }

  /** Delay before the next try. */
  nextMs(): number {
    const { initialMs, maxMs, factor, jitter } = this.#options;
    const base = Math.min(maxMs, initialMs * factor ** this.#attempts);
    this.#attempts = Math.min(this.#attempts + 1, 64);
    return Math.min(maxMs, base * (1 + jitter * (2 * this.#random.next() - 1)));
  }

  reset(): void {
    this.#attempts = 0;
  }
}
