/**
 * `istio_tcp_*`, `istio_requests_total` and the request histograms, with Istio's names, labels, units and semantics:
 * bytes received flow client → server for both reporters; opened and byte counters carry flag `-`, closed the final one.
 */
import type { ResponseFlag } from '../base/errors.ts';
import type { Counter, Histogram, Labels, MetricsRegistry } from '../base/metrics.ts';
import type { ConnectionMetrics, TrafficMetrics } from './traffic.ts';
import type { RequestLabels, TrafficLabels, WorkloadLabels } from './traffic-labels.ts';

const durationBuckets = [0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000];
const sizeBuckets = [1, 5, 10, 50, 100, 500, 1000, 5000, 10000, 50000, 100000, 500000, 1000000];

/** Classes of requests whose cells are kept per label set; more are looked up each time. */
const keptClasses = 32;

export function createTrafficMetrics(registry: MetricsRegistry): TrafficMetrics {
  const connections = new WeakMap<TrafficLabels, ConnectionCells>();
  const requests = new WeakMap<TrafficLabels, RequestCells[]>();
  return {
    connection: (labels) => connections.getOrInsertComputed(labels, () => new ConnectionCells(registry, labels)),
    request(labels, request, durationMs, requestBytes, responseBytes) {
      const known = requests.getOrInsertComputed(labels, noCells);
      let cells = known.find((each) => each.isOf(request));
      if (cells === undefined) {
        cells = new RequestCells(registry, labels, request);
        if (known.length < keptClasses) known.push(cells);
      }
      cells.add(durationMs, requestBytes, responseBytes);
    },
  };
}

function noCells(): RequestCells[] {
  return [];
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
    this.#requests = registry.counter('istio_requests_total', 'Requests a waypoint has answered.', all);
    const histogram = (name: string, help: string, buckets: readonly number[]) =>
      registry.histogram(name, help, buckets, all);
    this.#durations = histogram('istio_request_duration_milliseconds', 'Duration of requests.', durationBuckets);
    this.#requestBytes = histogram('istio_request_bytes', 'Bytes of request bodies.', sizeBuckets);
    this.#responseBytes = histogram('istio_response_bytes', 'Bytes of response bodies.', sizeBuckets);
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

class ConnectionCells implements ConnectionMetrics {
  readonly #registry: MetricsRegistry;
  readonly #labels: TrafficLabels;
  readonly #opened: Counter;
  readonly #received: Counter;
  readonly #sent: Counter;
  readonly #closed = new Map<ResponseFlag, Counter>();
  readonly #failed = new Map<ResponseFlag, Counter>();

  constructor(registry: MetricsRegistry, labels: TrafficLabels) {
    this.#registry = registry;
    this.#labels = labels;
    const open = tcpLabels(labels, '-');
    this.#opened = registry.counter('istio_tcp_connections_opened_total', 'Connections opened.', open);
    this.#received = registry.counter('istio_tcp_received_bytes_total', 'Bytes from client to server.', open);
    this.#sent = registry.counter('istio_tcp_sent_bytes_total', 'Bytes from server to client.', open);
  }

  opened(): void {
    this.#opened.value++;
  }

  transferred(received: number, sent: number): void {
    this.#received.value += received;
    this.#sent.value += sent;
  }

  closed(flag: ResponseFlag): void {
    this.#cell(this.#closed, flag, 'istio_tcp_connections_closed_total', 'Connections closed.').value++;
    if (flag === '-') return;
    this.#cell(this.#failed, flag, 'istio_tcp_connections_failed_total', 'Connections that failed.').value++;
  }

  #cell(cells: Map<ResponseFlag, Counter>, flag: ResponseFlag, name: string, help: string): Counter {
    return cells.getOrInsertComputed(flag, () => this.#registry.counter(name, help, tcpLabels(this.#labels, flag)));
  }
}

function tcpLabels(labels: TrafficLabels, flag: ResponseFlag): Labels {
  return {
    ...commonLabels(labels),
    request_protocol: 'tcp',
    response_flags: flag,
    connection_security_policy: labels.connectionSecurityPolicy,
    ...localityLabels(labels),
  };
}

function requestLabels(labels: TrafficLabels, request: RequestLabels): Labels {
  return {
    ...commonLabels(labels),
    request_protocol: request.requestProtocol,
    response_code: String(request.responseCode),
    grpc_response_status: request.grpcStatus ?? '',
    response_flags: request.responseFlags,
    connection_security_policy: labels.connectionSecurityPolicy,
    ...localityLabels(labels),
  };
}

function commonLabels(labels: TrafficLabels): Labels {
  return {
    reporter: labels.reporter,
    ...side('source', labels.source),
    destination_service: labels.destinationService,
    destination_service_namespace: labels.destinationServiceNamespace,
    destination_service_name: labels.destinationServiceName,
    ...side('destination', labels.destination),
  };
}

function side(prefix: 'source' | 'destination', workload: WorkloadLabels): Labels {
  return {
    [`${prefix}_workload`]: workload.workload,
    [`${prefix}_canonical_service`]: workload.canonicalService,
    [`${prefix}_canonical_revision`]: workload.canonicalRevision,
    [`${prefix}_workload_namespace`]: workload.namespace,
    [`${prefix}_principal`]: workload.principal,
    [`${prefix}_app`]: workload.app,
    [`${prefix}_version`]: workload.version,
    [`${prefix}_cluster`]: workload.cluster,
  };
}

function localityLabels(labels: TrafficLabels): Labels {
  return {
    source_region: labels.source.region,
    source_zone: labels.source.zone,
    destination_region: labels.destination.region,
    destination_zone: labels.destination.zone,
  };
}
