/** What ring and maglev have in common: a table from hashes to hosts, built in steps, asked without changing it. */

/** A host as tables see it: tables of the same keys and weights are the same, whatever the order. */
export interface TableEntry {
  /** Its address. */
  readonly key: string;
  /** Positive. */
  readonly weight: number;
}

export interface LookupTable {
  /**
   * Index of the host for the hash, among those given. Hosts that `accepts` refuses are passed over, and the next one in
   * the table's order takes their place: who was somewhere else stays there. -1: none is accepted.
   */
  find(hash: number, accepts: (index: number) => boolean): number;
  /** Bytes, about. */
  readonly size: number;
}

/** Work to be done step by step; the last value is the table. */
export type TableSteps = Generator<undefined, LookupTable>;

/** Indexes in the order of keys, so that every proxy builds the same table. */
export function inKeyOrder(entries: readonly TableEntry[]): Uint32Array {
  const order = Uint32Array.from(entries.keys());
  return order.sort((a, b) => {
    const x = (entries[a] as TableEntry).key;
    const y = (entries[b] as TableEntry).key;
    return x < y ? -1 : x > y ? 1 : 0;
  });
}
