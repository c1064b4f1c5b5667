/**
 * Sends records to a collector in batches. Traffic never waits for it.
 *
 * I1: at most `maxQueued` records wait; more are dropped and counted. One batch is under way at a time.
 * I2: a batch is tried a few times while the collector may recover, and is then given up and counted.
 */
import { Backoff } from '../../base/backoff.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { Counter } from '../../base/metrics.ts';
import type { Random } from '../../base/random.ts';
import type { PostOutcome } from './post.ts';

export interface BatchExporterOptions<Item> {
  /** Encodes a batch once; the value sends it, and is called for each try. */
  readonly encode: (batch: readonly Item[]) => Promise<() => Promise<PostOutcome>>;
  /** As the log names the records: `spans`. */
  readonly what: string;
  readonly counter: (result: 'exported' | 'failed' | 'dropped') => Counter;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

const maxQueued = 2048;
const batchSize = 512;
const periodMs = 5000;
const mostTries = 3;
/** What a collector answers that is overloaded or away (OTLP/HTTP, Retryable Response Codes). */
const retryable = new Set([429, 502, 503, 504]);

export class BatchExporter<Item> {
  readonly #options: BatchExporterOptions<Item>;
  readonly #queue: Item[] = [];
  readonly #exported: Counter;
  readonly #failed: Counter;
  readonly #dropped: Counter;
  #timer: Timer | undefined;
  #sending: Promise<void> | undefined;
  #closed = false;
  #failing = false;

  constructor(options: BatchExporterOptions<Item>) {
    this.#options = options;
    this.#exported = options.counter('exported');
    this.#failed = options.counter('failed');
    this.#dropped = options.counter('dropped');
  }

  add(item: Item): void {
    if (this.#closed || this.#queue.length >= maxQueued) {
      this.#dropped.value++;
      return;
    }
    this.#queue.push(item);
    if (this.#queue.length >= batchSize) this.#send();
    else this.#timer ??= this.#options.clock.after(periodMs, () => this.#send());
  }

  /** Sends what is left, once, and takes no more. Never rejects. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#send();
    await this.#sending;
  }

  #send(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const { logger, what } = this.#options;
    this.#sending ??= this.#sendAll()
      .catch((error: unknown) => logger.error(`exporting ${what} failed inside`, { error: errorText(error) }))
      .finally(() => {
        this.#sending = undefined;
      });
  }

  async #sendAll(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, batchSize);
      const problem = await this.#sendBatch(batch);
      (problem === undefined ? this.#exported : this.#failed).value += batch.length;
      this.#tell(problem);
    }
  }

  /** Undefined when it was taken. */
  async #sendBatch(batch: readonly Item[]): Promise<string | undefined> {
    const { clock, random, encode } = this.#options;
    const post = await encode(batch);
    const backoff = new Backoff({ initialMs: 1000, maxMs: 10_000 }, random);
    for (let tries = 1; ; tries++) {
      const outcome = await post();
      if (outcome.kind === 'answered' && outcome.status >= 200 && outcome.status < 300) return undefined;
      const problem = outcome.kind === 'failed' ? outcome.reason : `status ${outcome.status}`;
      const hopeless = outcome.kind === 'answered' && !retryable.has(outcome.status);
      if (hopeless || this.#closed || tries >= mostTries) return problem;
      await new Promise<void>((resolve) => clock.after(backoff.nextMs(), resolve));
    }
  }

  /** Once when it begins to fail, and once when it works again. */
  #tell(problem: string | undefined): void {
    if ((problem !== undefined) === this.#failing) return;
    this.#failing = problem !== undefined;
    const { logger, what } = this.#options;
    if (problem === undefined) logger.info(`${what} are exported again`);
    else logger.warn(`${what} cannot be exported; traffic goes on`, { error: problem });
  }
}
