/**
 * What Node reads of a socket or an HTTP/2 stream, handed on in the same call: past Readable, whose buffer, event and
 * next tick for each chunk cost more than handing it on does.
 *
 * Node gives every chunk to `push` and stops reading from the handle when that returns false. Chunks go round Readable
 * only while nothing lies in its buffer, so order is kept; what comes while paused is buffered there as ever.
 */
import type { Duplex } from 'node:stream';
import { chunkPassed } from './chunk-garbage.ts';

export class DirectReads {
  readonly #duplex: Duplex;
  #flowing = true;
  #ended = false;

  /** Begins to read. The duplex must read from a handle: a net.Socket or an Http2Stream. */
  constructor(duplex: Duplex, deliver: (chunk: Uint8Array) => void) {
    this.#duplex = duplex;
    const push = duplex.push.bind(duplex);
    duplex.push = (chunk: Uint8Array | null, encoding) => {
      if (chunk === null) this.#ended = true;
      else if (this.#flowing && duplex.readableLength === 0) {
        deliver(chunk);
        chunkPassed(chunk.length);
        return this.#flowing;
      }
      return push(chunk, encoding);
    };
    duplex.on('data', deliver);
  }

  pause(): void {
    this.#flowing = false;
    this.#duplex.pause();
  }

  resume(): void {
    if (this.#flowing) return;
    this.#flowing = true;
    const duplex = this.#duplex;
    duplex.resume();
    // Readable may believe that a read is under way: chunks do not come to its own `push`, and pausing an HTTP/2 stream
    // stops its handle behind Readable's back.
    if (!this.#ended && !duplex.destroyed) duplex._read(0);
  }
}
