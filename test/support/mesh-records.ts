/** Mesh records for tests: a plain one of each kind, with the fields a test is about replaced. */
import { formatSpiffeId } from '../../src/base/spiffe.ts';
import { emptyMeshChange } from '../../src/mesh/diff.ts';
import type { L4Policy, MeshChange, PolicyMatch, Service, ServicePort, Workload } from '../../src/mesh/model.ts';

export function makeWorkload(fields: Partial<Workload> = {}): Workload {
  const { name = 'pod', namespace = 'default', serviceAccount = 'default' } = fields;
  return {
    uid: `Kubernetes//Pod/${namespace}/${name}`,
    name,
    namespace,
    network: '',
    addresses: [],
    hostname: '',
    trustDomain: 'cluster.local',
    serviceAccount,
    identity: formatSpiffeId({ trustDomain: 'cluster.local', namespace, serviceAccount }),
    tunnelProtocol: 'hbone',
    nativeTunnel: false,
    networkMode: 'standard',
    node: 'node-a',
    clusterId: 'Kubernetes',
    canonicalName: name,
    canonicalRevision: 'latest',
    workloadType: 'pod',
    workloadName: name,
    locality: undefined,
    capacity: 1,
    healthy: true,
    services: new Map(),
    authorizationPolicies: [],
    waypoint: undefined,
    networkGateway: undefined,
    applicationTunnel: undefined,
    ...fields,
  };
}

export function makeService(fields: Partial<Service> = {}): Service {
  const { name = 'service', namespace = 'default' } = fields;
  const hostname = `${name}.${namespace}.svc.cluster.local`;
  return {
    key: `${namespace}/${hostname}`,
    name,
    namespace,
    hostname,
    addresses: [],
    cidrs: [],
    ports: new Map([[80, makePort(80, 8080)]]),
    subjectAltNames: [],
    waypoint: undefined,
    weightedWaypoints: [],
    loadBalancing: { preferences: [], mode: 'any', allowUnhealthy: false },
    ipFamilies: 'automatic',
    canonical: true,
    visibility: 'public',
    ...fields,
  };
}

export function makePort(servicePort: number, targetPort: number, fields: Partial<ServicePort> = {}): ServicePort {
  return { servicePort, targetPort, appProtocol: 'unknown', name: '', ...fields };
}

export function makePolicy(fields: Partial<L4Policy> = {}): L4Policy {
  const { name = 'policy', namespace = 'default' } = fields;
  return {
    key: `${namespace}/${name}`,
    name,
    namespace,
    scope: 'workload',
    action: 'allow',
    dryRun: false,
    rules: [],
    ...fields,
  };
}

export function makeMatch(fields: Partial<PolicyMatch> = {}): PolicyMatch {
  return {
    namespaces: [],
    notNamespaces: [],
    principals: [],
    notPrincipals: [],
    serviceAccounts: [],
    notServiceAccounts: [],
    sourceIps: [],
    notSourceIps: [],
    destinationIps: [],
    notDestinationIps: [],
    destinationPorts: [],
    notDestinationPorts: [],
    ...fields,
  };
}

export function makeChange(fields: Partial<MeshChange>): MeshChange {
  return { ...emptyMeshChange, ...fields };
}
