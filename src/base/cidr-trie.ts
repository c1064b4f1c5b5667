/**
 * Longest-prefix search over CIDR blocks: a binary trie per address family, at most 128 steps for a look-up.
 *
 * I1: a block holds each value once; blocks without values are pruned, so memory follows the content.
 * Families never match across, and an IPv4-mapped address is looked up as IPv4 (see address.ts, I1).
 */
import { type Cidr, ipToBytes } from './address.ts';

interface Node<T> {
  zero: Node<T> | undefined;
  one: Node<T> | undefined;
  values: T[] | undefined;
}

export class CidrTrie<T> {
  #v4 = newNode<T>();
  #v6 = newNode<T>();
  #size = 0;

  /** Number of (block, value) pairs. */
  get size(): number {
    return this.#size;
  }

  add(cidr: Cidr, value: T): void {
    let node = this.#root(cidr.bytes);
    for (let bit = 0; bit < cidr.prefix; bit++) {
      if (bitAt(cidr.bytes, bit)) node = node.one ??= newNode();
      else node = node.zero ??= newNode();
    }
    node.values ??= [];
    if (node.values.includes(value)) return;
    node.values.push(value);
    this.#size++;
  }

  /** Whether the pair was there. */
  delete(cidr: Cidr, value: T): boolean {
    const path = [this.#root(cidr.bytes)];
    for (let bit = 0; bit < cidr.prefix; bit++) {
      const last = path[bit] as Node<T>;
      const next = bitAt(cidr.bytes, bit) ? last.one : last.zero;
      if (next === undefined) return false;
      path.push(next);
    }
    const node = path[cidr.prefix] as Node<T>;
    const index = node.values?.indexOf(value) ?? -1;
    if (node.values === undefined || index < 0) return false;
    node.values.splice(index, 1);
    this.#size--;
    if (node.values.length === 0) node.values = undefined;
    prune(path, cidr.bytes);
    return true;
  }

  /** Values of every block that holds the canonical address, most specific block first. */
  matches(ip: string): readonly (readonly T[])[] {
    const bytes = ipToBytes(ip);
    const found: (readonly T[])[] = [];
    let node: Node<T> | undefined = this.#root(bytes);
    for (let bit = 0; node !== undefined; bit++) {
      if (node.values !== undefined) found.push(node.values);
      if (bit === bytes.length * 8) break;
      node = bitAt(bytes, bit) ? node.one : node.zero;
    }
    return found.reverse();
  }

  #root(bytes: Uint8Array): Node<T> {
    return bytes.length === 4 ? this.#v4 : this.#v6;
  }
}

function newNode<T>(): Node<T> {
  return { zero: undefined, one: undefined, values: undefined };
}

function bitAt(bytes: Uint8Array, bit: number): boolean {
  return (((bytes[bit >> 3] as number) >> (7 - (bit & 7))) & 1) === 1;
}

function prune<T>(path: readonly Node<T>[], bytes: Uint8Array): void {
  for (let depth = path.length - 1; depth > 0; depth--) {
    const node = path[depth] as Node<T>;
    if (node.values !== undefined || node.zero !== undefined || node.one !== undefined) return;
    const parent = path[depth - 1] as Node<T>;
    if (bitAt(bytes, depth - 1)) parent.one = undefined;
    else parent.zero = undefined;
  }
}
