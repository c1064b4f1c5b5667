/** Fields of an object that are not in its API, so that nobody waits in vain for what they say. */
import type { Path } from './object.ts';

/** `true`: whatever is below is somebody else's to judge. A list is judged by its items. */
export interface KnownFields {
  readonly [field: string]: true | KnownFields;
}

/** Paths below `at` of what `known` does not name, in order. */
export function unknownFields(content: unknown, known: KnownFields, at: Path): readonly Path[] {
  if (Array.isArray(content)) return content.flatMap((item, i) => unknownFields(item, known, [...at, i]));
  if (typeof content !== 'object' || content === null) return [];
  return Object.entries(content).flatMap(([field, value]): readonly Path[] => {
    const below = Object.hasOwn(known, field) ? known[field] : undefined;
    if (below === undefined) return [[...at, field]];
    return below === true ? [] : unknownFields(value, below, [...at, field]);
  });
}
