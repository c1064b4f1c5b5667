/**
 * Which extensions a waypoint runs when more are attached to it than it has places. Namespaces take turns, so that the many
 * objects of one leave the others theirs. Pure: the compiler tells by it, waypoints run by it.
 *
 * I1: whoever has no more than the places divided by the namespaces has all of them.
 */
import type { ExtensionList, ExtensionRecord } from './extension.ts';

/** A thread costs some 18 MiB, and a processor is shared by all of them. */
export const maxExtensions = 32;

export interface ExtensionPlaces {
  readonly placed: ExtensionList;
  /** They meet their failure mode. */
  readonly without: ExtensionList;
}

/** Both in the order of `records`. Within a namespace those that come first go first. */
export function placeExtensions(records: ExtensionList, places = maxExtensions): ExtensionPlaces {
  if (records.length <= places) return { placed: records, without: [] };
  const ofNamespace = new Map<string, number>();
  const turns = new Map<ExtensionRecord, number>();
  for (const record of records) {
    const { namespace } = record.source;
    const turn = ofNamespace.get(namespace) ?? 0;
    ofNamespace.set(namespace, turn + 1);
    turns.set(record, turn);
  }
  const turnOf = (record: ExtensionRecord) => turns.get(record) ?? 0;
  const placed = new Set(records.toSorted((a, b) => turnOf(a) - turnOf(b)).slice(0, places));
  return {
    placed: records.filter((record) => placed.has(record)),
    without: records.filter((record) => !placed.has(record)),
  };
}
