/**
 * Metric labels of requests and connections. Made once for each pair of client and pod, and kept as long as their
 * records, so that a request between the same two costs a look-up.
 */
import { parseSpiffeId, type SpiffeId } from '../base/spiffe.ts';
import type { Service, Workload } from '../mesh/model.ts';
import type { MetricShape } from '../telemetry/metric-shape.ts';
import { type TrafficLabels, unknownWorkload, type WorkloadLabels } from '../telemetry/traffic-labels.ts';
import type { UpstreamEndpoint } from '../upstream/endpoint.ts';
import type { Tunnel } from './context.ts';

interface Known {
  readonly client: SpiffeId;
  readonly service: Service | undefined;
  readonly labels: TrafficLabels;
}

/** Of one pair: services that lead to the pod. More are made anew each time. */
const keptPerPair = 32;
const nobody = {};
const known = new WeakMap<object, WeakMap<object, Known[]>>();

/** The same object for the same client, service and pod, as long as their records stand. */
export function trafficLabels(
  tunnel: Tunnel,
  service: Service | undefined,
  endpoint: UpstreamEndpoint | undefined,
): TrafficLabels {
  const { clientWorkload, clientIdentity: client } = tunnel;
  const workload = endpoint?.workload;
  const ofPair = known
    .getOrInsertComputed(clientWorkload ?? nobody, newWeakMap)
    .getOrInsertComputed(workload ?? nobody, newList);
  for (const each of ofPair) if (each.service === service && each.client === client) return each.labels;
  const labels: TrafficLabels = {
    reporter: 'waypoint',
    source: sourceLabels(clientWorkload, client),
    destination: workloadLabels(workload, workload?.identity),
    destinationService: service?.hostname ?? 'unknown',
    destinationServiceName: service?.name ?? 'unknown',
    destinationServiceNamespace: service?.namespace ?? 'unknown',
    connectionSecurityPolicy: 'mutual_tls',
  };
  if (ofPair.length < keptPerPair) ofPair.push({ client, service, labels });
  return labels;
}

const shaped = new WeakMap<MetricShape, WeakMap<TrafficLabels, TrafficLabels>>();

/** The same labels with a shape: one object as long as both are there. */
export function shapedTraffic(labels: TrafficLabels, shape: MetricShape | undefined): TrafficLabels {
  if (shape === undefined) return labels;
  return shaped
    .getOrInsertComputed(shape, () => new WeakMap())
    .getOrInsertComputed(labels, () => ({ ...labels, shape }));
}

function newWeakMap(): WeakMap<object, Known[]> {
  return new WeakMap();
}

function newList(): Known[] {
  return [];
}

/** A client that is not in the mesh still has a namespace by its identity, and Envoy's filter says `latest` of it. */
function sourceLabels(workload: Workload | undefined, principal: SpiffeId): WorkloadLabels {
  const namespace = parseSpiffeId(principal)?.namespace;
  const known = workloadLabels(workload, principal);
  return {
    ...known,
    namespace: namespace ?? known.namespace,
    canonicalRevision: workload === undefined ? 'latest' : known.canonicalRevision,
  };
}

function workloadLabels(workload: Workload | undefined, principal: SpiffeId | undefined): WorkloadLabels {
  if (workload === undefined) return { ...unknownWorkload, principal: principal ?? 'unknown' };
  return {
    workload: workload.workloadName || 'unknown',
    canonicalService: workload.canonicalName || 'unknown',
    canonicalRevision: workload.canonicalRevision || 'latest',
    namespace: workload.namespace,
    principal: principal ?? 'unknown',
    app: workload.canonicalName || 'unknown',
    version: workload.canonicalRevision || 'unknown',
    cluster: workload.clusterId || 'unknown',
    region: workload.locality?.region || 'unknown',
    zone: workload.locality?.zone || 'unknown',
  };
}
