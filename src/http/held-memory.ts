/**
 * Memory for bodies that are held before they go on: so much for all of them, and of that a share for each client, so that who
 * begins bodies and does not send them takes no memory for those of others.
 */

/** Of all, how much one client may have. */
const clientPart = 1 / 4;

export class HeldMemory {
  readonly #maxBytes: number;
  /** A client without any is not in it. */
  readonly #ofClients = new Map<string, number>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Of all clients. */
  get bytes(): number {
    return this.#bytes;
  }

  /** False: there is no room for so many, and nothing was taken. */
  take(client: string, bytes: number): boolean {
    const own = (this.#ofClients.get(client) ?? 0) + bytes;
    if (this.#bytes + bytes > this.#maxBytes || own > this.#maxBytes * clientPart) return false;
    this.#bytes += bytes;
    if (own > 0) this.#ofClients.set(client, own);
    return true;
  }

  /** What was taken. */
  release(client: string, bytes: number): void {
    this.#bytes -= bytes;
    const left = (this.#ofClients.get(client) ?? 0) - bytes;
    if (left > 0) this.#ofClients.set(client, left);
    else this.#ofClients.delete(client);
  }
}
