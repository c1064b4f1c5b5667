/**
 * HPACK's Huffman code (RFC 7541 §5.2, Appendix B), the reading side.
 *
 * The code is canonical: codes of one length are consecutive and in the order of their symbols, so the lengths say all. A machine
 * eats four bits a step; its state is the place in the tree of codes, of which 257 symbols make 256. No code is shorter than five
 * bits, so a step ends at most one symbol.
 *
 * I1: EOS within a string, padding of more than seven bits, and padding of other than ones are refused.
 */

const endOfString = 256;
/** No step of the machine leads on from here. */
const refused = -1;
/** A step is the next state, the symbol that it ended (from bit 8), and whether it ended one. */
const endsSymbol = 1 << 16;

/** Runs of [length in bits, symbols that follow one another with it], from symbol 0 to EOS. */
// biome-ignore format: read as a table
const runs: readonly number[] = [
  13, 1, 23, 1, 28, 7, 24, 1, 30, 1, 28, 2, 30, 1, 28, 8, 30, 1, 28, 9, 6, 1, 10, 2, 12, 1, 13, 1, 6, 1, 8, 1,
  11, 1, 10, 2, 8, 1, 11, 1, 8, 1, 6, 3, 5, 3, 6, 7, 7, 1, 8, 1, 15, 1, 6, 1, 12, 1, 10, 1, 13, 1, 6, 1, 7, 22,
  8, 1, 7, 1, 8, 1, 13, 1, 19, 1, 13, 1, 14, 1, 6, 1, 15, 1, 5, 1, 6, 1, 5, 1, 6, 1, 5, 1, 6, 3, 5, 1, 7, 2,
  6, 3, 5, 1, 6, 1, 7, 1, 6, 1, 5, 2, 6, 1, 7, 5, 15, 1, 11, 1, 14, 1, 13, 1, 28, 1, 20, 1, 22, 1, 20, 2, 22, 3,
  23, 1, 22, 1, 23, 5, 24, 1, 23, 1, 24, 2, 22, 1, 23, 1, 24, 1, 23, 4, 21, 1, 22, 1, 23, 1, 22, 1, 23, 2,
  24, 1, 22, 1, 21, 1, 20, 1, 22, 2, 23, 2, 21, 1, 23, 1, 22, 2, 24, 1, 21, 1, 22, 1, 23, 2, 21, 2, 22, 1,
  21, 1, 23, 1, 22, 1, 23, 2, 20, 1, 22, 3, 23, 1, 22, 2, 23, 1, 26, 2, 20, 1, 19, 1, 22, 1, 23, 1, 22, 1,
  25, 1, 26, 3, 27, 2, 26, 1, 24, 1, 25, 1, 19, 1, 21, 1, 26, 1, 27, 2, 26, 1, 27, 1, 24, 1, 21, 2, 26, 2,
  28, 1, 27, 3, 20, 1, 24, 1, 20, 1, 21, 1, 22, 1, 21, 2, 23, 1, 22, 2, 25, 2, 24, 2, 26, 1, 23, 1, 26, 1,
  27, 1, 26, 2, 27, 5, 28, 1, 27, 5, 26, 1, 30, 1,
];

const { steps, mayEnd } = machine(codeLengths());

/** What most strings fit in when decoded. Shared: nothing is decoded while something else is. */
const shared = Buffer.allocUnsafeSlow(8192);

/** The string, as latin1; undefined: malformed. The source's `start` and `end` are within it. */
export function huffmanText(source: Uint8Array, start: number, end: number): string | undefined {
  const target = roomFor(end - start);
  const length = decode(source, start, end, target);
  return length === refused ? undefined : target.toString('latin1', 0, length);
}

/** Whether `huffmanText` gives one, which is not made. */
export function huffmanIsSound(source: Uint8Array, start: number, end: number): boolean {
  return decode(source, start, end, roomFor(end - start)) !== refused;
}

/** Five bits are the shortest code. */
function roomFor(encodedBytes: number): Buffer {
  const most = Math.ceil((encodedBytes * 8) / 5);
  return most <= shared.length ? shared : Buffer.allocUnsafeSlow(most);
}

/** How many bytes it wrote, or `refused`. */
function decode(source: Uint8Array, start: number, end: number, target: Uint8Array): number {
  let state = 0;
  let length = 0;
  for (let at = start; at < end; at++) {
    const byte = source[at] as number;
    const high = steps[(state << 4) | (byte >> 4)] as number;
    if (high === refused) return refused;
    if (high >= endsSymbol) target[length++] = high >> 8;
    const low = steps[((high & 255) << 4) | (byte & 15)] as number;
    if (low === refused) return refused;
    if (low >= endsSymbol) target[length++] = low >> 8;
    state = low & 255;
  }
  return mayEnd[state] === 1 ? length : refused;
}

function codeLengths(): number[] {
  const lengths: number[] = [];
  for (let at = 0; at < runs.length; at += 2) {
    for (let count = runs[at + 1] as number; count > 0; count--) lengths.push(runs[at] as number);
  }
  return lengths;
}

/** The tree: where a node leads by a 0 and by a 1. A symbol that ends there is kept as -1 - symbol. */
function tree(lengths: readonly number[]): number[] {
  const children = [0, 0];
  let code = 0;
  let before = 0;
  for (let length = 5; length <= 30; length++) {
    for (const [symbol, its] of lengths.entries()) {
      if (its !== length) continue;
      code <<= length - before;
      before = length;
      let node = 0;
      for (let bit = length - 1; bit > 0; bit--) {
        const way = node * 2 + ((code >> bit) & 1);
        if (children[way] === 0) {
          children[way] = children.length / 2;
          children.push(0, 0);
        }
        node = children[way] as number;
      }
      children[node * 2 + (code & 1)] = -1 - symbol;
      code++;
    }
  }
  return children;
}

function machine(lengths: readonly number[]): { steps: Int32Array; mayEnd: Uint8Array } {
  const children = tree(lengths);
  const steps = new Int32Array((children.length / 2) * 16);
  for (let at = 0; at < steps.length; at++) {
    let node = at >> 4;
    let ended = 0;
    for (let bit = 3; bit >= 0 && ended !== refused; bit--) {
      const next = children[node * 2 + ((at >> bit) & 1)] as number;
      if (next >= 0) node = next;
      else if (-1 - next === endOfString) ended = refused;
      else {
        node = 0;
        ended = endsSymbol | ((-1 - next) << 8);
      }
    }
    steps[at] = ended === refused ? refused : ended | node;
  }
  // Up to seven ones, the beginning of EOS, fill the last byte.
  const mayEnd = new Uint8Array(children.length / 2);
  for (let node = 0, ones = 0; ones <= 7; ones++, node = children[node * 2 + 1] as number) mayEnd[node] = 1;
  return { steps, mayEnd };
}
