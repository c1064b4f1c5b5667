/**
 * Sends finished spans to an OpenTelemetry collector in batches. Traffic never waits for it.
 *
 * I1: at most `maxQueued` spans wait; more are dropped and counted. One batch is under way at a time.
 * I2: a batch is tried a few times while the collector may recover, and is then given up and counted.
 */
import { Backoff } from '../../base/backoff.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { Counter, MetricsRegistry } from '../../base/metrics.ts';
import type { Random } from '../../base/random.ts';
import { slicedText } from '../../base/sliced-text.ts';
import { otlpJson, type Resource } from './otlp-json.ts';
import type { PostOutcome } from './post.ts';
import type { FinishedSpan } from './span.ts';

export interface ExporterOptions {
  readonly post: (body: string) => Promise<PostOutcome>;
  readonly resource: Resource;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: MetricsRegistry;
  readonly logger: Logger;
}

const maxQueued = 2048;
const batchSize = 512;
const periodMs = 5000;
const mostTries = 3;
/** What a collector answers that is overloaded or away (OTLP/HTTP, Retryable Response Codes). */
const retryable = new Set([429, 502, 503, 504]);

export class SpanExporter {
  readonly #options: ExporterOptions;
  readonly #queue: FinishedSpan[] = [];
  readonly #exported: Counter;
  readonly #failed: Counter;
  readonly #dropped: Counter;
  #timer: Timer | undefined;
  #sending: Promise<void> | undefined;
  #closed = false;
  #failing = false;

  constructor(options: ExporterOptions) {
    this.#options = options;
    const counter = (result: string) =>
      options.metrics.counter('ambit_spans_total', 'Spans, by what became of them.', { result });
    this.#exported = counter('exported');
    this.#failed = counter('failed');
    this.#dropped = counter('dropped');
  }

  add(span: FinishedSpan): void {
    if (this.#closed || this.#queue.length >= maxQueued) {
      this.#dropped.value++;
      return;
    }
    this.#queue.push(span);
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
    this.#sending ??= this.#sendAll()
      .catch((error: unknown) =>
        this.#options.logger.error('exporting spans failed inside', { error: errorText(error) }),
      )
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
  async #sendBatch(batch: readonly FinishedSpan[]): Promise<string | undefined> {
    const { clock, random, post, resource } = this.#options;
    let body = '';
    for await (const chunk of slicedText(otlpJson(resource, batch), { clock })) body += chunk;
    const backoff = new Backoff({ initialMs: 1000, maxMs: 10_000 }, random);
    for (let tries = 1; ; tries++) {
      const outcome = await post(body);
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
    if (problem === undefined) this.#options.logger.info('spans are exported again');
    else this.#options.logger.warn('spans cannot be exported; traffic goes on', { error: problem });
  }
}
