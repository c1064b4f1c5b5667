/**
 * Maglev hashing: "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016), §3.4. Every host has a permutation
 * of the table's places and takes, in turn, the next of them that is free. Weights are Envoy's: a host takes part in as
 * many turns as its weight is of the heaviest one's.
 */

import { inKeyOrder, type LookupTable, type TableEntry, type TableSteps } from './hash-table.ts';
import { hashText, mixWord } from './hash-text.ts';

/** Places looked at between two pauses. */
const stepPlaces = 8192;

/** `size`: a prime, larger than the number of hosts for all of them to have a place. */
export function* maglevTableSteps(entries: readonly TableEntry[], size: number): TableSteps {
  const order = inKeyOrder(entries);
  yield;
  const places = new Float64Array(entries.length);
  const skips = new Float64Array(entries.length);
  const weights = new Float64Array(entries.length);
  const targets = new Float64Array(entries.length);
  let heaviest = 0;
  for (const [i, host] of order.entries()) {
    const { key, weight } = entries[host] as TableEntry;
    places[i] = hashText(key) % size;
    skips[i] = (hashText(key, 1) % (size - 1)) + 1;
    weights[i] = weight;
    heaviest = Math.max(heaviest, weight);
  }
  yield;
  // One more than the host: zero is free, as a new table is. Most have few hosts, and then half of the memory will do.
  const table = entries.length < 65_535 ? new Uint16Array(size) : new Uint32Array(size);
  let filled = 0;
  let looked = 0;
  for (let turn = 1; filled < size; turn++) {
    for (let i = 0; i < order.length && filled < size; i++) {
      if (turn * (weights[i] as number) < (targets[i] as number)) continue;
      targets[i] = (targets[i] as number) + heaviest;
      let place = places[i] as number;
      const skip = skips[i] as number;
      for (;;) {
        looked++;
        const free = table[place] === 0;
        if (free) table[place] = (order[i] as number) + 1;
        place += skip;
        if (place >= size) place -= size;
        if (free) break;
        if (looked % stepPlaces === 0) yield;
      }
      places[i] = place;
      filled++;
      if (filled % stepPlaces === 0) yield;
    }
  }
  return new MaglevTable(table);
}

class MaglevTable implements LookupTable {
  readonly #table: Uint16Array | Uint32Array;

  constructor(table: Uint16Array | Uint32Array) {
    this.#table = table;
  }

  get size(): number {
    return this.#table.byteLength;
  }

  find(hash: number, accepts: (index: number) => boolean): number {
    const { length } = this.#table;
    const first = (this.#table[hash % length] as number) - 1;
    if (accepts(first)) return first;
    // Another walk for every hash, so that what one host had is spread over all others.
    const skip = (mixWord(hash) % (length - 1)) + 1;
    let place = hash % length;
    for (let step = 1; step < length; step++) {
      place += skip;
      if (place >= length) place -= length;
      const host = (this.#table[place] as number) - 1;
      if (accepts(host)) return host;
    }
    return -1;
  }
}
