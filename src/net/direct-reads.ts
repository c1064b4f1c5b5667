/**
 * What Node reads of a socket or an HTTP/2 stream, handed on in the same call: past Readable, whose buffer, event and
 * next tick for each chunk cost more than handing it on does.
 *
 * A plain socket lends what it reads (`plain-socket.ts`). Of others Node gives every chunk to `push`, and stops reading from the
 * handle when that returns false. What comes all the same is kept here, in order: at most what the window of an HTTP/2 stream had
 * room for, or one read of a socket.
 *
 * I1: the handle reads on only once all of that was handed on. An HTTP/2 stream that reads on, which each `resume` of Readable
 *     makes it do, gives its peer window for all that came before, taken or not: a reader that pauses often would let in
 *     a window each time, and hold it all.
 */
import type { Duplex } from 'node:stream';
import { chunkPassed } from '../base/chunk-garbage.ts';
import { ownCopy, PlainSocket } from './plain-socket.ts';

export class DirectReads {
  readonly #duplex: Duplex;
  readonly #deliver: (chunk: Uint8Array, lent: boolean) => void;
  readonly #push: Duplex['push'];
  readonly #kept: Uint8Array[] = [];
  /** Of what is kept, handed on already. */
  #handed = 0;
  #keptBytes = 0;
  #flowing = true;
  #ended = false;
  /** The end stands behind what is kept. */
  #endWaits = false;

  /** Begins to read. The duplex must read from a handle: a net.Socket or an Http2Stream. */
  constructor(duplex: Duplex, deliver: (chunk: Uint8Array, lent: boolean) => void) {
    this.#duplex = duplex;
    this.#deliver = deliver;
    this.#push = duplex.push.bind(duplex);
    duplex.push = (chunk: Uint8Array | null, encoding) => this.#arrived(chunk, encoding);
    if (duplex instanceof PlainSocket) duplex.lendTo((lent) => this.#lent(lent));
    // What was read before.
    duplex.on('data', (chunk: Uint8Array) => {
      deliver(chunk, false);
      this.#readOn();
    });
  }

  get heldBytes(): number {
    return this.#keptBytes + this.#duplex.readableLength;
  }

  pause(): void {
    this.#flowing = false;
    if (this.#duplex.readableLength > 0) this.#duplex.pause();
  }

  resume(): void {
    if (this.#flowing) return;
    this.#flowing = true;
    if (this.#duplex.isPaused()) this.#duplex.resume();
    this.#handOn();
    this.#readOn();
  }

  #lent(chunk: Buffer): boolean {
    if (!this.#taken || !this.#flowing || this.#duplex.readableLength > 0)
      return this.#arrived(ownCopy(chunk), undefined);
    this.#deliver(chunk, true);
    return this.#flowing;
  }

  #arrived(chunk: Uint8Array | null, encoding: BufferEncoding | undefined): boolean {
    if (chunk === null) {
      this.#ended = true;
      if (this.#taken) return this.#push(null);
      this.#endWaits = true;
      return false;
    }
    if (this.#taken && this.#duplex.readableLength > 0) return this.#push(chunk, encoding);
    if (this.#taken && this.#flowing) {
      this.#deliver(chunk, false);
      chunkPassed(chunk.length);
      return this.#flowing;
    }
    this.#kept.push(chunk);
    this.#keptBytes += chunk.length;
    return false;
  }

  /** Who is handed a chunk may pause, and resume, in the same call. */
  #handOn(): void {
    const kept = this.#kept;
    while (this.#flowing && this.#handed < kept.length) {
      const chunk = kept[this.#handed++] as Uint8Array;
      this.#keptBytes -= chunk.length;
      this.#deliver(chunk, false);
      chunkPassed(chunk.length);
    }
    if (!this.#taken) return;
    kept.length = 0;
    this.#handed = 0;
    if (this.#endWaits) {
      this.#endWaits = false;
      this.#push(null);
    }
  }

  get #taken(): boolean {
    return this.#handed === this.#kept.length;
  }

  /** Readable may believe that a read is under way: chunks do not come to its own `push`. */
  #readOn(): void {
    const duplex = this.#duplex;
    const taken = this.#taken && duplex.readableLength === 0;
    if (this.#flowing && taken && !this.#ended && !duplex.destroyed) duplex._read(0);
  }
}
