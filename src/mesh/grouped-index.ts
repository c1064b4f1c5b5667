/**
 * A map from a key to the records under it: the shape of every index of the store.
 *
 * I1: groups keep insertion order and a replaced record keeps its place, so lists made from them are stable.
 * I2: a list, once handed out, never changes; it is another one exactly when its group has changed.
 *
 * A hundred thousand keys have one record each, so that is what costs nothing beside the entry: no list until somebody
 * asks for it. A few records are a list that is copied when it changes. Only where a copy would cost more than a map is
 * there one, so a change costs as much as it touches.
 */

const none: readonly never[] = [];
/** More than so many records are kept in a map, until fewer than half are left. */
const longestList = 64;

type Group<T> = T | readonly T[] | MappedGroup<T>;

export class GroupedIndex<T extends object> {
  readonly #groups = new Map<string, Group<T>>();
  readonly #idOf: (record: T) => string;

  /** `idOf`: by which a record replaces another. No record is an array. */
  constructor(idOf: (record: T) => string) {
    this.#idOf = idOf;
  }

  set(key: string, record: T): void {
    const group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, record);
    else if (group instanceof MappedGroup) group.set(this.#idOf(record), record);
    else this.#groups.set(key, this.#joined(group, record));
  }

  delete(key: string, id: string): void {
    const group = this.#groups.get(key);
    if (group === undefined) return;
    if (group instanceof MappedGroup) {
      group.delete(id);
      if (group.size <= longestList / 2) this.#groups.set(key, group.list);
    } else if (isList(group)) {
      const left = group.filter((record) => this.#idOf(record) !== id);
      if (left.length === 0) this.#groups.delete(key);
      else if (left.length < group.length) this.#groups.set(key, left);
    } else if (this.#idOf(group) === id) this.#groups.delete(key);
  }

  /** The records under the key; the same array until they change. */
  list(key: string): readonly T[] {
    const group = this.#groups.get(key);
    if (group === undefined) return none;
    if (group instanceof MappedGroup) return group.list;
    if (isList(group)) return group;
    const list = [group];
    this.#groups.set(key, list);
    return list;
  }

  #joined(group: T | readonly T[], record: T): Group<T> {
    const id = this.#idOf(record);
    if (!isList(group)) return this.#idOf(group) === id ? record : [group, record];
    const at = group.findIndex((each) => this.#idOf(each) === id);
    if (at >= 0) return group.with(at, record);
    // A spread with one more would leave room for sixteen, in each of many lists.
    const list = group.concat([record]);
    return list.length <= longestList ? list : new MappedGroup(list, this.#idOf);
  }
}

class MappedGroup<T> {
  readonly #records: Map<string, T>;
  #list: readonly T[] | undefined;

  constructor(records: readonly T[], idOf: (record: T) => string) {
    this.#records = new Map(records.map((record) => [idOf(record), record]));
  }

  get size(): number {
    return this.#records.size;
  }

  get list(): readonly T[] {
    this.#list ??= [...this.#records.values()];
    return this.#list;
  }

  set(id: string, record: T): void {
    this.#records.set(id, record);
    this.#list = undefined;
  }

  delete(id: string): void {
    if (this.#records.delete(id)) this.#list = undefined;
  }
}

function isList<T>(group: T | readonly T[]): group is readonly T[] {
  return Array.isArray(group);
}
