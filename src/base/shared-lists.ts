/**
 * One list for lists that are equal, where thousands of records have the same few. Bounded: what finds no room is not shared.
 * No item may have a slash in it, nor be a text that reads as a number: lists are told apart by their items with slashes between.
 */

const mostLists = 4096;

export class SharedLists<Item extends string | number> {
  readonly #byText = new Map<string, readonly Item[]>();

  /** The first that was equal; nobody may change it. */
  shared<List extends readonly Item[]>(list: List): List {
    const key = list.join('/');
    const known = this.#byText.get(key);
    if (known !== undefined) return known as List;
    if (this.#byText.size < mostLists) this.#byText.set(key, list);
    return list;
  }
}
