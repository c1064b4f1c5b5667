/**
 * So many at a time, for each key; who comes when all places are taken waits, if there is room to wait. Clients that wait
 * get places in rotation, whatever number of requests each has waiting. When the waiting room is full, whoever has most
 * waiting gives way to a client with fewer.
 *
 * I1: never more than `maxRequests` inside and `maxQueued` waiting for one key. I2: a place that was given is given back
 * exactly once. I3: a key without anybody inside is not in the table, so it is as small as the number inside.
 */
import type { Clock, Timer } from '../../base/clock.ts';
import type { ConcurrencyLimit } from '../../route/traffic-protection.ts';

/** Gives the place back. Calling it again does nothing. */
export type Leave = () => void;

export type Entry =
  | { readonly kind: 'in'; readonly leave: Leave }
  | { readonly kind: 'full'; readonly waited: boolean };

/** What waits. `give` is called once: with a place, or because it waited too long or gave way. */
interface Waiter {
  readonly client: string;
  readonly give: (entry: Entry) => void;
  timer: Timer | undefined;
}

interface Gate {
  inside: number;
  waiting: number;
  /** In order of their turn. */
  readonly queues: Map<string, Waiter[]>;
}

export class Turnstile {
  readonly #limit: ConcurrencyLimit;
  readonly #clock: Clock;
  readonly #gates = new Map<string, Gate>();

  constructor(limit: ConcurrencyLimit, clock: Clock) {
    this.#limit = limit;
    this.#clock = clock;
  }

  get keys(): number {
    return this.#gates.size;
  }

  waiting(key: string): number {
    return this.#gates.get(key)?.waiting ?? 0;
  }

  /** At once, or through `give` later; then the answer is how to give up waiting, after which `give` is not called. */
  enter(key: string, client: string, give: (entry: Entry) => void): Entry | { kind: 'waits'; giveUp: () => void } {
    const { maxRequests, maxQueued, queueTimeoutMs } = this.#limit;
    const gate = this.#gates.get(key) ?? { inside: 0, waiting: 0, queues: new Map<string, Waiter[]>() };
    if (gate.inside < maxRequests && gate.waiting === 0) {
      this.#gates.set(key, gate);
      return this.#admit(key, gate);
    }
    if (gate.waiting >= maxQueued && !this.#makeRoom(gate, client)) return { kind: 'full', waited: false };
    const waiter: Waiter = { client, give, timer: undefined };
    const queue = gate.queues.get(client);
    if (queue === undefined) gate.queues.set(client, [waiter]);
    else queue.push(waiter);
    gate.waiting++;
    waiter.timer = this.#clock.after(queueTimeoutMs, () => {
      this.#forget(gate, waiter);
      give({ kind: 'full', waited: true });
    });
    return { kind: 'waits', giveUp: () => this.#forget(gate, waiter) };
  }

  #admit(key: string, gate: Gate): Entry {
    gate.inside++;
    let left = false;
    const leave = () => {
      if (left) return;
      left = true;
      gate.inside--;
      this.#next(key, gate);
      if (gate.inside === 0) this.#gates.delete(key);
    };
    return { kind: 'in', leave };
  }

  /** The place goes to the client whose turn it is; afterwards it is the last in the rotation. */
  #next(key: string, gate: Gate): void {
    const [turn] = gate.queues;
    if (turn === undefined) return;
    const [client, queue] = turn;
    const waiter = queue[0];
    if (waiter === undefined) return;
    this.#forget(gate, waiter);
    if (queue.length > 0) {
      gate.queues.delete(client);
      gate.queues.set(client, queue);
    }
    waiter.give(this.#admit(key, gate));
  }

  /** The newest of the client with most waiting gives way, if that has at least two more than `client` has. */
  #makeRoom(gate: Gate, client: string): boolean {
    let longest: Waiter[] = [];
    for (const queue of gate.queues.values()) if (queue.length > longest.length) longest = queue;
    if (longest.length < (gate.queues.get(client)?.length ?? 0) + 2) return false;
    const waiter = longest.at(-1) as Waiter;
    this.#forget(gate, waiter);
    waiter.give({ kind: 'full', waited: true });
    return true;
  }

  #forget(gate: Gate, waiter: Waiter): void {
    waiter.timer?.cancel();
    const queue = gate.queues.get(waiter.client);
    const at = queue?.indexOf(waiter) ?? -1;
    if (queue === undefined || at < 0) return;
    queue.splice(at, 1);
    gate.waiting--;
    if (queue.length === 0) gate.queues.delete(waiter.client);
  }
}
