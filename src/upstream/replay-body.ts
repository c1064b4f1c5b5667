/**
 * A request body that can be sent again. What the client sent is kept up to a bound; once it is longer, it still flows,
 * but a retry is no longer possible (Envoy's per-stream buffer limit). One reader at a time; back-pressure reaches the
 * client through whichever reader is current.
 */
import { Readable } from 'node:stream';
import type { BodyObserver } from './body-observer.ts';

export class ReplayBody {
  readonly #source: Readable;
  readonly #limitBytes: number;
  readonly #observer: BodyObserver | undefined;
  readonly #wanted: () => void;
  #kept: Buffer[] = [];
  #resendable: boolean;
  #received = 0;
  #ended = false;
  #error: Error | undefined;
  #reader: Readable | undefined;
  #started = false;

  /** `limitBytes` 0: nothing is kept. The source's errors reach the current reader. `wanted`: somebody begins to read. */
  constructor(source: Readable, limitBytes: number, observer?: BodyObserver, wanted = () => {}) {
    this.#source = source;
    this.#limitBytes = limitBytes;
    this.#observer = observer;
    this.#wanted = wanted;
    this.#resendable = limitBytes > 0;
    source.on('error', (error) => this.#fail(error));
  }

  /** Whether a reader opened now would get the whole body. */
  get resendable(): boolean {
    return this.#resendable || this.#received === 0;
  }

  /** Why it broke off, if it did. */
  get brokenBy(): Error | undefined {
    return this.#error;
  }

  get receivedBytes(): number {
    return this.#received;
  }

  /** The body from its start; the reader before it gets nothing more. */
  open(): Readable {
    const reader = new Readable({ read: () => this.#resume(reader) });
    reader.on('error', ignore);
    // Who reads may keep it for longer than its request lasts (docs/performance.md).
    reader.once('close', letGo);
    this.#reader = reader;
    for (const chunk of this.#kept) reader.push(chunk);
    if (this.#error !== undefined) reader.destroy(this.#error);
    else if (this.#ended) reader.push(null);
    return reader;
  }

  /** The rest is not wanted: it is read and dropped, so that the connection can be used again. */
  discard(): void {
    this.#reader = undefined;
    this.#kept = [];
    this.#resendable = false;
    if (!this.#started) this.#observer?.fail(new Error('nobody reads the body'));
    this.#source.resume();
  }

  #resume(reader: Readable): void {
    if (reader !== this.#reader || this.#ended) return;
    if (this.#started) {
      this.#source.resume();
      return;
    }
    this.#started = true;
    this.#wanted();
    this.#source.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#source.once('end', () => {
      this.#ended = true;
      this.#reader?.push(null);
      this.#observer?.end();
    });
  }

  #take(chunk: Buffer): void {
    this.#received += chunk.length;
    this.#observer?.take(chunk);
    if (this.#resendable) {
      if (this.#received <= this.#limitBytes) this.#kept.push(chunk);
      else {
        this.#kept = [];
        this.#resendable = false;
      }
    }
    if (this.#reader !== undefined && !this.#reader.destroyed && !this.#reader.push(chunk)) this.#source.pause();
  }

  #fail(error: Error): void {
    this.#error = error;
    this.#reader?.destroy(error);
    this.#observer?.fail(error);
  }
}

function letGo(this: Readable): void {
  this._read = ignore;
}

function ignore(): void {}
