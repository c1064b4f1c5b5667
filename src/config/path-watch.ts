/**
 * Tells of changes below a path: as the system tells of them, once for what comes together, and now and then all the same,
 * where a file system does not tell.
 *
 * I1: a watcher that breaks is made anew at the next look; until then changes are noticed within `rescanMs`.
 */
import { type FSWatcher, type Stats, statSync, watch } from 'node:fs';
import { join } from 'node:path';
import type { Clock, Timer } from '../base/clock.ts';

export interface PathWatchOptions {
  readonly path: string;
  readonly recursive: boolean;
  /**
   * From the first notice of a change to telling of it: whoever writes may not be done. It is told of earlier where all that was
   * named has rested for as long when it is noticed.
   */
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
/** A file's time of change is that of the kernel's last tick. */
const tickMs = 4;

export class PathWatch {
  readonly #options: PathWatchOptions;
  #watcher: FSWatcher | undefined;
  #debounce: Timer | undefined;
  #named: Set<string> | undefined = new Set();
  #soon: NodeJS.Immediate | undefined;
  /** When all that was named will have rested. */
  #restedMs = 0;
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
    clearImmediate(this.#soon);
    this.#rescan?.cancel();
  }

  #watch(): void {
    const { path, recursive, debounceMs, clock, onLost } = this.#options;
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
      this.#restedMs = Math.max(this.#restedMs, clock.nowMs() + this.#leftMs(name));
      this.#debounce ??= clock.after(debounceMs, () => this.#look());
      // Of a busy process this turn may be a long one, and the notice late.
      this.#soon ??= setImmediate(() => {
        this.#soon = undefined;
        if (clock.nowMs() >= this.#restedMs) this.#look();
      });
    });
  }

  /** How long it is to rest yet. */
  #leftMs(name: unknown): number {
    const { path, debounceMs, clock } = this.#options;
    if (typeof name !== 'string') return debounceMs;
    const stats = statOf(join(path, name));
    return stats === undefined ? debounceMs : Math.max(0, debounceMs + tickMs - (clock.wallMs() - stats.mtimeMs));
  }

  #look(): void {
    const named = this.#named;
    this.#debounce?.cancel();
    this.#debounce = undefined;
    clearImmediate(this.#soon);
    this.#soon = undefined;
    this.#restedMs = 0;
    this.#named = new Set();
    this.#options.onLook(named);
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

/** Undefined: it is gone, or cannot be looked at. */
function statOf(name: string): Stats | undefined {
  try {
    return statSync(name, { throwIfNoEntry: false });
  } catch {
    // Whoever reads it will say what is wrong.
    return undefined;
  }
}
