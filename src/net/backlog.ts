/**
 * Bytes that somebody cannot take yet, in order: copied into blocks, and never kept as they came. A chunk would hold the whole read it
 * came in, and what is held longer than two young collections is old to V8: a steady backlog of chunks is a steady stream of
 * old garbage, and costs whole collections. Large blocks are lent from a store of the thread and come back to it.
 *
 * I1: a block is no larger than what waits when it is made, or 512 bytes.
 * I2: a block is nobody else's before its bytes were taken.
 */

const leastBytes = 512;
const blockBytes = 64 * 1024;
/** Blocks kept for the next who need one. */
const mostSpare = 16;
const spare: Buffer[] = [];

interface Block {
  readonly bytes: Buffer;
  from: number;
  to: number;
}

export class Backlog {
  readonly #blocks: Block[] = [];
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  add(chunk: Uint8Array): void {
    for (let from = 0; from < chunk.length; ) {
      const block = this.#room(chunk.length - from);
      const count = Math.min(chunk.length - from, block.bytes.length - block.to);
      block.bytes.set(count === chunk.length ? chunk : chunk.subarray(from, from + count), block.to);
      block.to += count;
      this.#bytes += count;
      from += count;
    }
  }

  /** The first bytes, until they are consumed; undefined: there are none. */
  first(): Uint8Array | undefined {
    const [block] = this.#blocks;
    return block?.bytes.subarray(block.from, block.to);
  }

  /** So many of `first` are done with. */
  consume(count: number): void {
    const [block] = this.#blocks;
    if (block === undefined) return;
    block.from += count;
    this.#bytes -= count;
    if (block.from === block.to) giveBack(this.#blocks.shift() as Block);
  }

  /** Lends the first bytes to `taker` until it returns. Meanwhile more may be added and given. False: there are none. */
  give(taker: (lent: Uint8Array) => void): boolean {
    const block = this.#blocks.shift();
    if (block === undefined) return false;
    this.#bytes -= block.to - block.from;
    taker(block.bytes.subarray(block.from, block.to));
    giveBack(block);
    return true;
  }

  /** Nobody wants it any more. */
  drop(): void {
    for (const block of this.#blocks.splice(0)) giveBack(block);
    this.#bytes = 0;
  }

  /** A block with room, for about so many bytes. */
  #room(bytes: number): Block {
    const last = this.#blocks.at(-1);
    if (last !== undefined && last.to < last.bytes.length) return last;
    const size = Math.min(blockBytes, Math.max(leastBytes, bytes, this.#bytes));
    const block = {
      bytes: (size === blockBytes ? spare.pop() : undefined) ?? Buffer.allocUnsafeSlow(size),
      from: 0,
      to: 0,
    };
    this.#blocks.push(block);
    return block;
  }
}

function giveBack({ bytes }: Block): void {
  if (bytes.length === blockBytes && spare.length < mostSpare) spare.push(bytes);
}
