/**
 * The label set of `istio_tcp_*` and `istio_requests_total`: names and order as Istio's dashboards know them
 * (Istio standard metrics; ztunnel's are the same set). A missing value is `unknown`.
 */
import type { MetricShape } from './metric-shape.ts';

export interface WorkloadLabels {
  readonly workload: string;
  readonly canonicalService: string;
  readonly canonicalRevision: string;
  readonly namespace: string;
  /** `spiffe://…`; for sources only when proven by mTLS. */
  readonly principal: string;
  readonly app: string;
  readonly version: string;
  readonly cluster: string;
  readonly region: string;
  readonly zone: string;
}

export interface TrafficLabels {
  readonly reporter: 'source' | 'destination' | 'waypoint';
  readonly source: WorkloadLabels;
  readonly destination: WorkloadLabels;
  readonly destinationService: string;
  readonly destinationServiceName: string;
  readonly destinationServiceNamespace: string;
  readonly connectionSecurityPolicy: 'mutual_tls' | 'unknown';
  /** What was changed about the metrics of this traffic; undefined: nothing. */
  readonly shape?: MetricShape | undefined;
}

/** Added to `TrafficLabels` when a request or connection ends. */
export interface RequestLabels {
  readonly requestProtocol: 'http' | 'grpc' | 'tcp';
  /** 0 for TCP. */
  readonly responseCode: number;
  /** Envoy's flags at the waypoint (`UF`, `UT`, `-`), ztunnel's at L4. */
  readonly responseFlags: string;
  readonly grpcStatus: string | undefined;
}

export const unknownWorkload: WorkloadLabels = {
  workload: 'unknown',
  canonicalService: 'unknown',
  canonicalRevision: 'unknown',
  namespace: 'unknown',
  principal: 'unknown',
  app: 'unknown',
  version: 'unknown',
  cluster: 'unknown',
  region: 'unknown',
  zone: 'unknown',
};
