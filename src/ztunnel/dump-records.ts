/** Records of the mesh with ztunnel's keys and spellings, which istioctl reads (ztunnel.md §6.5, §8.4). */
import type { GatewayAddress, L4Policy, PolicyMatch, Service, StringMatch, Workload } from '../mesh/model.ts';
import { gatewayText } from './names.ts';

export function dumpWorkload(workload: Workload) {
  return {
    workloadIps: workload.addresses,
    ...gatewayKey('waypoint', workload.waypoint),
    ...gatewayKey('networkGateway', workload.networkGateway),
    protocol: workload.tunnelProtocol === 'hbone' ? 'HBONE' : 'TCP',
    networkMode: workload.networkMode === 'host' ? 'HostNetwork' : 'Standard',
    uid: workload.uid,
    name: workload.name,
    namespace: workload.namespace,
    trustDomain: workload.trustDomain,
    serviceAccount: workload.serviceAccount,
    network: workload.network,
    workloadName: workload.workloadName,
    workloadType: workload.workloadType,
    canonicalName: workload.canonicalName,
    canonicalRevision: workload.canonicalRevision,
    hostname: workload.hostname,
    node: workload.node,
    nativeTunnel: workload.nativeTunnel,
    ...(workload.applicationTunnel === undefined
      ? {}
      : {
          applicationTunnel: {
            protocol: workload.applicationTunnel.protocol.toUpperCase(),
            port: workload.applicationTunnel.port,
          },
        }),
    authorizationPolicies: workload.authorizationPolicies,
    status: workload.healthy ? 'Healthy' : 'Unhealthy',
    clusterId: workload.clusterId,
    ...(workload.locality === undefined ? {} : { locality: workload.locality }),
    services: [...workload.services.keys()],
    capacity: workload.capacity,
  };
}

/** Without `endpoints`, of which there may be very many. */
export function dumpService(service: Service) {
  const ports = [...service.ports.values()];
  return {
    name: service.name,
    namespace: service.namespace,
    hostname: service.hostname,
    vips: service.addresses.map(({ network, ip }) => `${network}/${ip}`),
    cidrVips: service.cidrs.map(({ network, cidr }) => ({ network, cidr: cidr.text })),
    ports: Object.fromEntries(ports.map((port) => [String(port.servicePort), port.targetPort])),
    subjectAltNames: service.subjectAltNames,
    ...gatewayKey('waypoint', service.waypoint),
    ...(service.weightedWaypoints.length === 0
      ? {}
      : {
          weightedWaypoints: service.weightedWaypoints.map(({ destination, weight }) => ({
            ...gatewayKey('destination', destination),
            weight,
          })),
        }),
    loadBalancer: {
      mode: loadBalancerModes[service.loadBalancing.mode],
      routingPreferences: service.loadBalancing.preferences.map(capital),
      healthPolicy: service.loadBalancing.allowUnhealthy ? 'AllowAll' : 'OnlyHealthy',
    },
    ipFamilies: ipFamilyNames[service.ipFamilies],
    canonical: service.canonical,
    visibility: service.visibility === 'public' ? 'Public' : 'Namespace',
  };
}

export function dumpEndpoint(service: Service, workload: Workload) {
  return {
    workloadUid: workload.uid,
    service: service.key,
    port: Object.fromEntries(workload.services.get(service.key) ?? []),
    status: workload.healthy ? 'Healthy' : 'Unhealthy',
  };
}

export function dumpPolicy(policy: L4Policy) {
  const scopes = { global: 'Global', namespace: 'Namespace', workload: 'WorkloadSelector' } as const;
  return {
    name: policy.name,
    namespace: policy.namespace,
    scope: scopes[policy.scope],
    action: policy.action === 'allow' ? 'Allow' : 'Deny',
    dryRun: policy.dryRun,
    rules: policy.rules.map((clauses) => clauses.map((matches) => matches.map(dumpMatch))),
  };
}

/** Empty kinds of condition are left out. */
function dumpMatch(match: PolicyMatch): Readonly<Record<string, unknown>> {
  const shown = Object.entries(match).map(([key, values]: [string, readonly unknown[]]) => [
    key,
    values.map(dumpValue),
  ]);
  return Object.fromEntries(shown.filter(([, values]) => values !== undefined && values.length > 0));
}

function dumpValue(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if ('kind' in value) {
    const match = value as StringMatch;
    return match.kind === 'presence' ? { Presence: null } : { [capital(match.kind)]: match.value };
  }
  return 'text' in value ? value.text : value;
}

const loadBalancerModes = {
  any: 'Standard',
  strict: 'Strict',
  failover: 'Failover',
  passthrough: 'Passthrough',
} as const;
const ipFamilyNames = { automatic: null, ipv4: 'IPv4', ipv6: 'IPv6', dual: 'Dual' } as const;

function gatewayKey(key: 'waypoint' | 'networkGateway' | 'destination', gateway: GatewayAddress | undefined) {
  return gateway === undefined
    ? {}
    : { [key]: { destination: gatewayText(gateway), hboneMtlsPort: gateway.hbonePort } };
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
