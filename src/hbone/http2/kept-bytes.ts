/**
 * What a peer sent and nobody has taken yet, in order. A chunk is kept as it is when it is large; small ones are copied together, since
 * each would hold an object, and the whole record it came in: a peer that sends a window of single bytes must not cost a
 * hundred times that.
 */

/** From here on a chunk is kept as it is. */
const largeBytes = 2048;
const largestTail = 16 * 1024;

export class KeptBytes {
  readonly #chunks: Uint8Array[] = [];
  #first = 0;
  /** The last of the chunks while there is room in it. */
  #tail: Buffer | undefined;
  #tailHas = 0;
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  add(chunk: Uint8Array): void {
    this.#bytes += chunk.length;
    if (chunk.length >= largeBytes) {
      this.#closeTail();
      this.#chunks.push(chunk);
      return;
    }
    if (this.#tail !== undefined && this.#tail.length - this.#tailHas < chunk.length) this.#closeTail();
    this.#tail ??= Buffer.allocUnsafeSlow(Math.min(largestTail, Math.max(chunk.length, 512, this.#bytes)));
    this.#tail.set(chunk, this.#tailHas);
    this.#tailHas += chunk.length;
  }

  take(): Uint8Array | undefined {
    if (this.#first === this.#chunks.length) this.#closeTail();
    const chunk = this.#chunks[this.#first];
    if (chunk === undefined) return undefined;
    this.#first++;
    this.#bytes -= chunk.length;
    if (this.#first === this.#chunks.length) {
      this.#chunks.length = 0;
      this.#first = 0;
    }
    return chunk;
  }

  #closeTail(): void {
    if (this.#tail === undefined) return;
    this.#chunks.push(this.#tail.subarray(0, this.#tailHas));
    this.#tail = undefined;
    this.#tailHas = 0;
  }
}
