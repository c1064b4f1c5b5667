/**
 * Metric families whose samples are plain cells. Hot paths add to a cell; whoever scrapes gets the text in slices.
 * Nothing is hashed per event (design rule 11).
 *
 * I1: families are bounded (`family.ts`), and how many label sets had no room is itself a metric.
 */

import { type Clock, systemClock } from '../base/clock.ts';
import type { Counter, Gauge, Histogram, Labels, MetricsRegistry } from '../base/metrics.ts';
import { slicedText } from '../base/sliced-text.ts';
import { type FamilyType, openMetricsContentType, textContentType } from './exposition.ts';
import { countOverflow, Family } from './family.ts';
import type { HistogramCell } from './histogram-cell.ts';
import { ProcessMetrics } from './process-metrics.ts';

export interface MetricsOptions {
  /** Label sets per family. */
  readonly maxSeries: number;
}

export class CellRegistry implements MetricsRegistry {
  readonly #options: MetricsOptions;
  readonly #clock: Clock;
  readonly #families = new Map<string, Family>();
  #process: ProcessMetrics | undefined;

  constructor(options: MetricsOptions = { maxSeries: 40_000 }, clock: Clock = systemClock) {
    this.#options = options;
    this.#clock = clock;
  }

  addProcessMetrics(): void {
    this.#process ??= new ProcessMetrics();
  }

  counter(name: string, help: string, labels: Labels = {}): Counter {
    return this.#family(name, help, 'counter', undefined).cell(labels) as Counter;
  }

  gauge(name: string, help: string, labels: Labels = {}): Gauge {
    return this.#family(name, help, 'gauge', undefined).cell(labels) as Gauge;
  }

  histogram(name: string, help: string, buckets: readonly number[], labels: Labels = {}): Histogram {
    return this.#family(name, help, 'histogram', buckets).cell(labels) as HistogramCell;
  }

  remove(name: string, labels: Labels): void {
    this.#families.get(name)?.delete(labels);
  }

  /** All of them as text. Series that come or go while it is read may be in it or not. */
  render(openMetrics: boolean): { readonly contentType: string; readonly body: AsyncIterable<string> } {
    const contentType = openMetrics ? openMetricsContentType : textContentType;
    return { contentType, body: this.#body(openMetrics) };
  }

  async *#body(openMetrics: boolean): AsyncGenerator<string> {
    yield* slicedText(this.#pieces(openMetrics), { clock: this.#clock });
    if (this.#process !== undefined) yield* this.#process.pieces(openMetrics);
    if (openMetrics) yield '# EOF\n';
  }

  *#pieces(openMetrics: boolean): Generator<string> {
    for (const family of this.#families.values()) yield* family.text(openMetrics);
  }

  #family(name: string, help: string, type: FamilyType, buckets: readonly number[] | undefined): Family {
    let family = this.#families.get(name);
    if (family === undefined) {
      const { maxSeries } = this.#options;
      const onOverflow = () => countOverflow(this, name);
      family = new Family({ name, help, type, buckets, maxSeries, onOverflow });
      this.#families.set(name, family);
    }
    return family;
  }
}
