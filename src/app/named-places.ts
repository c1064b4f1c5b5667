/** Pods' places by name. Of those with one name the newest counts, whichever was started last. */
import type { Place } from '../ztunnel/context.ts';
import type { WorkloadName } from './ztunnel-settings.ts';

interface Entry {
  readonly place: Place;
  readonly order: number;
}

export class NamedPlaces {
  /** Newest last. */
  readonly #byName = new Map<string, Entry[]>();

  find(name: WorkloadName): Place | undefined {
    return this.#byName.get(keyOf(name))?.at(-1)?.place;
  }

  add(name: WorkloadName, place: Place, order: number): void {
    const entries = this.#byName.get(keyOf(name)) ?? [];
    entries.push({ place, order });
    entries.sort((a, b) => a.order - b.order);
    this.#byName.set(keyOf(name), entries);
  }

  remove(name: WorkloadName, place: Place): void {
    const left = (this.#byName.get(keyOf(name)) ?? []).filter((entry) => entry.place !== place);
    if (left.length > 0) this.#byName.set(keyOf(name), left);
    else this.#byName.delete(keyOf(name));
  }
}

function keyOf({ namespace, name, serviceAccount }: WorkloadName): string {
  return `${namespace}/${name}/${serviceAccount}`;
}
