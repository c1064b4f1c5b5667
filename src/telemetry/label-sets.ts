/**
 * Labels of `istio_tcp_*` and `istio_requests_total` in the order ztunnel emits them (ztunnel.md §8.1). The four of
 * locality are there only when either workload is known.
 */
import type { Labels } from '../base/metrics.ts';
import type { RequestLabels, TrafficLabels, WorkloadLabels } from './traffic-labels.ts';

export function tcpLabels(labels: TrafficLabels, responseFlags: string): Labels {
  return {
    ...commonLabels(labels),
    request_protocol: 'tcp',
    response_flags: responseFlags,
    connection_security_policy: labels.connectionSecurityPolicy,
    ...localityLabels(labels),
  };
}

export function requestLabels(labels: TrafficLabels, request: RequestLabels): Labels {
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

function localityLabels({ source, destination }: TrafficLabels): Labels {
  if (!isKnown(source) && !isKnown(destination)) return {};
  return {
    source_region: source.region,
    source_zone: source.zone,
    destination_region: destination.region,
    destination_zone: destination.zone,
  };
}

/** An identity alone gives a principal and a namespace, but no workload. */
function isKnown(workload: WorkloadLabels): boolean {
  return workload.workload !== 'unknown' || workload.cluster !== 'unknown';
}
