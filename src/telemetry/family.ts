/**
 * One metric family: its cells by label set, bounded.
 *
 * I1: at most `maxSeries` label sets; beyond that further ones share a set whose labels are `overflow`, so that sums stay
 *     right, and `onOverflow` is told.
 */
import type { Counter, Labels, MetricsRegistry } from '../base/metrics.ts';
import { type FamilyType, familyHead, labelsText, numberText, sampleLine } from './exposition.ts';
import { HistogramCell } from './histogram-cell.ts';

export interface FamilyOptions {
  readonly name: string;
  readonly help: string;
  readonly type: FamilyType;
  /** Of a histogram. */
  readonly buckets: readonly number[] | undefined;
  readonly maxSeries: number;
  readonly onOverflow: () => void;
}

type Cell = Counter | HistogramCell;

export class Family {
  readonly #options: FamilyOptions;
  /** By the labels as they stand in the text: one string that serves as key and as output. */
  readonly #series = new Map<string, Cell>();

  constructor(options: FamilyOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#series.size;
  }

  cell(labels: Labels): Cell {
    const { maxSeries, buckets, onOverflow } = this.#options;
    const key = labelsText(labels);
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    if (this.#series.size >= maxSeries && !isOverflow(labels)) {
      onOverflow();
      return this.cell(overflow(labels));
    }
    const cell = buckets === undefined ? { value: 0 } : new HistogramCell(buckets);
    this.#series.set(key, cell);
    return cell;
  }

  delete(labels: Labels): void {
    this.#series.delete(labelsText(labels));
  }

  /** Head and samples, a series a piece. */
  *text(openMetrics: boolean): Generator<string> {
    const { name, help, type } = this.#options;
    if (this.#series.size === 0) return;
    yield familyHead(name, help, type, openMetrics);
    for (const [labels, cell] of this.#series) {
      yield cell instanceof HistogramCell ? histogramText(name, labels, cell) : sampleLine(name, labels, cell.value);
    }
  }
}

function histogramText(name: string, labels: string, cell: HistogramCell): string {
  const comma = labels === '' ? '' : ',';
  let text = '';
  let sum = 0;
  for (const [index, bound] of cell.bounds.entries()) {
    sum += cell.counts[index] ?? 0;
    text += sampleLine(`${name}_bucket`, `${labels}${comma}le="${numberText(bound)}"`, sum);
  }
  text += sampleLine(`${name}_bucket`, `${labels}${comma}le="+Inf"`, cell.count);
  return text + sampleLine(`${name}_sum`, labels, cell.sum) + sampleLine(`${name}_count`, labels, cell.count);
}

/** A label set for which a family had no room. */
export function countOverflow(registry: MetricsRegistry, family: string): void {
  const help = 'Label sets for which a family had no room: they are counted together, labelled overflow.';
  registry.counter('ambit_metrics_overflowed_total', help, { family }).value++;
}

function overflow(labels: Labels): Labels {
  return Object.fromEntries(Object.keys(labels).map((name) => [name, 'overflow']));
}

function isOverflow(labels: Labels): boolean {
  return Object.values(labels).every((value) => value === 'overflow');
}
