/**
 * A map from a key to the records under it, by record id: the shape of every index of the store.
 *
 * I1: groups keep insertion order and a replaced record keeps its place, so lists made from them are stable.
 * Lists are made on demand and kept until the group changes: a change costs as much as it touches. Most keys have one
 * record, for which a map would be most of the memory of an index.
 */
interface Single<T> {
  readonly id: string;
  readonly list: readonly [T];
}

interface Group<T> {
  readonly records: Map<string, T>;
  list: readonly T[] | undefined;
}

const none: readonly never[] = [];

export class GroupedIndex<T> {
  /** A key is in one of the two, or in none. */
  readonly #singles = new Map<string, Single<T>>();
  readonly #groups = new Map<string, Group<T>>();

  set(key: string, id: string, record: T): void {
    const group = this.#groups.get(key);
    if (group !== undefined) {
      group.records.set(id, record);
      group.list = undefined;
      return;
    }
    const single = this.#singles.get(key);
    if (single === undefined || single.id === id) {
      this.#singles.set(key, { id, list: [record] });
      return;
    }
    this.#singles.delete(key);
    const records = new Map([
      [single.id, single.list[0]],
      [id, record],
    ]);
    this.#groups.set(key, { records, list: undefined });
  }

  delete(key: string, id: string): void {
    if (this.#singles.get(key)?.id === id) this.#singles.delete(key);
    const group = this.#groups.get(key);
    if (group === undefined || !group.records.delete(id)) return;
    group.list = undefined;
    if (group.records.size === 0) this.#groups.delete(key);
  }

  /** The records under the key; the same array until they change. */
  list(key: string): readonly T[] {
    const single = this.#singles.get(key);
    if (single !== undefined) return single.list;
    const group = this.#groups.get(key);
    if (group === undefined) return none;
    group.list ??= [...group.records.values()];
    return group.list;
  }
}
