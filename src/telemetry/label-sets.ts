/**
 * Labels of Istio's standard metrics in the order they are emitted: ztunnel's (ztunnel.md §8.1), with four of locality when
 * either workload is known, and a waypoint's, which are Envoy's (waypoint.md §5.1).
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

/** Of messages, which are counted before there is a response. */
export function messageLabels(labels: TrafficLabels): Labels {
  return commonLabels(labels);
}

function commonLabels(labels: TrafficLabels): Labels {
  if (labels.reporter === 'waypoint') return waypointLabels(labels);
  return {
    reporter: labels.reporter,
    ...side('source', labels.source),
    destination_service: labels.destinationService,
    destination_service_namespace: labels.destinationServiceNamespace,
    destination_service_name: labels.destinationServiceName,
    ...side('destination', labels.destination),
  };
}

function waypointLabels({ source, destination, ...labels }: TrafficLabels): Labels {
  return {
    reporter: labels.reporter,
    ...side('source', source),
    destination_workload: destination.workload,
    destination_workload_namespace: destination.namespace,
    destination_principal: destination.principal,
    destination_app: destination.app,
    destination_version: destination.version,
    destination_service: labels.destinationService,
    destination_canonical_service: destination.canonicalService,
    destination_canonical_revision: destination.canonicalRevision,
    destination_service_name: labels.destinationServiceName,
    destination_service_namespace: labels.destinationServiceNamespace,
    destination_cluster: destination.cluster,
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

function localityLabels({ reporter, source, destination }: TrafficLabels): Labels {
  if (reporter === 'waypoint') return {};
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
