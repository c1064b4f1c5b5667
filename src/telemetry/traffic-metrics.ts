/**
 * `istio_tcp_*`, `istio_requests_total` and the request histograms, with Istio's names, labels, units and semantics:
 * bytes received flow client → server for both reporters; opened and byte counters carry flag `-`, closed the final one.
 */
import type { ResponseFlag } from '../base/errors.ts';
import type { Counter, Labels, MetricsRegistry } from '../base/metrics.ts';
import type { ConnectionMetrics, TrafficMetrics } from './traffic.ts';
import type { RequestLabels, TrafficLabels, WorkloadLabels } from './traffic-labels.ts';

const durationBuckets = [0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000];
const sizeBuckets = [1, 5, 10, 50, 100, 500, 1000, 5000, 10000, 50000, 100000, 500000, 1000000];

export function createTrafficMetrics(registry: MetricsRegistry): TrafficMetrics {
  const known = new WeakMap<TrafficLabels, ConnectionCells>();
  return {
    connection: (labels) => known.getOrInsertComputed(labels, () => new ConnectionCells(registry, labels)),
    request(labels, request, durationMs, requestBytes, responseBytes) {
      const all = requestLabels(labels, request);
      registry.counter('istio_requests_total', 'Requests a waypoint has answered.', all).value++;
      const observe = (name: string, help: string, buckets: readonly number[], value: number) =>
        registry.histogram(name, help, buckets, all).observe(value);
      observe('istio_request_duration_milliseconds', 'Duration of requests.', durationBuckets, durationMs);
      observe('istio_request_bytes', 'Bytes of request bodies.', sizeBuckets, requestBytes);
      observe('istio_response_bytes', 'Bytes of response bodies.', sizeBuckets, responseBytes);
    },
  };
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
