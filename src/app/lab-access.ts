/** Access lines of the lab's proxies as they are written, by program: what was observed, for the demo and for tests. */
import type { Clock } from '../base/clock.ts';
import { AmbitError } from '../base/errors.ts';

/** Fields of one line, and the message: `connection complete`, `connection failed`. */
export interface AccessEntry {
  readonly message: string;
  readonly fields: Readonly<Record<string, string | number>>;
}

interface Waiter {
  readonly name: string;
  readonly matches: (entry: AccessEntry) => boolean;
  readonly found: (entry: AccessEntry) => void;
}

/** Lines kept per program; older ones go. */
const kept = 20_000;

export class AccessRecord {
  readonly #entries = new Map<string, { dropped: number; list: AccessEntry[] }>();
  readonly #waiters = new Set<Waiter>();

  /** Takes any line of output; only JSON lines of the scope `access` count. */
  take(name: string, line: string): void {
    const entry = readEntry(line);
    if (entry === undefined) return;
    const { list } = this.#of(name);
    list.push(entry);
    if (list.length > kept) {
      list.shift();
      this.#of(name).dropped++;
    }
    for (const waiter of this.#waiters) if (waiter.name === name && waiter.matches(entry)) waiter.found(entry);
  }

  /** How many lines a program has written so far: a place in its record. */
  mark(name: string): number {
    const { dropped, list } = this.#of(name);
    return dropped + list.length;
  }

  since(name: string, mark: number): readonly AccessEntry[] {
    const { dropped, list } = this.#of(name);
    return list.slice(Math.max(0, mark - dropped));
  }

  /** Rejects with `LAB_NO_ACCESS_LINE` at the deadline. */
  waitFor(
    name: string,
    matches: (entry: AccessEntry) => boolean,
    clock: Clock,
    since = this.mark(name),
    deadlineMs = 10_000,
  ): Promise<AccessEntry> {
    const past = this.since(name, since).find(matches);
    if (past !== undefined) return Promise.resolve(past);
    return new Promise((resolve, reject) => {
      const keepAlive = setInterval(() => {}, 1000);
      const settle = (finish: () => void) => {
        this.#waiters.delete(waiter);
        clearInterval(keepAlive);
        timer.cancel();
        finish();
      };
      const waiter: Waiter = { name, matches, found: (entry) => settle(() => resolve(entry)) };
      const timer = clock.after(deadlineMs, () => {
        const last = this.since(name, since)
          .slice(-5)
          .map((entry) => JSON.stringify(entry));
        const message = `${name} wrote no such access line within ${deadlineMs} ms; its last: ${last.join(' ')}`;
        settle(() => reject(new AmbitError(message, { code: 'LAB_NO_ACCESS_LINE', origin: 'local' })));
      });
      this.#waiters.add(waiter);
    });
  }

  #of(name: string): { dropped: number; list: AccessEntry[] } {
    let entries = this.#entries.get(name);
    if (entries === undefined) {
      entries = { dropped: 0, list: [] };
      this.#entries.set(name, entries);
    }
    return entries;
  }
}

/** Lines of output by program, the last ones of each. */
export class OutputRecord {
  readonly #lines = new Map<string, string[]>();

  take(name: string, line: string): void {
    const lines = this.#lines.get(name) ?? [];
    this.#lines.set(name, lines);
    lines.push(line);
    if (lines.length > kept) lines.shift();
  }

  of(name: string): readonly string[] {
    return this.#lines.get(name) ?? [];
  }
}

function readEntry(line: string): AccessEntry | undefined {
  if (!line.startsWith('{') || !line.includes('"scope":"access"')) return undefined;
  try {
    const {
      message,
      level: _level,
      time: _time,
      scope: _scope,
      ...fields
    } = JSON.parse(line) as Record<string, string>;
    return { message: message ?? '', fields };
  } catch {
    // A line that was cut off in the middle is no record of anything.
    return undefined;
  }
}
