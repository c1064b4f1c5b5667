/**
 * What a peer sent and nobody has taken yet, in order. A chunk is kept as it is when it is most of what was read with it; others are
 * copied, since each would hold an object, and the whole record it came in: a peer that sends a window of single bytes must not
 * cost a hundred times that.
 *
 * I1: what was taken is held no more, also when there is always something left: a slow reader of a fast peer.
 */

/** Below, chunks are copied together. */
const largeBytes = 2048;
const largestTail = 16 * 1024;
/** So many places of chunks that were taken may be empty. */
const mostEmpty = 256;

export class KeptBytes {
  readonly #chunks: (Uint8Array | undefined)[] = [];
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
      this.#chunks.push(chunk.length * 2 >= chunk.buffer.byteLength ? chunk : copyOf(chunk));
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
    this.#chunks[this.#first++] = undefined;
    this.#bytes -= chunk.length;
    if (this.#first === this.#chunks.length || this.#first === mostEmpty) {
      this.#chunks.splice(0, this.#first);
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

function copyOf(chunk: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(chunk.length);
  copy.set(chunk);
  return copy;
}
