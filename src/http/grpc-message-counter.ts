/**
 * Counts gRPC messages as they pass (gRPC over HTTP/2, "Length-Prefixed-Message"): a flag, four bytes of length, the message.
 * Nothing is kept but where in a message the last chunk ended.
 *
 * I1: what is no gRPC costs nothing and counts nothing: after a flag that cannot be one, counting stops.
 */
export class GrpcMessageCounter {
  /** Messages that began. */
  count = 0;
  /** Bytes of the current message's prefix that were read, of five. */
  #prefixBytes = 0;
  #length = 0;
  /** Bytes of the current message still to come. */
  #left = 0;
  #broken = false;

  take(chunk: Uint8Array): void {
    if (this.#broken) return;
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const step = Math.min(this.#left, chunk.length - at);
        this.#left -= step;
        at += step;
        continue;
      }
      const byte = chunk[at++] as number;
      if (this.#prefixBytes === 0) {
        // 0 or 1 (compressed); gRPC-Web marks trailers with 0x80.
        if (byte > 1) {
          this.#broken = true;
          return;
        }
        this.count++;
        this.#length = 0;
      } else this.#length = this.#length * 256 + byte;
      this.#prefixBytes++;
      if (this.#prefixBytes < 5) continue;
      this.#prefixBytes = 0;
      this.#left = this.#length;
    }
  }
}
