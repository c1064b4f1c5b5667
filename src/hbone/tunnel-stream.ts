/**
 * A tunnel as an ordinary Duplex, for those who parse what flows in it (node:http, undici, http2 over it).
 *
 * I1: 'end' means END_STREAM was received; a reset is an 'error' before 'close', never a clean 'end'.
 * I2: `end()` sends END_STREAM, `destroy()` before both directions are finished sends RST_STREAM.
 */
import { Duplex } from 'node:stream';
import type { AmbitError } from '../base/errors.ts';
import type { ByteEndHandler } from '../net/byte-end.ts';
import type { TunnelEnd } from './tunnel-end.ts';

/** Up to so many a copy costs less than another frame. */
const joinedBytes = 16 * 1024;

type Callback = (error?: Error | null) => void;

export class TunnelStream extends Duplex {
  readonly #end: TunnelEnd;
  #over = false;
  #written: Callback | undefined;

  /** Takes ownership of the end, which must not have been started. */
  constructor(end: TunnelEnd) {
    super({ allowHalfOpen: true, autoDestroy: true });
    this.#end = end;
    // A consumer that is not there yet must not let a reset end the process.
    this.on('error', () => {});
    this.#start();
  }

  override _read(): void {
    this.#end.resume();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, written: Callback): void {
    if (this.#over) written(new Error('the tunnel stream is closed'));
    else if (this.#end.write(chunk)) written();
    else this.#written = written;
  }

  /** What was written in one turn leaves in one frame, when it is little. */
  override _writev(chunks: readonly { readonly chunk: Uint8Array }[], written: Callback): void {
    let length = 0;
    for (const { chunk } of chunks) length += chunk.length;
    const parts = chunks.map(({ chunk }) => chunk);
    if (this.#over) written(new Error('the tunnel stream is closed'));
    else if (this.#writeAll(length <= joinedBytes ? [Buffer.concat(parts, length)] : parts)) written();
    else this.#written = written;
  }

  override _final(finished: Callback): void {
    if (this.#over) finished();
    else this.#end.end(() => finished());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!this.#over) {
      this.#over = true;
      this.#end.cancel();
    }
    const written = this.#written;
    this.#written = undefined;
    written?.(error ?? new Error('the tunnel stream is closed'));
    done(error);
  }

  #writeAll(parts: readonly Uint8Array[]): boolean {
    let room = true;
    for (const part of parts) room = this.#end.write(part);
    return room;
  }

  #start(): void {
    const handler: ByteEndHandler = {
      data: (chunk) => {
        if (!this.push(chunk)) this.#end.pause();
      },
      end: () => {
        this.push(null);
      },
      drain: () => {
        const written = this.#written;
        this.#written = undefined;
        written?.();
      },
      closed: () => {
        this.#over = true;
      },
      broken: (error, whole) => this.#broken(error, whole),
    };
    this.#end.start(handler);
  }

  /** A peer that finished and then stopped listening leaves what it sent readable. */
  #broken(error: AmbitError, whole: boolean): void {
    this.#over = true;
    if (!whole || this.readableEnded) {
      this.destroy(error);
      return;
    }
    this.once('end', () => this.destroy(error));
  }
}
