/**
 * A map from a key to the records under it, by record id: the shape of every index of the store.
 *
 * I1: groups keep insertion order and a replaced record keeps its place, so lists made from them are stable.
 * Lists are made on demand and kept until the group changes: a change costs as much as it touches.
 */
interface Group<T> {
  readonly records: Map<string, T>;
  list: readonly T[] | undefined;
}

const none: readonly never[] = [];

export class GroupedIndex<T> {
  readonly #groups = new Map<string, Group<T>>();

  set(key: string, id: string, record: T): void {
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = { records: new Map(), list: undefined };
      this.#groups.set(key, group);
    }
    group.records.set(id, record);
    group.list = undefined;
  }

  delete(key: string, id: string): void {
    const group = this.#groups.get(key);
    if (group === undefined || !group.records.delete(id)) return;
    group.list = undefined;
    if (group.records.size === 0) this.#groups.delete(key);
  }

  /** The records under the key; the same array until they change. */
  list(key: string): readonly T[] {
    const group = this.#groups.get(key);
    if (group === undefined) return none;
    group.list ??= [...group.records.values()];
    return group.list;
  }
}
