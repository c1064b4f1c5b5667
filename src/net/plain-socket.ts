/**
 * A TCP socket that is read into one buffer, which all of the thread share. Whoever takes the bytes at once is lent them; others
 * get a copy, from Readable as ever.
 *
 * Node's own reads take 64 KiB of memory each and keep what came in it. Reads of TLS sockets leave a block with some room, reads of
 * plain ones need a whole one: where both come in turns, as in every proxy here, each round trip of a byte would cost 64 KiB, and
 * V8 answers with whole collections, two a second. They were a sixth of a ztunnel's CPU and its p99.
 *
 * I1: what is lent is the next reader's when the call returns.
 */
import { Socket, type SocketConstructorOpts } from 'node:net';
import type { DuplexOptions } from 'node:stream';

/** As much as one read takes. Its bytes are of whoever reads, until the call returns. */
export const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);
/** What may wait to be written before its source is paused, bytes: several TLS reads. */
export const highWaterMark = 256 * 1024;
/** Node's types know `highWaterMark` of servers alone; it reaches the stream of any socket. */
export const socketOptions: SocketConstructorOpts & DuplexOptions = { allowHalfOpen: true, highWaterMark };

export class PlainSocket extends Socket {
  #taker: ((lent: Buffer) => boolean) | undefined;

  /** `fd`: is owned from now on, unless this throws. Keeps its directions apart. */
  constructor(options: Pick<SocketConstructorOpts, 'fd' | 'readable' | 'writable'> = {}) {
    super({
      ...socketOptions,
      ...options,
      onread: { buffer: readBuffer, callback: (bytes) => this.#arrived(readBuffer.subarray(0, bytes)) },
    });
  }

  /** From now on `taker` gets what is read, and has until it returns. False: nothing more is read until `_read` is called. */
  lendTo(taker: (lent: Buffer) => boolean): void {
    this.#taker = taker;
  }

  #arrived(lent: Buffer): boolean {
    return this.#taker === undefined ? this.push(ownCopy(lent)) : this.#taker(lent);
  }
}

/** Of bytes that were lent. */
export function ownCopy(lent: Uint8Array): Buffer {
  return Buffer.from(lent);
}
