/**
 * HPACK's dynamic table of a decoder (RFC 7541 §2.3.2, §4): the latest entries first, in a ring.
 *
 * I1: the sizes of the entries (name + value + 32 each) are together at most the capacity.
 * I2: an entry is added and evicted once, each at a constant cost; the ring grows by doubling with what is in it.
 */

/** What an entry counts beyond its name and value (RFC 7541 §4.1, RFC 9113 §6.5.2). */
export const entryOverhead = 32;

export class DynamicTable {
  #capacity: number;
  #bytes = 0;
  #count = 0;
  /** Where the next entry goes; a name is at twice its place, its value behind it. */
  #next = 0;
  #ring: (string | undefined)[] = [];
  #mask = -1;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The latest is at 0. Undefined: there is none. */
  name(at: number): string | undefined {
    return at < this.#count ? this.#ring[((this.#next - 1 - at) & this.#mask) * 2] : undefined;
  }

  /** Of an entry that is there. */
  value(at: number): string {
    return this.#ring[((this.#next - 1 - at) & this.#mask) * 2 + 1] as string;
  }

  /** Evicts what no longer fits (RFC 7541 §4.3). */
  resize(capacity: number): void {
    this.#capacity = capacity;
    this.#evictTo(capacity);
  }

  /** An entry larger than the capacity empties the table and is not kept (RFC 7541 §4.4). */
  add(name: string, value: string): void {
    const bytes = name.length + value.length + entryOverhead;
    this.#evictTo(this.#capacity - bytes);
    if (bytes > this.#capacity) return;
    if (this.#count > this.#mask) this.#grow();
    this.#ring[this.#next * 2] = name;
    this.#ring[this.#next * 2 + 1] = value;
    this.#next = (this.#next + 1) & this.#mask;
    this.#count++;
    this.#bytes += bytes;
  }

  #evictTo(bytes: number): void {
    while (this.#bytes > bytes && this.#count > 0) {
      const at = ((this.#next - this.#count) & this.#mask) * 2;
      this.#bytes -= (this.#ring[at] as string).length + (this.#ring[at + 1] as string).length + entryOverhead;
      this.#ring[at] = undefined;
      this.#ring[at + 1] = undefined;
      this.#count--;
    }
  }

  /** To a power of two, from the oldest on. */
  #grow(): void {
    const grown: (string | undefined)[] = [];
    for (let at = this.#count - 1; at >= 0; at--) grown.push(this.name(at), this.value(at));
    const places = Math.max(8, this.#count * 2);
    while (grown.length < places * 2) grown.push(undefined);
    this.#ring = grown;
    this.#mask = places - 1;
    this.#next = this.#count;
  }
}
