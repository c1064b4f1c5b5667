/**
 * Frames to be sent (RFC 9113 §4), gathered: what is written in one turn of the event loop leaves in one write, and so mostly in one
 * TLS record and one system call. Frames are copied into a block that all sessions lend in turn, so an idle session holds none.
 *
 * I1: a block is not written to again before the socket has taken what was handed to it.
 * I2: the bound is the caller's: who asks `full` before DATA holds at most `roomBytes` and one chunk of each stream here.
 */
import type { Duplex } from 'node:stream';
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
  #flushing = false;
  #stopped = false;
  readonly #flush = () => {
    this.#flushing = false;
    if (this.#inFlight === 0) this.#hand();
  };
  readonly #taken = () => {
    this.#inFlight--;
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

  /** A frame whose payload is small. */
  frame(type: number, flags: number, stream: number, payload: Uint8Array = nothing): void {
    this.#write(type, flags, stream, payload, 0, payload.length);
  }

  /** DATA of `chunk` from `from` to `to`, which fits into the peer's frames. */
  data(stream: number, chunk: Uint8Array, from: number, to: number): void {
    this.#write(frameType.data, 0, stream, chunk, from, to);
  }

  /** A header block, in as many frames as it takes. */
  headers(stream: number, block: Uint8Array, isEnd: boolean, maxFrameBytes: number): void {
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
    setImmediate(this.#flush);
  }

  /** With room for `bytes` more, behind what was written. */
  #blockFor(bytes: number): Buffer {
    const block = this.#block;
    if (block !== undefined && block.length - this.#written >= bytes) return block;
    if (block !== undefined) {
      this.#hand();
      if (this.#inFlight > 0) this.#leaving.push(block);
      else giveBack(block);
    }
    this.#handed = 0;
    this.#written = 0;
    this.#block =
      bytes > blockBytes ? Buffer.allocUnsafeSlow(bytes) : (spare.pop() ?? Buffer.allocUnsafeSlow(blockBytes));
    return this.#block;
  }

  #hand(): void {
    const block = this.#block;
    if (block === undefined || this.#handed === this.#written || this.#stopped) return;
    const bytes = block.subarray(this.#handed, this.#written);
    this.#handed = this.#written;
    this.#inFlight++;
    this.#socket.write(bytes, this.#taken);
  }

  #socketIsIdle(): void {
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
