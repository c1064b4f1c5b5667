/**
 * `istio_tcp_*`, `istio_requests_total` and the request histograms, with Istio's names, labels, units and semantics:
 * bytes received flow client → server for both reporters; opened and byte counters carry flag `-`, closed the final one.
 * Label sets are bounded, and those of workloads that have left can be dropped (`series-table.ts`).
 */
import type { ResponseFlag } from '../base/errors.ts';
import type { Counter, Histogram, MetricsRegistry } from '../base/metrics.ts';
import { labelsText } from './exposition.ts';
import { countOverflow } from './family.ts';
import { requestLabels, tcpLabels } from './label-sets.ts';
import { type Series, type SeriesHolder, SeriesTable } from './series-table.ts';
import type { ConnectionMetrics, TrafficMetrics } from './traffic.ts';
import type { RequestLabels, TrafficLabels } from './traffic-labels.ts';

/** As ztunnel and Envoy explain them. */
const helps = {
  istio_tcp_connections_opened_total: 'The total number of TCP connections opened.',
  istio_tcp_connections_closed_total: 'The total number of TCP connections closed.',
  istio_tcp_received_bytes_total: 'The size of total bytes received during request in case of a TCP connection.',
  istio_tcp_sent_bytes_total: 'The size of total bytes sent during response in case of a TCP connection.',
  istio_tcp_connections_failed_total: 'The total number of TCP connections that failed to establish (unstable).',
  istio_requests_total: 'Requests a waypoint has answered.',
  istio_request_duration_milliseconds: 'Duration of requests.',
  istio_request_bytes: 'Bytes of request bodies.',
  istio_response_bytes: 'Bytes of response bodies.',
} as const;
type MetricName = keyof typeof helps;

const durationBuckets = [0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000];
const sizeBuckets = [1, 5, 10, 50, 100, 500, 1000, 5000, 10000, 50000, 100000, 500000, 1000000];

/** Classes of requests whose cells are kept per label set; more are looked up each time. */
const keptClasses = 32;

/** Label sets of connections, and as many of requests. */
const defaultMaxLabelSets = 10_000;

export interface DroppableTraffic extends TrafficMetrics {
  readonly holders: readonly SeriesHolder[];
}

export function createTrafficMetrics(registry: MetricsRegistry, maxLabelSets = defaultMaxLabelSets): DroppableTraffic {
  const overflow = (family: string) => () => countOverflow(registry, family);
  const connections = new SeriesTable(
    maxLabelSets,
    (labels) => new ConnectionSeries(registry, labels),
    overflow('istio_tcp'),
  );
  const requests = new SeriesTable(
    maxLabelSets,
    (labels) => new RequestSeries(registry, labels),
    overflow('istio_requests'),
  );
  return {
    connection: (labels) => connections.of(labels, keyOf),
    request: (labels, request, durationMs, requestBytes, responseBytes) =>
      requests.of(labels, keyOf).add(request, durationMs, requestBytes, responseBytes),
    holders: [connections, requests],
  };
}

function keyOf(labels: TrafficLabels): string {
  return labelsText(tcpLabels(labels, '-'));
}

/** Of one label set: cells by response flag. */
class ConnectionSeries implements ConnectionMetrics, Series {
  readonly labels: TrafficLabels;
  readonly #registry: MetricsRegistry;
  readonly #opened: Counter;
  readonly #received: Counter;
  readonly #sent: Counter;
  readonly #closed = new Map<ResponseFlag, Counter>();
  readonly #failed = new Map<ResponseFlag, Counter>();
  live = 0;
  activity = 0;

  constructor(registry: MetricsRegistry, labels: TrafficLabels) {
    this.labels = labels;
    this.#registry = registry;
    this.#opened = this.#counter('istio_tcp_connections_opened_total', '-');
    this.#received = this.#counter('istio_tcp_received_bytes_total', '-');
    this.#sent = this.#counter('istio_tcp_sent_bytes_total', '-');
  }

  opened(): void {
    this.#opened.value++;
    this.live++;
    this.activity++;
  }

  transferred(received: number, sent: number): void {
    this.#received.value += received;
    this.#sent.value += sent;
  }

  closed(flag: ResponseFlag): void {
    this.live--;
    this.activity++;
    this.#of(this.#closed, 'istio_tcp_connections_closed_total', flag).value++;
    if (flag !== '-') this.#of(this.#failed, 'istio_tcp_connections_failed_total', flag).value++;
  }

  drop(): void {
    const open: readonly MetricName[] = [
      'istio_tcp_connections_opened_total',
      'istio_tcp_received_bytes_total',
      'istio_tcp_sent_bytes_total',
    ];
    for (const name of open) this.#remove(name, '-');
    for (const flag of this.#closed.keys()) this.#remove('istio_tcp_connections_closed_total', flag);
    for (const flag of this.#failed.keys()) this.#remove('istio_tcp_connections_failed_total', flag);
  }

  #of(cells: Map<ResponseFlag, Counter>, name: MetricName, flag: ResponseFlag): Counter {
    return cells.getOrInsertComputed(flag, () => this.#counter(name, flag));
  }

  #counter(name: MetricName, flag: ResponseFlag): Counter {
    return this.#registry.counter(name, helps[name], tcpLabels(this.labels, flag));
  }

  #remove(name: MetricName, flag: ResponseFlag): void {
    this.#registry.remove(name, tcpLabels(this.labels, flag));
  }
}

/** Of one label set: cells by class of request. */
class RequestSeries implements Series {
  readonly labels: TrafficLabels;
  readonly live = 0;
  activity = 0;
  readonly #registry: MetricsRegistry;
  readonly #kept: RequestCells[] = [];
  /** Classes there are, kept or not: a few hundred statuses at most, since codes and flags are bounded. */
  readonly #classes = new Map<string, RequestLabels>();

  constructor(registry: MetricsRegistry, labels: TrafficLabels) {
    this.labels = labels;
    this.#registry = registry;
  }

  add(request: RequestLabels, durationMs: number, requestBytes: number, responseBytes: number): void {
    this.activity++;
    let cells = this.#kept.find((each) => each.isOf(request));
    if (cells === undefined) {
      cells = new RequestCells(this.#registry, this.labels, request);
      const { requestProtocol, responseCode, responseFlags, grpcStatus } = request;
      this.#classes.set(`${requestProtocol} ${responseCode} ${responseFlags} ${grpcStatus}`, request);
      if (this.#kept.length < keptClasses) this.#kept.push(cells);
    }
    cells.add(durationMs, requestBytes, responseBytes);
  }

  drop(): void {
    const names: readonly MetricName[] = [
      'istio_requests_total',
      'istio_request_duration_milliseconds',
      'istio_request_bytes',
      'istio_response_bytes',
    ];
    for (const request of this.#classes.values()) {
      const labels = requestLabels(this.labels, request);
      for (const name of names) this.#registry.remove(name, labels);
    }
  }
}

/** Of one label set and one class of requests: protocol, status and flags. */
class RequestCells {
  readonly #class: RequestLabels;
  readonly #requests: Counter;
  readonly #durations: Histogram;
  readonly #requestBytes: Histogram;
  readonly #responseBytes: Histogram;

  constructor(registry: MetricsRegistry, labels: TrafficLabels, request: RequestLabels) {
    const all = requestLabels(labels, request);
    this.#class = request;
    this.#requests = registry.counter('istio_requests_total', helps.istio_requests_total, all);
    const histogram = (name: MetricName, buckets: readonly number[]) =>
      registry.histogram(name, helps[name], buckets, all);
    this.#durations = histogram('istio_request_duration_milliseconds', durationBuckets);
    this.#requestBytes = histogram('istio_request_bytes', sizeBuckets);
    this.#responseBytes = histogram('istio_response_bytes', sizeBuckets);
  }

  isOf({ requestProtocol, responseCode, responseFlags, grpcStatus }: RequestLabels): boolean {
    const own = this.#class;
    return (
      own.responseCode === responseCode &&
      own.requestProtocol === requestProtocol &&
      own.responseFlags === responseFlags &&
      own.grpcStatus === grpcStatus
    );
  }

  add(durationMs: number, requestBytes: number, responseBytes: number): void {
    this.#requests.value++;
    this.#durations.observe(durationMs);
    this.#requestBytes.observe(requestBytes);
    this.#responseBytes.observe(responseBytes);
  }
}
