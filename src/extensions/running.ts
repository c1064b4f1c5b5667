/**
 * One attached extension as it runs: its thread, those that still finish what they began before a new version came, and what
 * happens when a thread ends by itself.
 *
 * I1: an exchange is served by one thread from its first hook to its last, whatever is loaded meanwhile.
 * I2: a version that cannot be loaded replaces nothing. I3: a thread that broke is started again, later each time.
 * I4: while the first version is being loaded exchanges wait for it, so many and so long; after that, and while there is
 *     none, they get no lease.
 */
import { Backoff } from '../base/backoff.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import { type ExtensionRecord, extensionName } from '../route/extension.ts';
import type { HookName } from './extension.ts';
import { LogBudget } from './log-budget.ts';
import type { ExtensionMetrics } from './metrics.ts';
import type { Question } from './protocol.ts';
import type { ThreadAnswer, ThreadEnd, ThreadOptions } from './thread.ts';

/** What a thread is to this file; tests bring their own. */
export interface Thread {
  ask(exchange: number, question: Question, done: (answer: ThreadAnswer) => void): number;
  cancel(call: number): void;
  over(exchange: number): void;
  close(): void;
}

export interface RunningDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: ExtensionMetrics;
  readonly startThread: (options: ThreadOptions) => Thread;
  /** URLs of module and folder; a text says why there is none. */
  readonly locate: (module: string) => { readonly moduleUrl: string; readonly folderUrl: string } | string;
}

/** One exchange's hold on a thread. */
export interface Lease {
  readonly hooks: ReadonlySet<HookName>;
  /** Withdraw the question by calling what it returns. */
  ask(question: Question, done: (answer: ThreadAnswer) => void): () => void;
  /** The exchange is over. */
  release(): void;
}

/** Old threads that still have exchanges; the oldest beyond it is ended. */
const maxDraining = 4;
const retryDelays = { initialMs: 50, maxMs: 30_000 };
/** A thread that lived so long did not break at once: the next delay is the first again. */
const soundAfterMs = 60_000;
const maxWaiting = 1024;
const longestWaitMs = 5_000;
/** Requests that were decided on before the extension was taken away may still come to it. */
const removalGraceMs = 10_000;

interface Generation {
  readonly number: number;
  readonly record: ExtensionRecord;
  readonly startedMs: number;
  thread: Thread | undefined;
  hooks: ReadonlySet<HookName>;
  leases: number;
}

export class RunningExtension {
  readonly name: string;
  readonly #deps: RunningDependencies;
  readonly #backoff: Backoff;
  readonly #logs: LogBudget;
  readonly #draining: Generation[] = [];
  readonly #waiting = new Set<() => void>();
  #record: ExtensionRecord;
  #current: Generation | undefined;
  #starting: Generation | undefined;
  #retry: Timer | undefined;
  #problem: string | undefined;
  #files: readonly string[] = [];
  #generations = 0;
  #exchanges = 0;
  #decided = false;
  #removed = false;
  #onGone = () => {};
  #closed = false;

  /** Starts at once. */
  constructor(record: ExtensionRecord, deps: RunningDependencies) {
    this.name = extensionName(record);
    this.#record = record;
    this.#deps = deps;
    this.#backoff = new Backoff(retryDelays, deps.random);
    this.#logs = new LogBudget(deps.clock, deps.logger, this.name);
    this.#begin();
  }

  /** What is to run; what runs may be older. */
  get record(): ExtensionRecord {
    return this.#record;
  }

  /** The first attempt to load it has ended, one way or the other. */
  get decided(): boolean {
    return this.#decided;
  }

  /** Files that the newest version was made of; empty when it is not known. */
  get files(): readonly string[] {
    return this.#files;
  }

  /** For the admin view. */
  describe() {
    const current = this.#current;
    return {
      name: this.name,
      module: this.#record.module,
      phase: this.#record.phase,
      priority: this.#record.priority,
      failureMode: this.#record.failureMode,
      state: current !== undefined ? 'ready' : this.#starting !== undefined ? 'starting' : 'broken',
      hooks: [...(current?.hooks ?? [])],
      generation: current?.number,
      exchanges: current?.leases ?? 0,
      draining: this.#draining.length,
      problem: this.#problem,
    } as const;
  }

  /** A hold on the version of the moment. `done` comes at once, or, while the first one is being loaded, later; once. */
  lease(done: (lease: Lease | undefined) => void): void {
    const current = this.#current;
    if (current !== undefined) {
      done(this.#leaseOf(current));
      return;
    }
    if (this.#starting === undefined || this.#waiting.size >= maxWaiting) {
      done(undefined);
      return;
    }
    const wake = () => {
      this.#waiting.delete(wake);
      timer.cancel();
      done(this.#current === undefined ? undefined : this.#leaseOf(this.#current));
    };
    const timer = this.#deps.clock.after(longestWaitMs, wake);
    this.#waiting.add(wake);
  }

  /** The object has changed. What runs goes on until the new version does. */
  update(record: ExtensionRecord): void {
    if (record === this.#record) return;
    this.#record = record;
    this.reload();
  }

  /** Loads it anew beside what runs, since its files have changed. */
  reload(): void {
    if (this.#closed) return;
    this.#retry?.cancel();
    const starting = this.#starting;
    this.#starting = undefined;
    starting?.thread?.close();
    this.#backoff.reset();
    this.#begin();
  }

  /** It is attached to nothing any more: what is under way, and what comes within the grace, is finished, then `done` told. */
  remove(done: () => void): void {
    this.#removed = true;
    this.#onGone = done;
    this.#deps.clock.after(removalGraceMs, () => this.close(false));
  }

  /** Nothing new is asked. `hard`: what is under way is answered with `ended`; otherwise it is finished. */
  close(hard: boolean): void {
    this.#closed = true;
    this.#retry?.cancel();
    const starting = this.#starting;
    this.#starting = undefined;
    starting?.thread?.close();
    const current = this.#current;
    this.#current = undefined;
    this.#wake();
    if (current !== undefined) this.#drain(current);
    if (hard) for (const generation of [...this.#draining]) generation.thread?.close();
    this.#tellIfGone();
  }

  #tellIfGone(): void {
    if (this.#closed && this.#draining.length === 0) this.#onGone();
  }

  #leaseOf(generation: Generation): Lease {
    const thread = generation.thread as Thread;
    const exchange = ++this.#exchanges;
    generation.leases++;
    let asked = false;
    let released = false;
    return {
      hooks: generation.hooks,
      ask: (question, done) => {
        asked = true;
        const call = thread.ask(exchange, question, done);
        return () => thread.cancel(call);
      },
      release: () => {
        if (released) return;
        released = true;
        if (asked) thread.over(exchange);
        generation.leases--;
        this.#endIfDrained(generation);
      },
    };
  }

  #begin(): void {
    const { locate, startThread, clock } = this.#deps;
    const record = this.#record;
    const place = record.broken ?? locate(record.module);
    if (typeof place === 'string') {
      this.#files = [];
      this.#fail(place);
      return;
    }
    const generation: Generation = {
      number: ++this.#generations,
      record,
      startedMs: clock.nowMs(),
      thread: undefined,
      hooks: new Set(),
      leases: 0,
    };
    this.#starting = generation;
    generation.thread = startThread({
      start: { name: this.name, ...place, config: record.config },
      deadlineMs: record.deadlineMs,
      memoryBytes: record.memoryBytes,
      clock,
      onReady: (hooks, files) => this.#ready(generation, hooks, files),
      onEnd: (end, text, files) => this.#ended(generation, end, text, files),
      onLog: (line) => this.#logs.write(line),
    });
  }

  #ready(generation: Generation, hooks: ReadonlySet<HookName>, files: readonly string[]): void {
    if (this.#starting !== generation) return;
    this.#starting = undefined;
    generation.hooks = hooks;
    const old = this.#current;
    this.#current = generation;
    this.#files = files;
    this.#problem = undefined;
    this.#decided = true;
    if (old !== undefined) this.#drain(old);
    this.#deps.metrics.loaded(this.name, true);
    this.#deps.logger.info(old === undefined ? 'extension loaded' : 'extension replaced by its new version', {
      extension: this.name,
      module: generation.record.module,
      generation: generation.number,
      hooks: [...hooks].join(','),
    });
    this.#tellThreads();
    this.#wake();
  }

  #ended(generation: Generation, end: ThreadEnd, text: string, files: readonly string[]): void {
    const at = this.#draining.indexOf(generation);
    if (at >= 0) this.#draining.splice(at, 1);
    if (end !== 'closed' && this.#starting === generation) {
      this.#starting = undefined;
      this.#files = files;
      this.#fail(text);
      // Without a change of its files it may be well again only where it broke after it had been read.
      if (end !== 'unusable') this.#restart(generation);
    } else if (end !== 'closed' && this.#current === generation) {
      this.#current = undefined;
      this.#problem = text;
      this.#deps.metrics.ended(this.name, end);
      this.#deps.logger.error('extension broke', { extension: this.name, end, reason: text });
      if (this.#starting === undefined) this.#restart(generation);
    }
    this.#tellThreads();
    this.#tellIfGone();
  }

  #restart(generation: Generation): void {
    const { clock } = this.#deps;
    if (clock.nowMs() - generation.startedMs > soundAfterMs) this.#backoff.reset();
    this.#retry?.cancel();
    this.#retry = clock.after(this.#backoff.nextMs(), () => {
      if (!this.#closed && this.#starting === undefined) this.#begin();
    });
  }

  #fail(text: string): void {
    this.#problem = text;
    this.#decided = true;
    this.#deps.metrics.loaded(this.name, false);
    const { module, failureMode } = this.#record;
    this.#deps.logger.error('extension cannot be loaded', {
      extension: this.name,
      module,
      reason: text,
      meanwhile:
        this.#current === undefined ? `requests meet failure mode ${failureMode}` : 'the last good version serves',
    });
    this.#wake();
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  #drain(generation: Generation): void {
    this.#draining.push(generation);
    this.#endIfDrained(generation);
    if (this.#draining.length > maxDraining) this.#draining[0]?.thread?.close();
  }

  #endIfDrained(generation: Generation): void {
    if (generation.leases === 0 && this.#draining.includes(generation)) generation.thread?.close();
  }

  /** Not once its series are gone. */
  #tellThreads(): void {
    if (this.#removed) return;
    const current = this.#current === undefined ? 0 : 1;
    this.#deps.metrics.threads(this.name, current + this.#draining.length);
  }
}
