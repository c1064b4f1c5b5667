/**
 * Keeps so many workers: starts them, replaces those that end, renews all of them one by one, and lets them go.
 *
 * I1: a worker that ended unasked is replaced, later each time it happens at once. I2: a renewal takes a worker away only once
 * another serves in its place.
 */
import { Backoff } from '../../base/backoff.ts';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { Random } from '../../base/random.ts';
import type { WorkerLoad } from './choose-worker.ts';

/** What a worker is to this file; tests bring their own. */
export interface Worker extends WorkerLoad {
  readonly number: number;
  readonly pid: number | undefined;
  readonly leaving: boolean;
  leave(): void;
  kill(): void;
}

export interface SupervisorOptions<W extends Worker> {
  readonly count: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Starts one. Its end comes to `ended`, its readiness to `ready`. */
  readonly start: (number: number) => W;
  /** It is gone; `asked`: as it was told to. */
  readonly onEnd: (worker: W, asked: boolean) => void;
}

const retryDelays = { initialMs: 100, maxMs: 10_000 };
/** It did not end at once: the next delay is the first again. */
const soundAfterMs = 60_000;

export class Supervisor<W extends Worker> {
  readonly #options: SupervisorOptions<W>;
  readonly #backoff: Backoff;
  readonly #workers: W[] = [];
  readonly #startedMs = new Map<W, number>();
  /** Whom a worker that is not ready yet is to take the place of. */
  readonly #replaces = new Map<W, W>();
  /** Still to be renewed. */
  #renewing: W[] = [];
  #numbers = 0;
  #stopping = false;
  #allGone: (() => void) | undefined;

  constructor(options: SupervisorOptions<W>) {
    this.#options = options;
    this.#backoff = new Backoff(retryDelays, options.random);
  }

  get workers(): readonly W[] {
    return this.#workers;
  }

  /** Starts what is missing of so many. */
  start(count: number): void {
    for (let missing = count - this.#serving(); missing > 0; missing--) this.#add();
  }

  /** A worker serves. */
  ready(worker: W): void {
    const old = this.#replaces.get(worker);
    this.#replaces.delete(worker);
    if (old === undefined) return;
    old.leave();
    this.#renewNext();
  }

  ended(worker: W, how: string): void {
    const { logger, clock, onEnd } = this.#options;
    const at = this.#workers.indexOf(worker);
    if (at < 0) return;
    this.#workers.splice(at, 1);
    const startedMs = this.#startedMs.get(worker) ?? 0;
    this.#startedMs.delete(worker);
    const replaced = this.#replaces.get(worker);
    this.#replaces.delete(worker);
    const asked = worker.leaving || this.#stopping;
    const facts = { worker: worker.number, pid: worker.pid, how };
    if (asked) logger.info('a worker has left', facts);
    else logger.error('a worker ended, its connections are lost', { ...facts, connections: worker.connections });
    onEnd(worker, asked);
    if (this.#stopping) {
      if (this.#workers.length === 0) this.#allGone?.();
      return;
    }
    if (replaced !== undefined) {
      logger.error('a new worker could not be started: the old ones stay', facts);
      this.#renewing = [];
      return;
    }
    if (asked) return;
    if (clock.nowMs() - startedMs > soundAfterMs) this.#backoff.reset();
    clock.after(this.#backoff.nextMs(), () => {
      if (!this.#stopping && this.#serving() < this.#options.count) this.#add();
    });
  }

  /** Another worker for each, one after the other; while that goes on it is not begun again. */
  renew(): void {
    if (this.#renewing.length > 0 || this.#replaces.size > 0 || this.#stopping) return;
    this.#options.logger.info('workers are renewed, one by one', { workers: this.#workers.length });
    this.#renewing = this.#workers.filter(({ leaving }) => !leaving);
    this.#renewNext();
  }

  /** All leave; resolves when they have. */
  stop(): Promise<void> {
    this.#stopping = true;
    if (this.#workers.length === 0) return Promise.resolve();
    const gone = new Promise<void>((resolve) => {
      this.#allGone = resolve;
    });
    for (const worker of this.#workers) worker.leave();
    return gone;
  }

  /** Those that are left end at once. */
  kill(): void {
    for (const worker of this.#workers) worker.kill();
  }

  #serving(): number {
    return this.#workers.filter(({ leaving }) => !leaving).length;
  }

  #renewNext(): void {
    let old = this.#renewing.shift();
    while (old !== undefined && !this.#workers.includes(old)) old = this.#renewing.shift();
    if (old !== undefined) this.#replaces.set(this.#add(), old);
  }

  #add(): W {
    const worker = this.#options.start(++this.#numbers);
    this.#workers.push(worker);
    this.#options.logger.info('worker started', { worker: worker.number, pid: worker.pid });
    this.#startedMs.set(worker, this.#options.clock.nowMs());
    return worker;
  }
}
