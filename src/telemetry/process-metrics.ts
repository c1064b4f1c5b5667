/**
 * What prom-client knows of the process: memory, garbage collection, event loop, descriptors. It counts descriptors by
 * reading a folder synchronously, which takes milliseconds with many connections: that one is ours, off the thread.
 */
import { readdir } from 'node:fs/promises';
import { collectDefaultMetrics, type PrometheusContentType, Registry } from 'prom-client';
import { EventLoopDelay } from './event-loop-delay.ts';
import { familyHead, sampleLine } from './exposition.ts';

/** These walk every open socket, or read the folder of descriptors, at each scrape. */
const left = [
  'nodejs_active_handles',
  'nodejs_active_handles_total',
  'nodejs_active_requests',
  'nodejs_active_requests_total',
  'nodejs_active_resources',
  'nodejs_active_resources_total',
  'process_open_fds',
];

export class ProcessMetrics {
  readonly #text = new Registry();
  readonly #openMetrics = new Registry();
  readonly #names: readonly string[];
  readonly #delay = new EventLoopDelay();

  constructor() {
    this.#openMetrics.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as PrometheusContentType);
    collectDefaultMetrics({ register: this.#text });
    for (const name of left) this.#text.removeSingleMetric(name);
    const metrics = this.#text.getMetricsAsArray();
    // The two text forms are two registries of the same metrics.
    for (const metric of metrics) this.#openMetrics.registerMetric(metric as never);
    this.#names = metrics.map(({ name }) => name);
  }

  /** A family a piece. */
  async *pieces(openMetrics: boolean): AsyncGenerator<string> {
    const registry = openMetrics ? this.#openMetrics : this.#text;
    for (const name of this.#names) {
      const text = await registry.getSingleMetricAsString(name);
      yield `${text.trimEnd()}\n`;
    }
    yield* this.#delay.pieces(openMetrics);
    const open = await openDescriptors();
    if (open === undefined) return;
    yield familyHead('process_open_fds', 'Number of open file descriptors', 'gauge', openMetrics);
    yield sampleLine('process_open_fds', '', open);
  }
}

async function openDescriptors(): Promise<number | undefined> {
  try {
    // The descriptor of the folder itself is among them.
    return (await readdir('/proc/self/fd')).length - 1;
  } catch {
    // Not Linux, or no descriptor is left to open the folder with: the metric is missing then.
    return undefined;
  }
}
