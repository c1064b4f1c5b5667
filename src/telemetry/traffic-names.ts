/** Names, explanations and bounds of Istio's standard metrics (https://istio.io/latest/docs/reference/config/metrics/). */

/** As ztunnel and Envoy explain them. */
export const helps = {
  istio_tcp_connections_opened_total: 'The total number of TCP connections opened.',
  istio_tcp_connections_closed_total: 'The total number of TCP connections closed.',
  istio_tcp_received_bytes_total: 'The size of total bytes received during request in case of a TCP connection.',
  istio_tcp_sent_bytes_total: 'The size of total bytes sent during response in case of a TCP connection.',
  istio_tcp_connections_failed_total: 'The total number of TCP connections that failed to establish (unstable).',
  istio_requests_total: 'Requests a waypoint has answered.',
  istio_request_duration_milliseconds: 'Duration of requests.',
  istio_request_bytes: 'Size of requests, heads included.',
  istio_response_bytes: 'Size of responses, heads included.',
  istio_request_messages_total: 'gRPC messages from clients.',
  istio_response_messages_total: 'gRPC messages to clients.',
} as const;

export type TrafficMetricName = keyof typeof helps;

/** Envoy's own, which Istio's proxies use for durations and sizes alike: users' queries name these bounds. */
export const requestBuckets = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
  3_600_000,
];
