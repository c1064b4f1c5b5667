/**
 * A body whose beginning is looked at before it is forwarded: what was read is kept, and comes again first, followed by
 * what the client still sends.
 *
 * I1: the bytes that go on are those that came, in number and order; a body that broke off breaks off. I2: besides what was
 * asked for at most one chunk is held, until a reader takes it. I3: a slow reader slows the client. I4: a client that does not
 * send what was asked for is waited for so long and no longer.
 */
import { Readable } from 'node:stream';
import type { Clock } from '../base/clock.ts';

export type Peek =
  /** `complete`: it is the whole body. */
  | { readonly kind: 'bytes'; readonly bytes: Buffer; readonly complete: boolean }
  | { readonly kind: 'broken'; readonly error: Error }
  /** It did not come in time. */
  | { readonly kind: 'late' };

/** When a body that is waited for is late: all waits for one body have it in common. */
export interface BodyDeadline {
  readonly clock: Clock;
  readonly atMs: number;
}

export class PeekedBody {
  readonly #source: Readable;
  #kept: Buffer[] = [];
  #keptBytes = 0;
  #ended = false;
  #error: Error | undefined;
  #waiting: { readonly maxBytes: number; readonly resolve: (peek: Peek) => void } | undefined;
  #reader: Readable | undefined;

  /** Nobody else reads the source from now on. */
  constructor(source: Readable) {
    this.#source = source;
    source.on('error', (error) => this.#fail(error));
    source.once('end', () => {
      this.#ended = true;
      this.#reader?.push(null);
      this.#settle();
    });
    source.on('data', (chunk: Buffer) => this.#take(chunk));
    source.pause();
  }

  /** Bytes that are held now. */
  get heldBytes(): number {
    return this.#keptBytes;
  }

  /** The first `maxBytes`, or the whole body if it is shorter. One call at a time, before `stream`. Never rejects. */
  peek(maxBytes: number, { clock, atMs }: BodyDeadline): Promise<Peek> {
    const { promise, resolve } = Promise.withResolvers<Peek>();
    this.#waiting = { maxBytes, resolve };
    this.#settle();
    if (this.#waiting === undefined) return promise;
    const timer = clock.after(atMs - clock.nowMs(), () => this.#answer({ kind: 'late' }));
    this.#source.resume();
    return promise.finally(() => timer.cancel());
  }

  /** The body from its start, once. */
  stream(): Readable {
    const reader = new Readable({
      read: () => {
        if (!this.#ended) this.#source.resume();
      },
    });
    reader.on('error', () => {});
    this.#reader = reader;
    for (const chunk of this.#kept) reader.push(chunk);
    this.#kept = [];
    this.#keptBytes = 0;
    if (this.#error !== undefined) reader.destroy(this.#error);
    else if (this.#ended) reader.push(null);
    return reader;
  }

  #take(chunk: Buffer): void {
    if (this.#reader !== undefined) {
      if (!this.#reader.destroyed && !this.#reader.push(chunk)) this.#source.pause();
      return;
    }
    this.#kept.push(chunk);
    this.#keptBytes += chunk.length;
    this.#settle();
  }

  #settle(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    const { maxBytes } = waiting;
    const enough = this.#keptBytes > maxBytes || this.#ended || this.#error !== undefined;
    if (!enough) return;
    if (this.#error !== undefined) {
      this.#answer({ kind: 'broken', error: this.#error });
      return;
    }
    const all = Buffer.concat(this.#kept);
    this.#answer({ kind: 'bytes', bytes: all.subarray(0, maxBytes), complete: all.length <= maxBytes });
  }

  #answer(peek: Peek): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#waiting = undefined;
    this.#source.pause();
    waiting.resolve(peek);
  }

  #fail(error: Error): void {
    this.#error = error;
    this.#reader?.destroy(error);
    this.#settle();
  }
}
