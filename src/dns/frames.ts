/**
 * DNS messages on TCP: each behind its length (RFC 1035 §4.2.2). Copies each byte once, however small the pieces are.
 *
 * I1: never holds more than one message and what came with it; a longer message than allowed is told at once.
 */

export class MessageFrames {
  readonly #longest: number;
  readonly #prefix = Buffer.alloc(2);
  #prefixBytes = 0;
  #message: Buffer | undefined;
  #messageBytes = 0;

  /** `longest`: of one message, bytes. */
  constructor(longest = 0xffff) {
    this.#longest = longest;
  }

  /** Whether a message has begun that is not whole. */
  get partial(): boolean {
    return this.#prefixBytes > 0;
  }

  /** Calls back for each message that is whole now. False: a message is too long, and nothing after it can be read. */
  push(chunk: Buffer, onMessage: (message: Buffer) => void): boolean {
    let at = 0;
    while (at < chunk.length) {
      if (this.#message === undefined) {
        this.#prefix[this.#prefixBytes++] = chunk[at++] as number;
        if (this.#prefixBytes < 2) continue;
        const length = this.#prefix.readUInt16BE(0);
        if (length > this.#longest) return false;
        this.#message = Buffer.alloc(length);
        this.#messageBytes = 0;
      }
      const message = this.#message;
      const taken = chunk.copy(message, this.#messageBytes, at);
      this.#messageBytes += taken;
      at += taken;
      if (this.#messageBytes < message.length) break;
      this.#message = undefined;
      this.#prefixBytes = 0;
      onMessage(message);
    }
    return true;
  }
}

export function framed(message: Uint8Array): Buffer {
  const frame = Buffer.alloc(2 + message.length);
  frame.writeUInt16BE(message.length, 0);
  frame.set(message, 2);
  return frame;
}
