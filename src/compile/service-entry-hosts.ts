/**
 * The hosts of ServiceEntries as services, and addresses for those that have none: of 240.240.0.0/16, as istiod gives them,
 * but drawn from the names alone, so that every proxy that reads the same objects finds the same.
 *
 * I1: no two hosts get one address. A host whose place is taken moves on; which of two does is told by their names, so an
 *     entry that comes later in the order of names moves another's address only where both fell on the same place.
 */
import type { ServiceSpec } from './service.ts';
import type { ServiceEntrySpec } from './service-entry.ts';

/** What is left of 240.240.0.0/16 without its first and last address. */
const addressCount = 65_534;

/** Keyed `namespace/host`; no Service is called so, for its name has no dot. The first entry of a host has it. */
export function entryServices(entries: readonly ServiceEntrySpec[]): ReadonlyMap<string, ServiceSpec> {
  const services = new Map<string, ServiceSpec>();
  const given = allocate(entries);
  for (const entry of entries) {
    for (const host of entry.hosts) {
      const key = `${entry.namespace}/${host}`;
      if (services.has(key)) continue;
      const allocated = given.get(key);
      services.set(key, {
        object: entry.object,
        name: entry.name,
        namespace: entry.namespace,
        labels: entry.labels,
        vips: allocated === undefined ? entry.addresses : [allocated],
        selector: entry.selector,
        ports: entry.ports,
        ipFamilies: 'automatic',
        loadBalancing: undefined,
        allowUnhealthy: false,
        entry: { spec: entry, host },
      });
    }
  }
  return services;
}

function allocate(entries: readonly ServiceEntrySpec[]): ReadonlyMap<string, string> {
  const keys = entries
    .filter(({ allocates, addresses }) => allocates && addresses.length === 0)
    .flatMap(({ namespace, hosts }) => hosts.map((host) => `${namespace}/${host}`))
    .sort();
  const given = new Map<string, string>();
  const taken = new Set<number>();
  for (const key of keys) {
    if (given.has(key) || taken.size === addressCount) continue;
    let place = hash(key) % addressCount;
    while (taken.has(place)) place = (place + 1) % addressCount;
    taken.add(place);
    const last = place + 1;
    given.set(key, `240.240.${last >>> 8}.${last & 0xff}`);
  }
  return given;
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}
