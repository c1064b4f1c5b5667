/**
 * Tells of changes below a path: as the system tells of them, once for what comes together, and now and then all the same,
 * where a file system does not tell.
 *
 * I1: a watcher that breaks is made anew at the next look; until then changes are noticed within `rescanMs`.
 */
import { type FSWatcher, watch } from 'node:fs';
import type { Clock, Timer } from '../base/clock.ts';

export interface PathWatchOptions {
  readonly path: string;
  readonly recursive: boolean;
  /** From the first notice of a change to telling of it: whoever writes may not be done. */
  readonly debounceMs: number;
  readonly rescanMs: number;
  readonly clock: Clock;
  /** It is time to look. `changed`: what the system named, below the path; undefined: it may be anything. Must not throw. */
  readonly onLook: (changed: ReadonlySet<string> | undefined) => void;
  /** The path cannot be watched now. */
  readonly onLost: (error: unknown) => void;
}

/** More are as good as anything. */
const mostNames = 100;

export class PathWatch {
  readonly #options: PathWatchOptions;
  #watcher: FSWatcher | undefined;
  #debounce: Timer | undefined;
  #named: Set<string> | undefined = new Set();
  #rescan: Timer | undefined;
  #closed = false;

  /** Begins at once; `onLook` is not called for what is there already. */
  constructor(options: PathWatchOptions) {
    this.#options = options;
    this.#watch();
    this.#lookLater();
  }

  /** Nothing is told of any more. */
  close(): void {
    this.#closed = true;
    this.#watcher?.close();
    this.#debounce?.cancel();
    this.#rescan?.cancel();
  }

  #watch(): void {
    const { path, recursive, debounceMs, clock, onLook, onLost } = this.#options;
    const lost = (error: unknown) => {
      this.#watcher?.close();
      this.#watcher = undefined;
      onLost(error);
    };
    try {
      this.#watcher = watch(path, { recursive, persistent: false });
    } catch (error) {
      lost(error);
      return;
    }
    this.#watcher.on('error', lost);
    this.#watcher.on('change', (_event, name) => {
      if (this.#closed) return;
      if (typeof name !== 'string' || (this.#named?.size ?? 0) >= mostNames) this.#named = undefined;
      else this.#named?.add(name);
      this.#debounce ??= clock.after(debounceMs, () => {
        const named = this.#named;
        this.#debounce = undefined;
        this.#named = new Set();
        onLook(named);
      });
    });
  }

  #lookLater(): void {
    const { clock, rescanMs, onLook } = this.#options;
    this.#rescan = clock.after(rescanMs, () => {
      if (this.#watcher === undefined) this.#watch();
      this.#lookLater();
      onLook(undefined);
    });
  }
}
