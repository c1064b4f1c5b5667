/**
 * How long the turns of the event loop took since the last scrape: what the slowest task made everybody else wait. Measured
 * by Node itself, turn by turn and without a timer of its own; waiting for work does not count.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { familyHead, sampleLine } from './exposition.ts';

const name = 'ambit_event_loop_delay_seconds';
const help = 'Length of the turns of the event loop since the last scrape';
const quantiles = [0.5, 0.99, 1];

export class EventLoopDelay {
  readonly #histogram = monitorEventLoopDelay({ samplePerIteration: true });

  constructor() {
    this.#histogram.enable();
  }

  /** The family's text. Counting begins anew. */
  *pieces(openMetrics: boolean): Generator<string> {
    const { count } = this.#histogram;
    const seconds = quantiles.map((quantile) => (count === 0 ? 0 : this.#histogram.percentile(quantile * 100) / 1e9));
    this.#histogram.reset();
    yield familyHead(name, help, 'gauge', openMetrics);
    for (const [i, quantile] of quantiles.entries()) {
      yield sampleLine(name, `quantile="${quantile}"`, seconds[i] ?? 0);
    }
  }
}
