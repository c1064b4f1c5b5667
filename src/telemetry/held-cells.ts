/**
 * Cells that several sets of series may share, once labels that told them apart were taken away.
 *
 * I1: a cell leaves its family when the last that holds it lets go, and not before: nothing that is counted is lost.
 */
import type { Counter, Histogram, Labels, MetricsRegistry } from '../base/metrics.ts';
import { helps, requestBuckets, type TrafficMetricName } from './traffic-names.ts';

export class HeldCells {
  readonly #registry: MetricsRegistry;
  readonly #holders = new WeakMap<object, number>();

  constructor(registry: MetricsRegistry) {
    this.#registry = registry;
  }

  counter(name: TrafficMetricName, labels: Labels): Counter {
    return this.#hold(this.#registry.counter(name, helps[name], labels));
  }

  histogram(name: TrafficMetricName, labels: Labels): Histogram {
    return this.#hold(this.#registry.histogram(name, helps[name], requestBuckets, labels));
  }

  release(name: TrafficMetricName, cell: object, labels: Labels): void {
    const left = (this.#holders.get(cell) ?? 1) - 1;
    this.#holders.set(cell, left);
    if (left === 0) this.#registry.remove(name, labels);
  }

  #hold<Cell extends object>(cell: Cell): Cell {
    this.#holders.set(cell, (this.#holders.get(cell) ?? 0) + 1);
    return cell;
  }
}
