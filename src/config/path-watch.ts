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
  /** It is time to look. Must not throw. */
  readonly onLook: () => void;
  /** The path cannot be watched now. */
  readonly onLost: (error: unknown) => void;
}

export class PathWatch {
  readonly #options: PathWatchOptions;
  #watcher: FSWatcher | undefined;
  #debounce: Timer | undefined;
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
    this.#watcher.on('change', () => {
      if (this.#closed || this.#debounce !== undefined) return;
      this.#debounce = clock.after(debounceMs, () => {
        this.#debounce = undefined;
        onLook();
      });
    });
  }

  #lookLater(): void {
    const { clock, rescanMs, onLook } = this.#options;
    this.#rescan = clock.after(rescanMs, () => {
      if (this.#watcher === undefined) this.#watch();
      this.#lookLater();
      onLook();
    });
  }
}
