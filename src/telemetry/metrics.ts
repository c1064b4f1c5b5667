/**
 * Metric families whose samples are plain cells. Hot paths add to a cell; prom-client asks each family for its values
 * when somebody scrapes and does the text forms. Nothing is hashed per event (design rule 11).
 *
 * I1: a family holds at most `maxSeries` label sets; beyond that further sets share one whose labels are `overflow`.
 */
import { collectDefaultMetrics, type Metric, type PrometheusContentType, Registry } from 'prom-client';
import type { Counter, Gauge, Histogram, Labels, MetricsRegistry } from '../base/metrics.ts';
import { HistogramCell } from './histogram-cell.ts';

export interface MetricsOptions {
  /** Label sets per family. */
  readonly maxSeries: number;
}

interface Sample {
  readonly labels: Labels;
  readonly value: number;
  readonly metricName: string;
}

type Cell = { value: number } | HistogramCell;

export class CellRegistry implements MetricsRegistry {
  readonly #options: MetricsOptions;
  readonly #families = new Map<string, Family>();
  readonly #text = new Registry();
  readonly #openMetrics = new Registry();

  constructor(options: MetricsOptions = { maxSeries: 10_000 }) {
    this.#options = options;
    this.#openMetrics.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as PrometheusContentType);
  }

  /** Adds what prom-client knows of the process: memory, descriptors, garbage collection, event loop. */
  addProcessMetrics(): void {
    const known = new Set(this.#families.keys());
    collectDefaultMetrics({ register: this.#text });
    // These walk every open socket at each scrape.
    for (const name of ['nodejs_active_handles', 'nodejs_active_requests', 'nodejs_active_resources']) {
      this.#text.removeSingleMetric(name);
      this.#text.removeSingleMetric(`${name}_total`);
    }
    for (const metric of this.#text.getMetricsAsArray() as unknown as Metric[]) {
      const { name } = metric as unknown as Family;
      if (!known.has(name)) this.#openMetrics.registerMetric(metric);
    }
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

  async render(openMetrics: boolean): Promise<{ readonly contentType: string; readonly body: string }> {
    const registry = openMetrics ? this.#openMetrics : this.#text;
    return { contentType: registry.contentType, body: await registry.metrics() };
  }

  #family(name: string, help: string, type: FamilyType, buckets: readonly number[] | undefined): Family {
    let family = this.#families.get(name);
    if (family === undefined) {
      family = new Family(name, help, type, buckets, this.#options.maxSeries);
      this.#families.set(name, family);
      // The two text forms are two registries of the same families.
      this.#text.registerMetric(family as unknown as Metric);
      this.#openMetrics.registerMetric(family as unknown as Metric);
    }
    return family;
  }
}

type FamilyType = 'counter' | 'gauge' | 'histogram';

/** What prom-client's registry needs of a metric: `name`, `help`, `type` and `get()`. */
class Family {
  readonly name: string;
  readonly help: string;
  readonly type: FamilyType;
  readonly aggregator = 'sum';
  readonly #buckets: readonly number[] | undefined;
  readonly #maxSeries: number;
  readonly #series = new Map<string, { readonly labels: Labels; readonly cell: Cell }>();

  constructor(name: string, help: string, type: FamilyType, buckets: readonly number[] | undefined, maxSeries: number) {
    this.name = name;
    this.help = help;
    this.type = type;
    this.#buckets = buckets;
    this.#maxSeries = maxSeries;
  }

  cell(labels: Labels): Cell {
    const key = Object.values(labels).join('\u0000');
    const known = this.#series.get(key);
    if (known !== undefined) return known.cell;
    if (this.#series.size >= this.#maxSeries && !isOverflow(labels)) return this.cell(overflow(labels));
    const cell = this.#buckets === undefined ? { value: 0 } : new HistogramCell(this.#buckets);
    this.#series.set(key, { labels, cell });
    return cell;
  }

  async get(): Promise<{ name: string; help: string; type: FamilyType; values: Sample[]; aggregator: string }> {
    const values: Sample[] = [];
    for (const { labels, cell } of this.#series.values()) {
      if (cell instanceof HistogramCell) values.push(...histogramSamples(this.name, labels, cell));
      else values.push({ labels, value: cell.value, metricName: this.name });
    }
    return { name: this.name, help: this.help, type: this.type, values, aggregator: this.aggregator };
  }

  reset(): void {
    this.#series.clear();
  }
}

function histogramSamples(name: string, labels: Labels, cell: HistogramCell): Sample[] {
  const samples: Sample[] = [];
  let sum = 0;
  for (const [index, bound] of cell.bounds.entries()) {
    sum += cell.counts[index] ?? 0;
    samples.push({ labels: { ...labels, le: String(bound) }, value: sum, metricName: `${name}_bucket` });
  }
  samples.push({ labels: { ...labels, le: '+Inf' }, value: cell.count, metricName: `${name}_bucket` });
  samples.push({ labels, value: cell.sum, metricName: `${name}_sum` });
  samples.push({ labels, value: cell.count, metricName: `${name}_count` });
  return samples;
}

function overflow(labels: Labels): Labels {
  return Object.fromEntries(Object.keys(labels).map((name) => [name, 'overflow']));
}

function isOverflow(labels: Labels): boolean {
  return Object.values(labels).every((value) => value === 'overflow');
}
