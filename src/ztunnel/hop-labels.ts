/**
 * Metric labels of hops. Made once for each pair of workloads and kept as long as their records, so that a connection
 * between the same two costs a look-up.
 */
import { parseSpiffeId, type SpiffeId } from '../base/spiffe.ts';
import type { Service, Workload } from '../mesh/model.ts';
import { type TrafficLabels, unknownWorkload, type WorkloadLabels } from '../telemetry/traffic-labels.ts';
import type { HopFacts } from './hop-facts.ts';
import type { PeerNames } from './peer-names.ts';

interface Known {
  readonly direction: HopFacts['direction'];
  readonly service: Service | undefined;
  readonly sourceIdentity: SpiffeId | undefined;
  readonly destinationIdentity: SpiffeId | undefined;
  readonly labels: TrafficLabels;
}

/** Of one pair: both directions, a few services. More are made anew each time. */
const keptPerPair = 32;
const nobody = {};
const nowhere = { region: '', zone: '' };
const known = new WeakMap<object, WeakMap<object, Known[]>>();

export function hopLabels(facts: HopFacts): TrafficLabels {
  const { direction, source, destination, service } = facts;
  if (source.names !== undefined || destination.names !== undefined) return makeLabels(facts);
  const ofPair = pairOf(source.workload ?? nobody, destination.workload ?? nobody);
  for (const each of ofPair) {
    if (
      each.direction === direction &&
      each.service === service &&
      each.sourceIdentity === source.identity &&
      each.destinationIdentity === destination.identity
    ) {
      return each.labels;
    }
  }
  const labels = makeLabels(facts);
  if (ofPair.length < keptPerPair) {
    const [sourceIdentity, destinationIdentity] = [source.identity, destination.identity];
    ofPair.push({ direction, service, sourceIdentity, destinationIdentity, labels });
  }
  return labels;
}

function pairOf(source: object, destination: object): Known[] {
  return known.getOrInsertComputed(source, newWeakMap).getOrInsertComputed(destination, newList);
}

function newWeakMap(): WeakMap<object, Known[]> {
  return new WeakMap();
}

function newList(): Known[] {
  return [];
}

function makeLabels(facts: HopFacts): TrafficLabels {
  const { direction, source, destination, service } = facts;
  const { workload } = destination;
  return {
    reporter: direction === 'outbound' ? 'source' : 'destination',
    source: workloadLabels(source.workload ?? source.names, source.identity),
    // A destination's principal is known from the mesh, also in clear; a source's must be proven.
    destination: workloadLabels(workload ?? destination.names, destination.identity ?? workload?.identity),
    destinationService: service?.hostname ?? 'unknown',
    destinationServiceName: service?.name ?? 'unknown',
    destinationServiceNamespace: service?.namespace ?? 'unknown',
    connectionSecurityPolicy: source.identity === undefined ? 'unknown' : 'mutual_tls',
  };
}

/** Without a record: what the principal says of it. */
export function workloadLabels(
  workload: Workload | PeerNames | undefined,
  principal: SpiffeId | undefined,
): WorkloadLabels {
  if (workload === undefined) {
    return { ...unknownWorkload, principal: principal ?? 'unknown', namespace: namespaceOf(principal) ?? 'unknown' };
  }
  const { region, zone } = 'region' in workload ? workload : (workload.locality ?? nowhere);
  return {
    workload: workload.workloadName || 'unknown',
    canonicalService: workload.canonicalName || 'unknown',
    canonicalRevision: workload.canonicalRevision || 'unknown',
    namespace: workload.namespace,
    principal: principal ?? 'unknown',
    app: workload.canonicalName || 'unknown',
    version: workload.canonicalRevision || 'unknown',
    cluster: workload.clusterId || 'unknown',
    region: region || 'unknown',
    zone: zone || 'unknown',
  };
}

/** Of an identity that is all that is known. */
export function namespaceOf(identity: SpiffeId | undefined): string | undefined {
  return identity === undefined ? undefined : parseSpiffeId(identity)?.namespace;
}
