/**
 * The file of revocation lists (CRL_PATH), read at start and after every change: rewritten, replaced by a rename, or
 * swapped with its whole folder as Kubernetes does with `..data`.
 *
 * I1: a file that cannot be used changes nothing: the last good lists stay in force, and that is said aloud and counted.
 * I2: a change that no watcher tells of is noticed within `rescanMs`.
 */
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Gauge, MetricsRegistry } from '../base/metrics.ts';
import { PathWatch } from '../config/path-watch.ts';
import type { Revocation } from './revocation.ts';
import { readRevocationLists } from './revocation-list.ts';

export interface RevocationFileOptions {
  readonly path: string;
  readonly revocation: Revocation;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  /** From the first notice of a change to reading: whoever writes may not be done. Default 2 s. */
  readonly debounceMs?: number;
  /** Default 30 s. */
  readonly rescanMs?: number;
}

/** A ConfigMap holds 1 MiB at most; a signature over more than this would take the event loop for too long. */
const maxBytes = 4 * 2 ** 20;

export class RevocationFile {
  readonly #options: RevocationFileOptions;
  readonly #usable: Gauge;
  readonly #entries: Gauge;
  #watch: PathWatch | undefined;
  /** What the file was like when it was read last. */
  #seen: string | undefined;
  #problem: string | undefined;
  #reading: Promise<void> | undefined;
  #again = false;
  #closed = false;

  constructor(options: RevocationFileOptions) {
    this.#options = options;
    const { metrics } = options;
    this.#usable = metrics.gauge('ambit_crl_usable', '1: the file of revocation lists was good when last read.');
    this.#entries = metrics.gauge('ambit_crl_entries', 'Certificates revoked by the lists in force.');
  }

  /** Why the file as it is now is not in force; undefined: it is. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Resolves after the first attempt to read, good or not. Call it once. */
  async start(): Promise<void> {
    const { path: file, clock, logger, debounceMs = 2000, rescanMs = 30_000 } = this.#options;
    this.#watch = new PathWatch({
      // The folder, since a file that is replaced by a rename is another one.
      path: path.dirname(file),
      recursive: false,
      debounceMs,
      rescanMs,
      clock,
      onLook: () => void this.refresh(),
      onLost: (error) => logger.debug('cannot watch the folder of revocation lists', { file, error: errorText(error) }),
    });
    await this.refresh();
  }

  close(): void {
    this.#closed = true;
    this.#watch?.close();
  }

  /** Reads the file if it is not the one read last. Never rejects. */
  refresh(): Promise<void> {
    this.#again = true;
    this.#reading ??= this.#readAll().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  /** A change that is told of while reading may come after what was read. */
  async #readAll(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false;
      await this.#read();
    }
  }

  async #read(): Promise<void> {
    const { path: file } = this.#options;
    let seen: string | undefined;
    try {
      const { dev, ino, size, mtimeMs } = await stat(file);
      seen = `${dev} ${ino} ${size} ${mtimeMs}`;
      if (seen === this.#seen) return;
      if (size > maxBytes) throw new RangeError(`it is larger than ${maxBytes} bytes`);
      const outcome = await readRevocationLists(await readFile(file, 'utf8'));
      if (this.#closed) return;
      if (outcome.kind === 'bad') throw new RangeError(outcome.reason);
      this.#accept(outcome.lists);
    } catch (error) {
      this.#refuse(errorText(error));
    }
    this.#seen = seen;
  }

  #accept(lists: Parameters<Revocation['replace']>[0]): void {
    const { path: file, clock, logger, revocation } = this.#options;
    this.#problem = undefined;
    this.#usable.value = 1;
    this.#entries.value = lists.reduce((sum, { serials }) => sum + serials.size, 0);
    logger.info('revocation lists read', { file, lists: lists.length, entries: this.#entries.value });
    const nowMs = clock.wallMs();
    for (const { nextUpdateMs } of lists) {
      if (nextUpdateMs === undefined || nextUpdateMs > nowMs) continue;
      logger.warn('a revocation list is past its date; it stays in force', {
        file,
        until: new Date(nextUpdateMs).toISOString(),
      });
    }
    revocation.replace(lists);
  }

  #refuse(reason: string): void {
    const { path: file, logger, revocation } = this.#options;
    if (reason === this.#problem) return;
    this.#problem = reason;
    this.#usable.value = 0;
    const effect = revocation.known ? 'the last good lists stay in force' : 'no list is in force';
    logger.error('revocation lists cannot be used', { file, reason, effect });
  }
}
