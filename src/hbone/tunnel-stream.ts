/**
 * A tunnel as an ordinary Duplex, for those who parse what flows in it (node:http, undici, http2 over it).
 *
 * I1: 'end' means END_STREAM was received; a reset is an 'error' before 'close', never a clean 'end'.
 * I2: `end()` sends END_STREAM, `destroy()` before both directions are finished sends RST_STREAM.
 */
import { Duplex } from 'node:stream';
import type { AmbitError } from '../base/errors.ts';
import { forgetListeners } from '../base/forget-listeners.ts';
import type { ByteEndHandler } from '../net/byte-end.ts';
import { ownCopy } from '../net/plain-socket.ts';
import type { StreamEnd } from './http2/engine.ts';

/** Up to so many a copy costs less than another frame. */
const joinedBytes = 16 * 1024;

const smallBytes = 2048;

type Callback = (error?: Error | null) => void;

export class TunnelStream extends Duplex {
  readonly #end: StreamEnd;
  #over = false;
  /** Of the write or the end under way. */
  #waiting: Callback | undefined;

  /** Takes ownership of the end, which must not have been started. */
  constructor(end: StreamEnd) {
    super({ allowHalfOpen: true, autoDestroy: true });
    this.#end = end;
    // A consumer that is not there yet must not let a reset end the process.
    this.on('error', ignore);
    this.#start();
  }

  override _read(): void {
    this.#end.resume();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, written: Callback): void {
    if (this.#over || this.#end.write(chunk)) written();
    else this.#waiting = written;
  }

  /** What was written in one turn leaves in one frame, when it is little. */
  override _writev(chunks: readonly { readonly chunk: Uint8Array }[], written: Callback): void {
    let length = 0;
    for (const { chunk } of chunks) length += chunk.length;
    const parts = chunks.map(({ chunk }) => chunk);
    if (this.#over || this.#writeAll(length <= joinedBytes ? [Buffer.concat(parts, length)] : parts)) written();
    else this.#waiting = written;
  }

  override _final(finished: Callback): void {
    this.#waiting = finished;
    if (this.#over) this.#proceed();
    else this.#end.end(() => this.#proceed());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!this.#over) {
      this.#over = true;
      this.#end.cancel();
    }
    this.#proceed(error ?? new Error('the tunnel stream is closed'));
    done(error);
    // In the tick after 'close'.
    process.nextTick(forgetListeners, this);
  }

  #writeAll(parts: readonly Uint8Array[]): boolean {
    let room = true;
    for (const part of parts) room = this.#end.write(part);
    return room;
  }

  #start(): void {
    const handler: ByteEndHandler = {
      data: (chunk, lent) => {
        // Readable keeps an object for each chunk: until it asks for more, small ones are put together below.
        if (!this.push(lent ? ownCopy(chunk) : chunk) || chunk.length < smallBytes) this.#end.pause();
      },
      end: () => {
        this.push(null);
      },
      drain: () => this.#proceed(),
      closed: () => {
        this.#over = true;
      },
      broken: (error, whole) => this.#broken(error, whole),
    };
    this.#end.start(handler);
  }

  #proceed(error?: Error): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.(error);
  }

  /**
   * A peer that finished and then stopped listening leaves what it sent readable (RFC 9113 §8.1). Until that is read,
   * what is written is dropped: those who read only when they have written must come to the end. What came in one read with
   * a reset has its turn to be read as well.
   */
  #broken(error: AmbitError, whole: boolean): void {
    this.#over = true;
    if (!whole && this.readableLength > 0) {
      setImmediate(() => this.destroy(error));
      return;
    }
    if (!whole || this.readableEnded) {
      this.destroy(error);
      return;
    }
    this.once('end', () => this.destroy(error));
    this.#proceed();
  }
}

function ignore(): void {}
