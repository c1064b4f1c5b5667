/**
 * Records of the mesh as resources: the other direction of `decode-address.ts` and `decode-authorization.ts`, for a control
 * plane of our own. What is decoded again equals what was encoded.
 */
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type Cidr, ipToBytes } from '../base/address.ts';
import type { GatewayAddress, L4Policy, PolicyMatch, Service, StringMatch, Workload } from '../mesh/model.ts';
import * as security from '../proto/gen/authorization_pb.js';
import * as wire from '../proto/gen/workload_pb.js';

/** An `istio.workload.Address`. */
export function encodeWorkload(record: Workload): Uint8Array {
  const { applicationTunnel: tunnel, services } = record;
  const workload: MessageInitShape<typeof wire.WorkloadSchema> = {
    uid: record.uid,
    name: record.name,
    namespace: record.namespace,
    addresses: record.addresses.map(ipToBytes),
    hostname: record.hostname,
    network: record.network,
    tunnelProtocol: record.tunnelProtocol === 'hbone' ? wire.TunnelProtocol.HBONE : wire.TunnelProtocol.NONE,
    trustDomain: record.trustDomain,
    serviceAccount: record.serviceAccount,
    node: record.node,
    canonicalName: record.canonicalName,
    canonicalRevision: record.canonicalRevision,
    workloadType: workloadTypes.indexOf(record.workloadType),
    workloadName: record.workloadName,
    nativeTunnel: record.nativeTunnel,
    authorizationPolicies: [...record.authorizationPolicies],
    status: record.healthy ? wire.WorkloadStatus.HEALTHY : wire.WorkloadStatus.UNHEALTHY,
    clusterId: record.clusterId,
    services: Object.fromEntries([...services].map(([key, ports]) => [key, { ports: portPairs(ports) }])),
    networkMode: record.networkMode === 'host' ? wire.NetworkMode.HOST_NETWORK : wire.NetworkMode.STANDARD,
    capacity: record.capacity,
    ...(record.waypoint === undefined ? {} : { waypoint: gateway(record.waypoint) }),
    ...(record.networkGateway === undefined ? {} : { networkGateway: gateway(record.networkGateway) }),
    ...(record.locality === undefined ? {} : { locality: { ...record.locality } }),
    ...(tunnel === undefined
      ? {}
      : { applicationTunnel: { protocol: tunnel.protocol === 'proxy' ? 1 : 0, port: tunnel.port } }),
  };
  return address({ case: 'workload', value: create(wire.WorkloadSchema, workload) });
}

/** An `istio.workload.Address`. */
export function encodeService(record: Service): Uint8Array {
  const { loadBalancing } = record;
  const service: MessageInitShape<typeof wire.ServiceSchema> = {
    name: record.name,
    namespace: record.namespace,
    hostname: record.hostname,
    addresses: [
      ...record.addresses.map(({ network, ip }) => ({ network, address: ipToBytes(ip) })),
      ...record.cidrs.map(({ network, cidr }) => ({ network, address: cidr.bytes, length: cidr.prefix })),
    ],
    ports: [...record.ports.values()].map(({ servicePort, targetPort, appProtocol }) => ({
      servicePort,
      targetPort,
      appProtocol: appProtocols.indexOf(appProtocol),
    })),
    subjectAltNames: [...record.subjectAltNames],
    loadBalancing: {
      routingPreference: loadBalancing.preferences.map((scope) => scopes.indexOf(scope)),
      mode: modes.indexOf(loadBalancing.mode),
      healthPolicy: loadBalancing.allowUnhealthy ? 1 : 0,
    },
    ipFamilies: families.indexOf(record.ipFamilies),
    canonical: record.canonical,
    visibility: record.visibility === 'namespace' ? wire.Service_Visibility.NAMESPACE : wire.Service_Visibility.PUBLIC,
    weightedWaypoints: record.weightedWaypoints.map(({ destination, weight }) => ({
      destination: gateway(destination),
      weight: Math.round(weight),
    })),
    ...(record.waypoint === undefined ? {} : { waypoint: gateway(record.waypoint) }),
  };
  return address({ case: 'service', value: create(wire.ServiceSchema, service) });
}

/** An `istio.security.Authorization`. */
export function encodePolicy(record: L4Policy): Uint8Array {
  const { name, namespace, dryRun, rules } = record;
  const policy = create(security.AuthorizationSchema, {
    name,
    namespace,
    scope: policyScopes.indexOf(record.scope),
    action: record.action === 'deny' ? security.Action.DENY : security.Action.ALLOW,
    dryRun,
    rules: rules.map((clauses) => ({ clauses: clauses.map((matches) => ({ matches: matches.map(match) })) })),
  });
  return toBinary(security.AuthorizationSchema, policy);
}

/** Their places are their numbers. */
const workloadTypes: readonly Workload['workloadType'][] = ['deployment', 'cronjob', 'pod', 'job'];
const appProtocols = ['unknown', 'http11', 'http2', 'grpc', 'tcp', 'tls'] as const;
const scopes: readonly string[] = ['', 'region', 'zone', 'subzone', 'node', 'cluster', 'network'];
const modes: readonly Service['loadBalancing']['mode'][] = ['any', 'strict', 'failover', 'passthrough'];
const families: readonly Service['ipFamilies'][] = ['automatic', 'ipv4', 'ipv6', 'dual'];
const policyScopes: readonly L4Policy['scope'][] = ['global', 'namespace', 'workload'];

function address(type: wire.Address['type']): Uint8Array {
  return toBinary(wire.AddressSchema, create(wire.AddressSchema, { type }));
}

function gateway(target: GatewayAddress): MessageInitShape<typeof wire.GatewayAddressSchema> {
  if (target.kind === 'address') {
    const value = { network: target.network, address: ipToBytes(target.ip) };
    return { destination: { case: 'address', value }, hboneMtlsPort: target.hbonePort };
  }
  const slash = target.service.indexOf('/');
  const value = { namespace: target.service.slice(0, slash), hostname: target.service.slice(slash + 1) };
  return { destination: { case: 'hostname', value }, hboneMtlsPort: target.hbonePort };
}

function portPairs(ports: ReadonlyMap<number, number>) {
  return [...ports].map(([servicePort, targetPort]) => ({ servicePort, targetPort }));
}

function match(record: PolicyMatch): MessageInitShape<typeof security.MatchSchema> {
  return {
    namespaces: record.namespaces.map(stringMatch),
    notNamespaces: record.notNamespaces.map(stringMatch),
    principals: record.principals.map(stringMatch),
    notPrincipals: record.notPrincipals.map(stringMatch),
    sourceIps: record.sourceIps.map(block),
    notSourceIps: record.notSourceIps.map(block),
    destinationIps: record.destinationIps.map(block),
    notDestinationIps: record.notDestinationIps.map(block),
    destinationPorts: [...record.destinationPorts],
    notDestinationPorts: [...record.notDestinationPorts],
    serviceAccounts: record.serviceAccounts.map((account) => ({ ...account })),
    notServiceAccounts: record.notServiceAccounts.map((account) => ({ ...account })),
  };
}

function stringMatch(record: StringMatch): MessageInitShape<typeof security.StringMatchSchema> {
  if (record.kind === 'presence') return { matchType: { case: 'presence', value: {} } };
  return { matchType: { case: record.kind, value: record.value } };
}

function block(cidr: Cidr): MessageInitShape<typeof security.AddressSchema> {
  return { address: cidr.bytes, length: cidr.prefix };
}
