/** `istio_tcp_*` of one label set: cells by response flag. Opened and byte counters carry flag `-`, closed the final one. */
import type { Counter } from '../base/metrics.ts';
import type { HeldCells } from './held-cells.ts';
import { tcpLabels } from './label-sets.ts';
import { shapedLabels } from './metric-shape.ts';
import type { Series } from './series-table.ts';
import type { ConnectionMetrics } from './traffic.ts';
import type { TrafficLabels } from './traffic-labels.ts';
import type { TrafficMetricName } from './traffic-names.ts';

export class ConnectionSeries implements ConnectionMetrics, Series {
  readonly labels: TrafficLabels;
  readonly #cells: HeldCells;
  readonly #opened: Counter | undefined;
  readonly #received: Counter | undefined;
  readonly #sent: Counter | undefined;
  readonly #closed = new Map<string, Counter | undefined>();
  readonly #failed = new Map<string, Counter | undefined>();
  live = 0;
  activity = 0;

  constructor(cells: HeldCells, labels: TrafficLabels) {
    this.labels = labels;
    this.#cells = cells;
    this.#opened = this.#counter('istio_tcp_connections_opened_total', '-');
    this.#received = this.#counter('istio_tcp_received_bytes_total', '-');
    this.#sent = this.#counter('istio_tcp_sent_bytes_total', '-');
  }

  opened(): void {
    if (this.#opened !== undefined) this.#opened.value++;
    this.live++;
    this.activity++;
  }

  transferred(received: number, sent: number): void {
    if (this.#received !== undefined) this.#received.value += received;
    if (this.#sent !== undefined) this.#sent.value += sent;
  }

  closed(flag: string): void {
    this.live--;
    this.activity++;
    this.#count(this.#closed, 'istio_tcp_connections_closed_total', flag);
    // ztunnel's own: Envoy has no such metric.
    if (flag !== '-' && this.labels.reporter !== 'waypoint') {
      this.#count(this.#failed, 'istio_tcp_connections_failed_total', flag);
    }
  }

  drop(): void {
    this.#release('istio_tcp_connections_opened_total', '-', this.#opened);
    this.#release('istio_tcp_received_bytes_total', '-', this.#received);
    this.#release('istio_tcp_sent_bytes_total', '-', this.#sent);
    for (const [flag, cell] of this.#closed) this.#release('istio_tcp_connections_closed_total', flag, cell);
    for (const [flag, cell] of this.#failed) this.#release('istio_tcp_connections_failed_total', flag, cell);
  }

  #count(cells: Map<string, Counter | undefined>, name: TrafficMetricName, flag: string): void {
    const cell = cells.getOrInsertComputed(flag, () => this.#counter(name, flag));
    if (cell !== undefined) cell.value++;
  }

  #counter(name: TrafficMetricName, flag: string): Counter | undefined {
    const labels = this.#labelsOf(name, flag);
    return labels && this.#cells.counter(name, labels);
  }

  #release(name: TrafficMetricName, flag: string, cell: Counter | undefined): void {
    const labels = this.#labelsOf(name, flag);
    if (cell !== undefined && labels !== undefined) this.#cells.release(name, cell, labels);
  }

  #labelsOf(name: TrafficMetricName, flag: string) {
    return shapedLabels(this.labels.shape, name, tcpLabels(this.labels, flag));
  }
}
