/**
 * The hash tables of one group of hosts. A table is made anew when hosts come or go, in slices beside the traffic; until it is
 * ready the one before is used, without those who left. Whether hosts are well is looked at when asking, not when building.
 *
 * I1: a build that runs is let run: under constant change there is always a table that is not much older than a build.
 */
import type { Clock } from '../../base/clock.ts';
import { inSlices } from '../../base/slices.ts';
import type { HashTable } from '../../route/destination.ts';
import type { LookupTable, TableEntry, TableSteps } from './hash-table.ts';
import { mixWord } from './hash-text.ts';
import type { Host } from './host.ts';
import { maglevTableSteps } from './maglev-table.ts';
import { ringTableSteps } from './ring-table.ts';

/** Points or places: so many are made in a millisecond or two, and the first request waits for them. */
const smallTable = 4096;

interface Built {
  readonly table: LookupTable;
  readonly hosts: readonly Host[];
  readonly kind: HashTable;
}

export interface HashChoiceDependencies {
  readonly clock: Clock;
  /** Runs work in slices, one after the other with that of other clusters: their slices together would be a long turn. */
  readonly background: (work: () => Promise<void>) => void;
}

export class HashChoice {
  readonly #deps: HashChoiceDependencies;
  #wanted: { readonly hosts: readonly Host[]; readonly kind: HashTable } | undefined;
  #built: Built | undefined;
  #building = false;

  constructor(deps: HashChoiceDependencies) {
    this.#deps = deps;
  }

  /** The hosts of the group from now on; the list is another one only when hosts, or their weights, are others. */
  follow(hosts: readonly Host[], kind: HashTable): void {
    if (this.#wanted?.hosts === hosts && this.#wanted.kind === kind) return;
    this.#wanted = { hosts, kind };
    if (this.#built === undefined && isSmall(hosts, kind)) this.#buildNow();
    else this.#build();
  }

  /** `accepts` is asked about hosts of the group. Undefined: it accepts none. */
  find(hash: number, accepts: (host: Host) => boolean): Host | undefined {
    const built = this.#built;
    if (built === undefined) return highestRank(hash, this.#wanted?.hosts ?? [], accepts);
    const index = built.table.find(hash, (at) => {
      const host = built.hosts[at] as Host;
      return host.present && accepts(host);
    });
    // Everybody in the table may have left before the next one is ready.
    return index >= 0 ? built.hosts[index] : highestRank(hash, this.#wanted?.hosts ?? [], accepts);
  }

  get tableBytes(): number {
    return this.#built?.table.size ?? 0;
  }

  #buildNow(): void {
    const wanted = this.#wanted;
    if (wanted === undefined) return;
    const steps = stepsOf(wanted.hosts, wanted.kind);
    for (;;) {
      const { done, value } = steps.next();
      if (done !== true) continue;
      this.#built = { table: value, ...wanted };
      return;
    }
  }

  #build(): void {
    if (this.#building) return;
    this.#building = true;
    this.#deps.background(async () => {
      try {
        await this.#buildWanted();
      } finally {
        this.#building = false;
      }
      if (this.#built?.hosts !== this.#wanted?.hosts || this.#built?.kind !== this.#wanted?.kind) this.#build();
    });
  }

  /** What is wanted when its turn comes. */
  async #buildWanted(): Promise<void> {
    const wanted = this.#wanted;
    if (wanted === undefined) return;
    let table: LookupTable | undefined;
    const steps = stepsOf(wanted.hosts, wanted.kind);
    const noted = (function* () {
      table = yield* steps;
    })();
    await inSlices(noted, { clock: this.#deps.clock });
    if (table !== undefined) this.#built = { table, ...wanted };
  }
}

function stepsOf(hosts: readonly Host[], kind: HashTable): TableSteps {
  const entries: readonly TableEntry[] = hosts.map(({ key, weight }) => ({ key, weight }));
  return kind.kind === 'ring' ? ringTableSteps(entries, kind.minimumSize) : maglevTableSteps(entries, kind.size);
}

function isSmall(hosts: readonly Host[], kind: HashTable): boolean {
  return Math.max(hosts.length, kind.kind === 'ring' ? kind.minimumSize : kind.size) <= smallTable;
}

/** Rendezvous hashing: needs no table and looks at every host. */
function highestRank(hash: number, hosts: readonly Host[], accepts: (host: Host) => boolean): Host | undefined {
  let best: Host | undefined;
  let bestRank = -1;
  for (const host of hosts) {
    if (!accepts(host)) continue;
    const rank = mixWord(hash ^ host.keyHash);
    if (rank <= bestRank) continue;
    best = host;
    bestRank = rank;
  }
  return best;
}
