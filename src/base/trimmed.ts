/**
 * The same values without the room for more that pushes, spreads and `flatMap` leave: 128 bytes, which counts where lists of
 * one or two are kept by the ten thousand.
 */
export function trimmed<T>(list: readonly T[]): readonly T[] {
  return list.length === 0 ? none : list.slice();
}

/** One list for all that have nothing, which are the most where records have many lists. */
export const none: readonly never[] = Object.freeze([]);
