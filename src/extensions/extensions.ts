/**
 * All extensions of a proxy: those that the model attaches run, those that it no longer does end, and those whose files change
 * are loaded anew.
 */
import { fileURLToPath } from 'node:url';
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { MetricsRegistry } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import { PathWatch } from '../config/path-watch.ts';
import { HeldMemory } from '../http/held-memory.ts';
import { type ExtensionList, type ExtensionRecord, extensionName } from '../route/extension.ts';
import { maxExtensions, placeExtensions } from '../route/extension-places.ts';
import { type FolderState, hasChanged, locateModule, readFolderState } from './folder.ts';
import { ExtensionMetrics } from './metrics.ts';
import { type Lease, RunningExtension, type Thread } from './running.ts';
import { ExtensionThread, type ThreadOptions } from './thread.ts';

export interface ExtensionsOptions {
  /** Undefined: no module is found. */
  readonly directory: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  /** For tests. */
  readonly startThread?: (options: ThreadOptions) => Thread;
}

/** Bodies that are gathered for hooks that want them whole, of all requests together. */
const maxHeldBytes = 64 * 1024 * 1024;

export class Extensions {
  readonly metrics: ExtensionMetrics;
  readonly held = new HeldMemory(maxHeldBytes);
  readonly #options: ExtensionsOptions;
  readonly #logger: Logger;
  readonly #running = new Map<string, RunningExtension>();
  /** Attached to nothing any more, but not done yet. */
  readonly #leaving = new Set<RunningExtension>();
  #toldWithout = '';
  #state: FolderState = new Map();
  #watch: PathWatch | undefined;

  constructor(options: ExtensionsOptions) {
    this.#options = options;
    this.#logger = options.logger.topic('extensions');
    this.metrics = new ExtensionMetrics(options.metrics);
  }

  /** What is attached from now on. */
  apply(records: ExtensionList): void {
    const { placed, without } = placeExtensions(records);
    const wanted = new Map(placed.map((record) => [extensionName(record), record]));
    this.#tellOf(without);
    for (const [name, running] of this.#running) {
      if (wanted.has(name)) continue;
      this.#running.delete(name);
      this.#leaving.add(running);
      running.remove(() => this.#leaving.delete(running));
      this.metrics.forget(name);
    }
    if (wanted.size > 0) this.#watchFolder();
    for (const [name, record] of wanted) {
      const running = this.#running.get(name);
      if (running !== undefined) running.update(record);
      else this.#running.set(name, this.#run(record));
    }
  }

  /** `done` comes once, with undefined when the extension cannot be asked. */
  lease(record: ExtensionRecord, done: (lease: Lease | undefined) => void): void {
    const running = this.#running.get(extensionName(record));
    if (running === undefined) done(undefined);
    else running.lease(done);
  }

  /** Names of those whose first load has not ended. */
  pending(): readonly string[] {
    return [...this.#running.values()].filter(({ decided }) => !decided).map(({ name }) => name);
  }

  describe() {
    return Array.from(this.#running.values(), (running) => running.describe());
  }

  /** Ends all threads; what is under way is answered with the failure mode. */
  close(): void {
    this.#watch?.close();
    for (const running of [...this.#running.values(), ...this.#leaving]) running.close(true);
    this.#running.clear();
    this.#leaving.clear();
  }

  /** Looks at the folder now. */
  look(): void {
    const { directory } = this.#options;
    if (directory === undefined) return;
    const before = this.#state;
    const now = readFolderState(directory);
    this.#state = now;
    for (const running of this.#running.values()) {
      if (running.record.broken !== undefined) continue;
      const files = running.files.map(pathOf);
      if (hasChanged(files, before, now)) running.reload();
    }
  }

  /** Once for the same ones. */
  #tellOf(without: ExtensionList): void {
    const names = without.map(extensionName).join(', ');
    if (names !== '' && names !== this.#toldWithout)
      this.#logger.error('too many extensions: some meet their failure mode', { most: maxExtensions, names });
    this.#toldWithout = names;
  }

  #run(record: ExtensionRecord): RunningExtension {
    const { clock, random, directory, startThread = newThread } = this.#options;
    return new RunningExtension(record, {
      clock,
      random,
      logger: this.#logger,
      metrics: this.metrics,
      startThread,
      locate: (module) => locateModule(directory, module),
    });
  }

  #watchFolder(): void {
    const { directory, clock } = this.#options;
    if (this.#watch !== undefined || directory === undefined) return;
    this.#state = readFolderState(directory);
    this.#watch = new PathWatch({
      path: directory,
      recursive: true,
      debounceMs: 100,
      rescanMs: 30_000,
      clock,
      onLook: () => this.look(),
      onLost: (error) =>
        this.#logger.warn('cannot watch the folder of extensions, changes are noticed late', {
          directory,
          error: errorText(error),
        }),
    });
  }
}

function newThread(options: ThreadOptions): Thread {
  return new ExtensionThread(options);
}

function pathOf(url: string): string {
  return fileURLToPath(url);
}
