/**
 * What the xDS decoders should answer, said the slow way: from the generated messages. For property tests only.
 */
import { fromBinary } from '@bufbuild/protobuf';
import { type Cidr, cidrFromBytes, ipFromBytes } from '../../src/base/address.ts';
import { formatSpiffeId, isSpiffeId } from '../../src/base/spiffe.ts';
import type { GatewayAddress, L4Policy, PolicyMatch, Service, StringMatch, Workload } from '../../src/mesh/model.ts';
import * as authorization from '../../src/proto/gen/authorization_pb.js';
import * as workload from '../../src/proto/gen/workload_pb.js';

export function oracleAddress(bytes: Uint8Array): Workload | Service {
  const { type } = fromBinary(workload.AddressSchema, bytes);
  if (type.case === 'workload') return workloadOf(type.value);
  if (type.case === 'service') return serviceOf(type.value);
  throw new Error('neither');
}

export function oracleAuthorization(bytes: Uint8Array): L4Policy {
  const { name, namespace, scope, action, dryRun, rules } = fromBinary(authorization.AuthorizationSchema, bytes);
  return {
    key: `${namespace}/${name}`,
    name,
    namespace,
    scope: at(['global', 'namespace', 'workload'], scope),
    action: at(['allow', 'deny'], action),
    dryRun,
    rules: rules.map(({ clauses }) => clauses.map(({ matches }) => matches.map(matchOf))),
  };
}

function workloadOf(message: workload.Workload): Workload {
  const { uid, name, namespace, network, hostname, node, canonicalName, canonicalRevision, nativeTunnel } = message;
  const trustDomain = message.trustDomain || 'cluster.local';
  const serviceAccount = message.serviceAccount || 'default';
  const { locality, applicationTunnel: tunnel } = message;
  return {
    uid,
    name,
    namespace,
    network,
    addresses: message.addresses.map(ip),
    hostname,
    trustDomain,
    serviceAccount,
    identity: formatSpiffeId({ trustDomain, namespace, serviceAccount }),
    tunnelProtocol: at(['none', 'hbone'], message.tunnelProtocol),
    nativeTunnel,
    networkMode: at(['standard', 'host'], message.networkMode),
    node,
    clusterId: message.clusterId || 'Kubernetes',
    canonicalName,
    canonicalRevision,
    workloadType: at(['deployment', 'cronjob', 'pod', 'job'], message.workloadType),
    workloadName: message.workloadName,
    locality: locality && { region: locality.region, zone: locality.zone, subzone: locality.subzone },
    capacity: message.capacity ?? 1,
    healthy: message.status === workload.WorkloadStatus.HEALTHY,
    services: new Map(
      Object.entries(message.services).map(([key, { ports }]) => [
        key,
        new Map(ports.map(({ servicePort, targetPort }) => [servicePort, targetPort])),
      ]),
    ),
    authorizationPolicies: message.authorizationPolicies,
    waypoint: message.waypoint && gatewayOf(message.waypoint),
    networkGateway: message.networkGateway && gatewayOf(message.networkGateway),
    applicationTunnel: tunnel && { protocol: at(['none', 'proxy'], tunnel.protocol), port: tunnel.port },
  };
}

function serviceOf(message: workload.Service): Service {
  const { name, namespace, hostname, addresses, loadBalancing: balancing } = message;
  return {
    key: `${namespace}/${hostname}`,
    name,
    namespace,
    hostname,
    addresses: addresses
      .filter(({ length }) => length === undefined)
      .map(({ network, address }) => ({ network, ip: ip(address) })),
    cidrs: addresses.flatMap(({ network, address, length }) =>
      length === undefined ? [] : [{ network, cidr: cidr(address, length) }],
    ),
    ports: new Map(
      message.ports.map(({ servicePort, targetPort, appProtocol }) => [
        servicePort,
        {
          servicePort,
          targetPort,
          appProtocol: at(['unknown', 'http11', 'http2', 'grpc', 'tcp', 'tls'], appProtocol),
          name: '',
        },
      ]),
    ),
    subjectAltNames: message.subjectAltNames.filter((name) => isSpiffeId(name)),
    waypoint: message.waypoint && gatewayOf(message.waypoint),
    weightedWaypoints: message.weightedWaypoints.map(({ destination, weight }) => {
      if (destination === undefined) throw new Error('no destination');
      return { destination: gatewayOf(destination), weight };
    }),
    loadBalancing: {
      preferences: (balancing?.routingPreference ?? []).map((scope) =>
        at(['region', 'zone', 'subzone', 'node', 'cluster', 'network'], scope - 1),
      ),
      mode: at(['any', 'strict', 'failover', 'passthrough'], balancing?.mode ?? 0),
      allowUnhealthy: balancing?.healthPolicy === workload.LoadBalancing_HealthPolicy.ALLOW_ALL,
    },
    ipFamilies: at(['automatic', 'ipv4', 'ipv6', 'dual'], message.ipFamilies),
    canonical: message.canonical,
    visibility: at(['public', 'namespace'], message.visibility),
  };
}

function gatewayOf({ destination, hboneMtlsPort: hbonePort }: workload.GatewayAddress): GatewayAddress {
  if (destination.case === 'hostname') {
    const { namespace, hostname } = destination.value;
    return { kind: 'hostname', service: `${namespace}/${hostname}`, hbonePort };
  }
  if (destination.case === undefined) throw new Error('no destination');
  return { kind: 'address', network: destination.value.network, ip: ip(destination.value.address), hbonePort };
}

function matchOf(match: authorization.Match): PolicyMatch {
  const texts = (matches: readonly authorization.StringMatch[]) => matches.map(textOf);
  const blocks = (addresses: readonly authorization.Address[]) =>
    addresses.map(({ address, length }) => cidr(address, length));
  const accounts = (list: readonly authorization.ServiceAccountMatch[]) =>
    list.map(({ namespace, serviceAccount }) => ({ namespace, serviceAccount }));
  return {
    namespaces: texts(match.namespaces),
    notNamespaces: texts(match.notNamespaces),
    principals: texts(match.principals),
    notPrincipals: texts(match.notPrincipals),
    serviceAccounts: accounts(match.serviceAccounts),
    notServiceAccounts: accounts(match.notServiceAccounts),
    sourceIps: blocks(match.sourceIps),
    notSourceIps: blocks(match.notSourceIps),
    destinationIps: blocks(match.destinationIps),
    notDestinationIps: blocks(match.notDestinationIps),
    destinationPorts: match.destinationPorts,
    notDestinationPorts: match.notDestinationPorts,
  };
}

function textOf({ matchType }: authorization.StringMatch): StringMatch {
  if (matchType.case === undefined) throw new Error('no kind');
  return matchType.case === 'presence' ? { kind: 'presence' } : { kind: matchType.case, value: matchType.value };
}

function ip(bytes: Uint8Array): string {
  const text = ipFromBytes(bytes);
  if (text === undefined) throw new Error('no address');
  return text;
}

function cidr(bytes: Uint8Array, length: number): Cidr {
  const block = cidrFromBytes(bytes, length);
  if (block === undefined) throw new Error('no block');
  return block;
}

function at<T>(values: readonly T[], index: number): T {
  const value = values[index];
  if (value === undefined) throw new Error(`no value ${index}`);
  return value;
}
