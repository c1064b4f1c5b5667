/**
 * Finds, among many items that each ask for certain texts, those that a text can concern, without looking at the others.
 * It only narrows: every item that matches is found, and whether one that is found does match is still to be asked.
 */

/** Undefined: any text may concern the item. */
export type TextKeys = readonly { readonly kind: 'exact' | 'prefix'; readonly value: string }[] | undefined;

/** So few are quicker looked at one by one. */
const fewItems = 8;

export class TextIndex<Item> {
  readonly items: readonly Item[];
  readonly #exact = new Map<string, number[]>();
  readonly #prefixes = new Map<string, number[]>();
  /** Lengths that prefixes have. */
  readonly #lengths: readonly number[];
  readonly #always: number[] = [];

  /** `keysOf`: an item is found for a text that is, or begins with, one of its keys. */
  constructor(items: readonly Item[], keysOf: (item: Item) => TextKeys) {
    this.items = items;
    if (items.length > fewItems) for (const [at, item] of items.entries()) this.#add(at, keysOf(item));
    this.#lengths = [...new Set([...this.#prefixes.keys()].map((prefix) => prefix.length))];
  }

  /** In the order in which they were given, each once. */
  candidates(text: string): readonly Item[] {
    if (this.#exact.size === 0 && this.#prefixes.size === 0) return this.items;
    const found = [...this.#always, ...(this.#exact.get(text) ?? [])];
    for (const length of this.#lengths) {
      const more = length > text.length ? undefined : this.#prefixes.get(text.slice(0, length));
      if (more !== undefined) found.push(...more);
    }
    const inOrder = found.length > this.#always.length ? [...new Set(found)].sort((a, b) => a - b) : found;
    return inOrder.map((at) => this.items[at] as Item);
  }

  #add(at: number, keys: TextKeys): void {
    if (keys === undefined || keys.some(({ kind, value }) => kind === 'prefix' && value === '')) {
      this.#always.push(at);
      return;
    }
    for (const { kind, value } of keys) {
      const places = kind === 'exact' ? this.#exact : this.#prefixes;
      places.getOrInsertComputed(value, () => []).push(at);
    }
  }
}
