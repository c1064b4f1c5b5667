/**
 * Services by host name, for questions asked in names (DNS). Host names are compared without case. Several services may
 * have one name, in different namespaces; most names have one, which is then kept without a list around it.
 *
 * I1: the lengths of wildcards are known, so that a name of a hundred labels costs as many look-ups as there are lengths.
 */
import type { Service } from './model.ts';

const none: readonly Service[] = [];

export class HostnameIndex {
  readonly #services = new Map<string, Service | readonly Service[]>();
  /** Number of labels → how many wildcards have it. */
  readonly #wildcards = new Map<number, number>();

  /** `old` is the record it replaces, if any. */
  set(service: Service, old: Service | undefined): void {
    if (old !== undefined && old.hostname !== service.hostname) this.delete(old);
    const name = service.hostname.toLowerCase();
    const known = this.#services.get(name);
    const others = list(known).filter((each) => each.key !== service.key);
    if (others.length === list(known).length) this.#countWildcard(name, 1);
    this.#services.set(name, others.length === 0 ? service : [...others, service].sort(byKey));
  }

  delete(service: Service): void {
    const name = service.hostname.toLowerCase();
    const known = list(this.#services.get(name));
    const others = known.filter((each) => each.key !== service.key);
    if (others.length === known.length) return;
    this.#countWildcard(name, -1);
    const [first] = others;
    if (first === undefined) this.#services.delete(name);
    else this.#services.set(name, others.length === 1 ? first : others);
  }

  /** Those of exactly this name, in lower case, in the order of their keys. A wildcard is a name like others here. */
  find(hostname: string): readonly Service[] {
    return list(this.#services.get(hostname));
  }

  /** Whether there is a wildcard of so many labels: `*.example.com` has three. */
  hasWildcard(labels: number): boolean {
    return this.#wildcards.has(labels);
  }

  #countWildcard(name: string, by: number): void {
    if (!name.startsWith('*.')) return;
    const labels = name.split('.').length;
    const count = (this.#wildcards.get(labels) ?? 0) + by;
    if (count === 0) this.#wildcards.delete(labels);
    else this.#wildcards.set(labels, count);
  }
}

function list(known: Service | readonly Service[] | undefined): readonly Service[] {
  if (known === undefined) return none;
  return 'key' in known ? [known] : known;
}

function byKey(a: Service, b: Service): number {
  return a.key < b.key ? -1 : 1;
}
