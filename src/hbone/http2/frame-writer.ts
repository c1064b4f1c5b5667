/**
 * Frames to be sent (RFC 9113 §4), gathered: what is written in one turn of the event loop, or while one batch of sockets is
 * read, leaves in one write, and so mostly in one TLS record and one system call. Frames are copied into a block that all sessions
 * lend in turn, so an idle session holds none.
 *
 * I1: a block is not written to again, by whatever session, before the socket has taken all that was handed to it. One of which a
 *     write failed, or whose session was stopped, is lent to nobody any more; a new block is there before the old one is let go.
 * I2: the bounds are the caller's: who asks `full` before DATA holds at most `roomBytes` and one chunk of each stream here, and
 *     `controlBytes` says how much of all else waits.
 */
import type { Duplex } from 'node:stream';
import { atBatchEnd } from '../../net/batch-end.ts';
import { flag, frameType, headBytes } from './codes.ts';

const blockBytes = 256 * 1024;
/** Above so much that the socket has not taken, writers wait. */
const roomBytes = 512 * 1024;
/** Blocks kept for the next who needs one. */
const mostSpare = 8;
const spare: Buffer[] = [];
const nothing = Buffer.alloc(0);

export class FrameWriter {
  readonly #socket: Duplex;
  readonly #onRoom: () => void;
  #block: Buffer | undefined;
  /** Of the block: handed to the socket up to here, written up to there. */
  #handed = 0;
  #written = 0;
  /** Full blocks that the socket has not taken yet. */
  readonly #leaving: Buffer[] = [];
  #inFlight = 0;
  /** Frames but for DATA, in bytes from the beginning on. */
  #controlWritten = 0;
  #controlHanded = 0;
  #controlTaken = 0;
  /** At the end of this batch or turn. */
  #flushing = false;
  #stopped = false;
  readonly #flush = () => {
    this.#flushing = false;
    if (this.#inFlight === 0) this.#hand();
  };
  readonly #taken = (error?: Error | null) => {
    this.#inFlight--;
    // The socket is going, and will say so: what it did with these bytes is not known.
    if (error) this.stop();
    if (this.#inFlight === 0) this.#socketIsIdle();
  };

  /** `onRoom`: everything was taken. */
  constructor(socket: Duplex, onRoom: () => void) {
    this.#socket = socket;
    this.#onRoom = onRoom;
  }

  /** Bytes the socket has not taken. */
  get heldBytes(): number {
    return this.#socket.writableLength + this.#written - this.#handed;
  }

  get full(): boolean {
    return this.heldBytes > roomBytes;
  }

  /** Of those the socket has not taken: frames other than DATA. No window bounds them, and most of them answer the peer. */
  get controlBytes(): number {
    return this.#controlWritten - this.#controlTaken;
  }

  /** A frame whose payload is small. */
  frame(type: number, flags: number, stream: number, payload: Uint8Array = nothing): void {
    this.#controlWritten += headBytes + payload.length;
    this.#write(type, flags, stream, payload, 0, payload.length);
  }

  /** DATA of `chunk` from `from` to `to`, which fits into the peer's frames. */
  data(stream: number, chunk: Uint8Array, from: number, to: number): void {
    this.#write(frameType.data, 0, stream, chunk, from, to);
  }

  /** A header block, in as many frames as it takes. */
  headers(stream: number, block: Uint8Array, isEnd: boolean, maxFrameBytes: number): void {
    this.#controlWritten += headBytes + block.length;
    let type: number = frameType.headers;
    for (let from = 0; ; from += maxFrameBytes) {
      const to = Math.min(block.length, from + maxFrameBytes);
      const isLast = to === block.length;
      const flags = (isLast ? flag.endHeaders : 0) | (isEnd && from === 0 ? flag.endStream : 0);
      this.#write(type, flags, stream, block, from, to);
      if (isLast) return;
      type = frameType.continuation;
    }
  }

  /** Hands over what was written and ends the socket's sending side. */
  end(): void {
    if (this.#stopped) return;
    this.#hand();
    this.#stopped = true;
    this.#socket.end();
  }

  /** The socket is gone. */
  stop(): void {
    this.#stopped = true;
    this.#leaving.length = 0;
    // What the socket was writing may still be read by the kernel: the block is left to the garbage collector.
    this.#block = undefined;
  }

  #write(type: number, flags: number, stream: number, bytes: Uint8Array, from: number, to: number): void {
    if (this.#stopped) return;
    const length = to - from;
    const block = this.#blockFor(headBytes + length);
    let at = this.#written;
    block[at++] = length >>> 16;
    block[at++] = length >>> 8;
    block[at++] = length;
    block[at++] = type;
    block[at++] = flags;
    block[at++] = stream >>> 24;
    block[at++] = stream >>> 16;
    block[at++] = stream >>> 8;
    block[at++] = stream;
    if (length > 0) block.set(length === bytes.length ? bytes : bytes.subarray(from, to), at);
    this.#written = at + length;
    if (this.#flushing) return;
    this.#flushing = true;
    atBatchEnd(this.#flush);
  }

  /** With room for `bytes` more, behind what was written. */
  #blockFor(bytes: number): Buffer {
    const block = this.#block;
    if (block !== undefined && block.length - this.#written >= bytes) return block;
    const next = this.#nextBlock(bytes);
    if (block !== undefined) {
      this.#hand();
      if (this.#inFlight > 0) this.#leaving.push(block);
      else giveBack(block);
    }
    this.#handed = 0;
    this.#written = 0;
    this.#block = next;
    return next;
  }

  /** Without memory for a frame the connection cannot go on: what comes behind it would look whole. */
  #nextBlock(bytes: number): Buffer {
    try {
      if (bytes > blockBytes) return Buffer.allocUnsafeSlow(bytes);
      return spare.pop() ?? Buffer.allocUnsafeSlow(blockBytes);
    } catch (error) {
      this.stop();
      this.#socket.destroy();
      throw error;
    }
  }

  #hand(): void {
    const block = this.#block;
    if (block === undefined || this.#handed === this.#written || this.#stopped) return;
    const bytes = block.subarray(this.#handed, this.#written);
    this.#handed = this.#written;
    this.#controlHanded = this.#controlWritten;
    this.#inFlight++;
    this.#socket.write(bytes, this.#taken);
  }

  #socketIsIdle(): void {
    this.#controlTaken = this.#controlHanded;
    for (const block of this.#leaving.splice(0)) giveBack(block);
    if (this.#handed < this.#written) {
      if (!this.#flushing) this.#hand();
    } else if (this.#block !== undefined) {
      giveBack(this.#block);
      this.#block = undefined;
      this.#handed = 0;
      this.#written = 0;
    }
    if (!this.#stopped) this.#onRoom();
  }
}

function giveBack(block: Buffer): void {
  if (block.length === blockBytes && spare.length < mostSpare) spare.push(block);
}
