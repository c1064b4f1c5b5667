/**
 * Ring hash (Ketama) with Envoy's rule for sizes: points of hosts are in proportion to their weights, the lightest one has
 * at least one, and together they are at least the minimum. A hash belongs to the next point of the ring.
 *
 * I1: a host's points depend on its key and their number alone, so that one that leaves takes only its own requests along.
 */

import type { LookupTable, TableEntry, TableSteps } from './hash-table.ts';
import { hashText } from './hash-text.ts';

/** Points made or sorted between two pauses. */
const stepPoints = 1024;
/** More for one ring cost memory and make nothing more even. */
export const maxRingPoints = 1024 * 1024;

/** How many points each host has; in order of the entries. */
export function ringPoints(entries: readonly TableEntry[], minimumSize: number): readonly number[] {
  let total = 0;
  let least = Number.POSITIVE_INFINITY;
  for (const { weight } of entries) {
    total += weight;
    least = Math.min(least, weight);
  }
  const leastShare = least / total;
  const scale = Math.min(Math.ceil(leastShare * minimumSize) / leastShare, Math.max(maxRingPoints, entries.length));
  let current = 0;
  let target = 0;
  return entries.map(({ weight }) => {
    target += (scale * weight) / total;
    const from = current;
    // Rounding must not cost a host its only point.
    while (current < target - 1e-6) current++;
    return current - from;
  });
}

export function* ringTableSteps(entries: readonly TableEntry[], minimumSize: number): TableSteps {
  const counts = ringPoints(entries, minimumSize);
  const size = counts.reduce((sum, count) => sum + count, 0);
  const hashes = new Uint32Array(size);
  const hosts = new Uint32Array(size);
  let at = 0;
  for (const [host, count] of counts.entries()) {
    const { key } = entries[host] as TableEntry;
    for (let point = 0; point < count; point++) {
      hashes[at] = hashText(`${key}_${point}`);
      hosts[at] = host;
      if (++at % stepPoints === 0) yield;
    }
  }
  return yield* sorted(hashes, hosts, entries);
}

/** Sorts by hash, then by key: buckets by the upper bits, each small enough to be sorted in one step. */
function* sorted(hashes: Uint32Array, hosts: Uint32Array, entries: readonly TableEntry[]): TableSteps {
  const size = hashes.length;
  const bits = Math.max(1, Math.min(20, Math.ceil(Math.log2(Math.max(2, size / 8)))));
  const shift = 32 - bits;
  const starts = new Uint32Array((1 << bits) + 1);
  for (let i = 0; i < size; i++) {
    const bucket = ((hashes[i] as number) >>> shift) + 1;
    starts[bucket] = (starts[bucket] as number) + 1;
    if (i % (16 * stepPoints) === 0) yield;
  }
  for (let i = 1; i < starts.length; i++) {
    starts[i] = (starts[i] as number) + (starts[i - 1] as number);
    if (i % (64 * stepPoints) === 0) yield;
  }
  const places = starts.slice();
  const order = new Uint32Array(size);
  for (let i = 0; i < size; i++) {
    const bucket = (hashes[i] as number) >>> shift;
    const place = places[bucket] as number;
    order[place] = i;
    places[bucket] = place + 1;
    if (i % (16 * stepPoints) === 0) yield;
  }
  const keyOf = (point: number) => (entries[hosts[point] as number] as TableEntry).key;
  const before = (a: number, b: number) => {
    const difference = (hashes[a] as number) - (hashes[b] as number);
    return difference !== 0 ? difference < 0 : keyOf(a) < keyOf(b);
  };
  let since = 0;
  for (let bucket = 0; bucket < 1 << bits; bucket++) {
    const from = starts[bucket] as number;
    const to = starts[bucket + 1] as number;
    insertionSort(order, from, to, before);
    since += to - from + 1;
    if (since < stepPoints) continue;
    since = 0;
    yield;
  }
  const sortedHashes = new Uint32Array(size);
  const sortedHosts = new Uint32Array(size);
  for (let i = 0; i < size; i++) {
    const point = order[i] as number;
    sortedHashes[i] = hashes[point] as number;
    sortedHosts[i] = hosts[point] as number;
    if (i % (16 * stepPoints) === 0) yield;
  }
  return new RingTable(sortedHashes, sortedHosts);
}

function insertionSort(list: Uint32Array, from: number, to: number, before: (a: number, b: number) => boolean): void {
  for (let i = from + 1; i < to; i++) {
    const moved = list[i] as number;
    let place = i;
    while (place > from && before(moved, list[place - 1] as number)) {
      list[place] = list[place - 1] as number;
      place--;
    }
    list[place] = moved;
  }
}

class RingTable implements LookupTable {
  readonly #hashes: Uint32Array;
  readonly #hosts: Uint32Array;

  constructor(hashes: Uint32Array, hosts: Uint32Array) {
    this.#hashes = hashes;
    this.#hosts = hosts;
  }

  get size(): number {
    return this.#hashes.byteLength + this.#hosts.byteLength;
  }

  find(hash: number, accepts: (index: number) => boolean): number {
    const { length } = this.#hashes;
    let low = 0;
    let high = length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#hashes[middle] as number) < hash) low = middle + 1;
      else high = middle;
    }
    for (let step = 0; step < length; step++) {
      const host = this.#hosts[(low + step) % length] as number;
      if (accepts(host)) return host;
    }
    return -1;
  }
}
