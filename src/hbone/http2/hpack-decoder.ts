/**
 * HPACK's decoder (RFC 7541) of one connection: blocks in the order in which they came.
 *
 * I1: whatever the bytes are, nothing throws; a block that is refused leaves a decoder that refuses every further one.
 * I2: the cost of a block is in proportion to its bytes. A byte can stand for an entry of 4 KiB: what is collected of a list ends
 *     at `maxListBytes`, while the table stays that of the peer's encoder to the block's end.
 * I3: strings are copies, so a table never keeps a block alive.
 *
 * Measured with a CONNECT of five fields and 255 bytes: about 1 µs from an encoder with Huffman and a warm table (46 bytes on the
 * wire), 2 µs of plain literals, 3 µs when all of it is Huffman.
 */
import { DynamicTable, entryOverhead } from './dynamic-table.ts';
import { huffmanIsSound, huffmanText } from './huffman.ts';
import { firstDynamicIndex, staticNames, staticValues } from './static-table.ts';

export interface DecodedFields {
  /** Name, value, name, value …; names as they were sent. */
  readonly fields: readonly string[];
  /** The list was larger than allowed: `fields` holds what came before. The decoder goes on with the next block. */
  readonly tooLarge: boolean;
}

/** An encoder's table before it has seen our SETTINGS (RFC 9113 §6.5.2). */
const initialTableBytes = 4096;
/** An encoder needs two: the smallest size since the last block, and the size now (RFC 7541 §4.2). */
const maxSizeUpdates = 8;
/** Bytes behind the prefix of an integer, and the largest that is accepted (RFC 7541 §5.1 lets us choose). */
const maxContinuations = 5;
const maxInteger = 2 ** 31 - 1;
const malformed = -1;
const nothing = Buffer.alloc(0);

export class HpackDecoder {
  readonly #maxListBytes: number;
  readonly #tableBytes: number;
  /** What a size update may say: 4096 may have been said before our lower setting was seen. */
  #mostTableBytes: number;
  readonly #table = new DynamicTable(initialTableBytes);
  #broken = false;

  // The block at hand.
  #block: Buffer = nothing;
  #at = 0;
  #fields: string[] = [];
  #listBytes = 0;

  /**
   * `maxListBytes`: size of a list as RFC 9113 §6.5.2 counts it, with 32 bytes for each field. `tableBytes`: what our
   * SETTINGS_HEADER_TABLE_SIZE says, 4096 when it was not sent. The table begins with 4096 whatever it says, and grows or shrinks
   * by what the encoder says.
   */
  constructor(options: { readonly maxListBytes: number; readonly tableBytes?: number }) {
    this.#maxListBytes = options.maxListBytes;
    this.#tableBytes = options.tableBytes ?? initialTableBytes;
    this.#mostTableBytes = Math.max(this.#tableBytes, initialTableBytes);
  }

  /** A whole block, HEADERS and CONTINUATIONs joined; the caller bounds its length. Undefined: malformed, a connection error COMPRESSION_ERROR. */
  decode(block: Uint8Array): DecodedFields | undefined {
    if (this.#broken) return undefined;
    this.#block = Buffer.isBuffer(block) ? block : Buffer.from(block.buffer, block.byteOffset, block.byteLength);
    this.#at = 0;
    this.#fields = [];
    this.#listBytes = 0;
    const sound = this.#sizeUpdates() && this.#representations();
    const decoded = { fields: this.#fields, tooLarge: this.#listBytes > this.#maxListBytes };
    this.#block = nothing;
    this.#fields = [];
    if (sound) return decoded;
    this.#broken = true;
    this.#table.resize(0);
    return undefined;
  }

  /** Only at a block's beginning (RFC 7541 §4.2, §6.3). */
  #sizeUpdates(): boolean {
    const block = this.#block;
    for (let updates = 0; this.#at < block.length && (block[this.#at] as number) >> 5 === 1; updates++) {
      const bytes = this.#integer(0x1f);
      if (bytes === malformed || bytes > this.#mostTableBytes || updates === maxSizeUpdates) return false;
      if (bytes <= this.#tableBytes) this.#mostTableBytes = this.#tableBytes;
      this.#table.resize(bytes);
    }
    return true;
  }

  #representations(): boolean {
    const block = this.#block;
    while (this.#at < block.length) {
      const first = block[this.#at] as number;
      if (first >= 0x80) {
        if (!this.#indexed()) return false;
      } else if (first >= 0x40) {
        if (!this.#literal(0x3f, true)) return false;
      } else if (first >= 0x20 || !this.#literal(0x0f, false)) return false;
    }
    return true;
  }

  /** RFC 7541 §6.1. */
  #indexed(): boolean {
    const index = this.#integer(0x7f);
    const name = this.#nameAt(index);
    if (name === undefined) return false;
    this.#collect(
      name,
      index < firstDynamicIndex ? (staticValues[index] as string) : this.#table.value(index - firstDynamicIndex),
    );
    return true;
  }

  /** RFC 7541 §6.2. What is neither collected nor added to the table is read past. */
  #literal(prefix: number, indexing: boolean): boolean {
    const wanted = indexing || this.#listBytes <= this.#maxListBytes;
    const index = this.#integer(prefix);
    const name = index === 0 ? this.#string(wanted) : this.#nameAt(index);
    if (name === undefined) return false;
    const value = this.#string(wanted);
    if (value === undefined) return false;
    if (indexing) this.#table.add(name, value);
    if (wanted) this.#collect(name, value);
    return true;
  }

  #collect(name: string, value: string): void {
    // It only grows: behind the first that is too much, a smaller one is not collected either.
    this.#listBytes += name.length + value.length + entryOverhead;
    if (this.#listBytes <= this.#maxListBytes) this.#fields.push(name, value);
  }

  /** Undefined: nothing is there; index 0, or `malformed`, also. */
  #nameAt(index: number): string | undefined {
    if (index >= firstDynamicIndex) return this.#table.name(index - firstDynamicIndex);
    return index > 0 ? staticNames[index] : undefined;
  }

  /** RFC 7541 §5.1. The prefix is a mask of the first byte. */
  #integer(prefix: number): number {
    const block = this.#block;
    // A string's length may be where the block has ended.
    if (this.#at >= block.length) return malformed;
    const start = (block[this.#at++] as number) & prefix;
    if (start < prefix) return start;
    let value = start;
    let factor = 1;
    for (let count = 0; count < maxContinuations && this.#at < block.length; count++) {
      const byte = block[this.#at++] as number;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value <= maxInteger ? value : malformed;
      factor *= 128;
    }
    return malformed;
  }

  /** RFC 7541 §5.2. Undefined: malformed. Not wanted: it is checked, and empty. */
  #string(wanted: boolean): string | undefined {
    const block = this.#block;
    const huffman = this.#at < block.length && (block[this.#at] as number) >= 0x80;
    const length = this.#integer(0x7f);
    const start = this.#at;
    if (length === malformed || length > block.length - start) return undefined;
    const end = start + length;
    this.#at = end;
    if (!wanted) return !huffman || huffmanIsSound(block, start, end) ? '' : undefined;
    return huffman ? huffmanText(block, start, end) : block.toString('latin1', start, end);
  }
}
