/**
 * A copy of a request body for a mirror. The one who sends the original never waits for it: what the mirror has not
 * taken yet is kept up to a bound for this body and one for all of them, and beyond either the mirror is given up.
 */
import { Readable } from 'node:stream';
import type { BodyObserver } from './body-observer.ts';

/** Bytes that all copies together wait with. */
export interface MirrorBudget {
  bytes: number;
  readonly maxBytes: number;
}

export class MirrorBody implements BodyObserver {
  readonly stream: Readable;
  readonly #budget: MirrorBudget;
  readonly #maxBytes: number;
  readonly #overflow: () => void;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #ended = false;
  #wanted = false;

  /** `overflow`: called at most once, when a bound is passed; the body is closed by then. */
  constructor(budget: MirrorBudget, maxBytes: number, overflow: () => void) {
    this.#budget = budget;
    this.#maxBytes = maxBytes;
    this.#overflow = overflow;
    this.stream = new Readable({ read: () => this.#give() });
    this.stream.on('error', () => {});
  }

  take(chunk: Buffer): void {
    if (this.#ended) return;
    const over = this.#queuedBytes + chunk.length > this.#maxBytes;
    if (over || this.#budget.bytes + chunk.length > this.#budget.maxBytes) {
      this.close();
      this.#overflow();
      return;
    }
    this.#queue.push(chunk);
    this.#count(chunk.length);
    if (this.#wanted) this.#give();
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#wanted) this.#give();
  }

  fail(error: Error): void {
    if (!this.#ended) this.close(error);
  }

  /** Nothing more goes out; what waits is forgotten. */
  close(error?: Error): void {
    this.#ended = true;
    this.#queue = [];
    this.#count(-this.#queuedBytes);
    this.stream.destroy(error);
  }

  #give(): void {
    this.#wanted = true;
    for (let chunk = this.#queue.shift(); chunk !== undefined; chunk = this.#queue.shift()) {
      this.#count(-chunk.length);
      if (this.stream.push(chunk)) continue;
      this.#wanted = false;
      return;
    }
    if (this.#ended && !this.stream.readableEnded && !this.stream.destroyed) {
      this.#wanted = false;
      this.stream.push(null);
    }
  }

  #count(bytes: number): void {
    this.#queuedBytes += bytes;
    this.#budget.bytes += bytes;
  }
}
