/**
 * What a socket has not taken yet, in order. Small pieces are copied together: each would hold an object, and the whole read that it
 * came in, so that a peer which sends single bytes to who does not read would cost a hundred times what is counted.
 */

/** Below, pieces are copied together. */
const largeBytes = 4096;
const largestTail = 16 * 1024;

export class WriteQueue {
  readonly #chunks: Uint8Array[] = [];
  /** The last of the chunks while there is room in it. */
  #tail: Buffer | undefined;
  #tailHas = 0;
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** `mayKeep`: it stays as it is until it has left. */
  add(chunk: Uint8Array, mayKeep: boolean): void {
    this.#bytes += chunk.length;
    if (chunk.length >= largeBytes) {
      this.#closeTail();
      this.#chunks.push(mayKeep ? chunk : copyOf(chunk));
      return;
    }
    if (this.#tail !== undefined && this.#tail.length - this.#tailHas < chunk.length) this.#closeTail();
    this.#tail ??= Buffer.allocUnsafeSlow(Math.min(largestTail, Math.max(chunk.length, 512, this.#bytes)));
    this.#tail.set(chunk, this.#tailHas);
    this.#tailHas += chunk.length;
  }

  /** All of it, for the socket; nothing may be added until `sent` is called. */
  get chunks(): readonly Uint8Array[] {
    this.#closeTail();
    return this.#chunks;
  }

  /** The first `bytes` have left. */
  sent(bytes: number): void {
    this.#bytes -= bytes;
    const chunks = this.#chunks;
    let left = bytes;
    let whole = 0;
    for (; whole < chunks.length; whole++) {
      const { length } = chunks[whole] as Uint8Array;
      if (left < length) break;
      left -= length;
    }
    if (whole > 0) chunks.splice(0, whole);
    const [first] = chunks;
    if (left > 0 && first !== undefined) chunks[0] = first.subarray(left);
  }

  clear(): void {
    this.#chunks.length = 0;
    this.#tail = undefined;
    this.#tailHas = 0;
    this.#bytes = 0;
  }

  #closeTail(): void {
    if (this.#tail === undefined) return;
    this.#chunks.push(this.#tail.subarray(0, this.#tailHas));
    this.#tail = undefined;
    this.#tailHas = 0;
  }
}

function copyOf(chunk: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(chunk.length);
  copy.set(chunk);
  return copy;
}
