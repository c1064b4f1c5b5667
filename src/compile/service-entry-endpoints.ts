/**
 * Endpoints of ServiceEntries as workloads: those written in it, WorkloadEntries it selects, and, where it is looked up and
 * names none, its host itself. Pods it selects are found with those of Services (`endpoints.ts`).
 */
import { formatSpiffeId } from '../base/spiffe.ts';
import type { ServiceKey, Workload } from '../mesh/model.ts';
import type { Inputs } from './inputs.ts';
import { type CompileOptions, specKey } from './options.ts';
import type { ServiceSpec } from './service.ts';
import type { EntryEndpointSpec, ServiceEntrySpec } from './service-entry.ts';
import { selects } from './values.ts';

const tunnelLabel = 'networking.istio.io/tunnel';

export function entryWorkloads(inputs: Inputs, options: CompileOptions): readonly Workload[] {
  const workloads = new Map<string, Workload>();
  const add = (uid: string, make: () => Workload, key: ServiceKey, ports: ReadonlyMap<number, number>) => {
    const known = workloads.get(uid);
    const workload = known ?? make();
    workloads.set(uid, { ...workload, services: new Map([...workload.services, [key, ports]]) });
  };
  for (const service of inputs.services.values()) {
    if (service.entry === undefined) continue;
    const { spec, host } = service.entry;
    const key = specKey(service, options);
    for (const endpoint of endpointsOf(spec, host)) {
      const name = `${spec.name}-${endpoint.address.value}`;
      const uid = `${options.clusterId}/networking.istio.io/ServiceEntry/${spec.namespace}/${spec.name}/${endpoint.address.value}`;
      add(uid, () => makeWorkload(uid, name, spec.namespace, endpoint, options), key, targetPorts(service, endpoint));
    }
    if (spec.selector === undefined) continue;
    for (const entry of inputs.workloadEntries) {
      if (entry.namespace !== spec.namespace || !selects(spec.selector, entry.endpoint.labels)) continue;
      const uid = `${options.clusterId}/networking.istio.io/WorkloadEntry/${entry.namespace}/${entry.name}`;
      const make = () => makeWorkload(uid, entry.name, entry.namespace, entry.endpoint, options);
      add(uid, make, key, targetPorts(service, entry.endpoint));
    }
  }
  return [...workloads.values()];
}

function endpointsOf(spec: ServiceEntrySpec, host: string): readonly EntryEndpointSpec[] {
  const lookedUp = spec.resolution === 'dns' || spec.resolution === 'dns-round-robin';
  if (spec.endpoints.length > 0 || !lookedUp || spec.selector !== undefined) return spec.endpoints;
  const nothing = { ports: {}, labels: {}, weight: 1, locality: undefined, network: undefined };
  return [{ address: { kind: 'name', value: host }, ...nothing, serviceAccount: undefined }];
}

/** The endpoint's own port of that name, else the entry's target port. */
function targetPorts(service: ServiceSpec, endpoint: EntryEndpointSpec): ReadonlyMap<number, number> {
  return new Map(
    service.ports.map(({ name, port, targetPort }) => [
      port,
      endpoint.ports[name] ?? (typeof targetPort === 'number' ? targetPort : port),
    ]),
  );
}

/** Not found by its address: it is reached as an endpoint of its services and never by itself. */
function makeWorkload(
  uid: string,
  name: string,
  namespace: string,
  endpoint: EntryEndpointSpec,
  options: CompileOptions,
): Workload {
  const { trustDomain, clusterId, network } = options;
  const { address, labels, locality, weight } = endpoint;
  const serviceAccount = endpoint.serviceAccount ?? 'default';
  const canonicalName = labels['service.istio.io/canonical-name'] ?? labels.app ?? name;
  return {
    uid,
    name,
    namespace,
    network: endpoint.network ?? network,
    addresses: address.kind === 'ip' ? [address.value] : [],
    hostname: address.kind === 'name' ? address.value : '',
    trustDomain,
    serviceAccount,
    identity: formatSpiffeId({ trustDomain, namespace, serviceAccount }),
    tunnelProtocol: labels[tunnelLabel] === 'http' ? 'hbone' : 'none',
    nativeTunnel: false,
    networkMode: 'host',
    node: '',
    clusterId,
    canonicalName,
    canonicalRevision: labels['service.istio.io/canonical-revision'] ?? labels.version ?? 'latest',
    workloadType: 'deployment',
    workloadName: name,
    labels,
    locality,
    capacity: weight,
    healthy: true,
    services: new Map(),
    authorizationPolicies: [],
    waypoint: undefined,
    networkGateway: undefined,
    applicationTunnel: undefined,
  };
}
