/**
 * The names subscribed to one by one (XDS_ON_DEMAND; ztunnel.md §6.2, istiod-observed.md "On-demand"): who waits for which,
 * which were answered, and what the next request says.
 *
 * I1: who waits is released once the resource, or that there is none, is in force in the mesh, or when the time is over.
 * I2: bounded: who waits, names that wait and names that do not exist each have a limit; what exists is bounded by the mesh.
 * I3: what exists and could not be read is not what does not exist: nobody may take it for unknown to the mesh.
 * I4: names are given up only in a request that also asks for one: istiod may answer one that only gives up with every
 *     name as removed.
 */
import type { Clock } from '../base/clock.ts';
import type { AddressDemand, DemandOutcome } from '../mesh/demand.ts';

export interface OnDemandLimits {
  /** Names not answered yet; beyond them nothing is asked. */
  readonly asking: number;
  /** Names that do not exist; beyond them the oldest are given up. */
  readonly absent: number;
  readonly all: number;
  /** Who waits at the same time, whatever for. */
  readonly waiting: number;
  /** After this a name that did not exist, or could not be read, is asked for anew. */
  readonly absentMs: number;
}

const defaultLimits: OnDemandLimits = { asking: 1024, absent: 1024, all: 100_000, waiting: 4096, absentMs: 10_000 };

/** `unreadable`: it exists, and what was sent of it was refused. */
export type Heard = 'present' | 'absent' | 'unreadable';

interface Entry {
  state: 'asking' | Heard;
  sinceMs: number;
  readonly waiting: Set<() => void>;
}

export class OnDemand implements AddressDemand {
  readonly #clock: Clock;
  readonly #limits: OnDemandLimits;
  readonly #onAsk: () => void;
  readonly #entries = new Map<string, Entry>();
  readonly #unsent = new Set<string>();
  #asking = 0;
  #absent = 0;
  #waiting = 0;
  #heard: [key: string, state: Heard][] = [];

  /** `onAsk`: there is something for `takeRequest`. */
  constructor(clock: Clock, onAsk: () => void, limits: Partial<OnDemandLimits> = {}) {
    this.#clock = clock;
    this.#onAsk = onAsk;
    this.#limits = { ...defaultLimits, ...limits };
  }

  get size(): number {
    return this.#entries.size;
  }

  async need(keys: readonly string[], forMs: number): Promise<DemandOutcome> {
    if (keys.some((key) => this.#entries.get(key)?.state === 'unreadable' && !this.#mustAsk(key))) return 'unreadable';
    const waits = [...new Set(keys)].filter((key) => this.#mustAsk(key));
    if (waits.length === 0) return 'answered';
    const fresh = waits.filter((key) => this.#entries.get(key)?.state !== 'asking').length;
    const { asking, all, waiting } = this.#limits;
    if (this.#waiting >= waiting || this.#asking + fresh > asking || this.#entries.size + fresh > all) return 'full';
    const entries = waits.map((key) => this.#ask(key));
    if (fresh > 0) this.#onAsk();
    this.#waiting++;
    return await new Promise((resolve) => {
      let left = entries.length;
      const one = () => {
        if (--left === 0) finish('answered');
      };
      const finish = (outcome: 'answered' | 'late') => {
        timer.cancel();
        this.#waiting--;
        for (const entry of entries) entry.waiting.delete(one);
        resolve(outcome);
      };
      const timer = this.#clock.after(forMs, () => finish('late'));
      for (const entry of entries) entry.waiting.add(one);
    });
  }

  /**
   * For the first request of a new stream, the names that exist; what did not is forgotten. Those that wait are for the
   * next request: of what is held at its version already, the first says nothing.
   */
  restart(): readonly string[] {
    this.#heard = [];
    const present: string[] = [];
    for (const [key, { state }] of this.#entries) {
      if (state === 'absent') this.#entries.delete(key);
      else if (state === 'present' || state === 'unreadable') present.push(key);
      else this.#unsent.add(key);
    }
    this.#absent = 0;
    return present;
  }

  /** What the stream has not been told yet. */
  takeRequest(): { readonly subscribe: readonly string[]; readonly unsubscribe: readonly string[] } | undefined {
    if (this.#unsent.size === 0) return undefined;
    const subscribe = [...this.#unsent];
    this.#unsent.clear();
    const unsubscribe: string[] = [];
    for (const [key, { state }] of this.#entries) {
      if (this.#absent <= this.#limits.absent) break;
      if (state !== 'absent') continue;
      this.#entries.delete(key);
      this.#absent--;
      unsubscribe.push(key);
    }
    return { subscribe, unsubscribe };
  }

  /** A name or alias of a resource that was sent, or a name that was said to be gone. */
  heard(key: string, state: Heard): void {
    if (this.#entries.has(key)) this.#heard.push([key, state]);
  }

  /** What was heard is in force: releases those who wait for it. */
  settle(): void {
    const heard = this.#heard;
    this.#heard = [];
    for (const [key, state] of heard) {
      const entry = this.#entries.get(key);
      if (entry === undefined) continue;
      if (entry.state === 'asking') this.#asking--;
      if (entry.state === 'absent') this.#absent--;
      if (state === 'absent') this.#absent++;
      entry.state = state;
      entry.sinceMs = this.#clock.nowMs();
      // At the end, so that the oldest are found first.
      this.#entries.delete(key);
      this.#entries.set(key, entry);
      const released = [...entry.waiting];
      entry.waiting.clear();
      for (const release of released) release();
    }
  }

  #mustAsk(key: string): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.state === 'asking') return true;
    return entry.state !== 'present' && this.#clock.nowMs() - entry.sinceMs >= this.#limits.absentMs;
  }

  #ask(key: string): Entry {
    let entry = this.#entries.get(key);
    if (entry?.state === 'asking') return entry;
    if (entry === undefined) {
      entry = { state: 'asking', sinceMs: this.#clock.nowMs(), waiting: new Set() };
      this.#entries.set(key, entry);
    } else {
      if (entry.state === 'absent') this.#absent--;
      entry.state = 'asking';
    }
    this.#asking++;
    this.#unsent.add(key);
    return entry;
  }
}
