/**
 * `/config_dump` with ztunnel's keys and spellings, which istioctl and people's scripts read (ztunnel.md §8.4, §6.5).
 * Certificates and chains only: keys are nowhere in it.
 */
import type { Secret, SecretState, SecretStore } from '../identity/secret.ts';
import type { GatewayAddress, L4Policy, PolicyMatch, Service, StringMatch, Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import type { ConnectionRegistry, WorkloadConnections } from './connection-registry.ts';
import { gatewayText } from './names.ts';

export interface CertificateDump {
  readonly identity: string;
  readonly state: string;
  readonly certChain: readonly {
    readonly pem: string;
    readonly serialNumber: string;
    readonly validFrom: string;
    readonly expirationTime: string;
  }[];
  readonly rootCerts: readonly { readonly pem: string }[];
}

/** A pod of this node, as ztunnel's `workloadState` shows it. */
export interface PodState {
  readonly uid: string;
  readonly state: 'Up' | 'Pending';
  readonly info: { readonly name: string; readonly namespace: string; readonly serviceAccount: string };
  /** Its workload in the mesh, when that is known. */
  readonly workload: Workload | undefined;
}

export interface DumpSources {
  readonly mesh: MeshView;
  readonly secrets: SecretStore;
  readonly registry: ConnectionRegistry;
  readonly pods: () => Iterable<PodState>;
  readonly version: string;
  /** Settings, without anything secret. */
  readonly config: Readonly<Record<string, unknown>>;
}

export function configDump(sources: DumpSources): Readonly<Record<string, unknown>> {
  const { mesh, registry } = sources;
  const workloadState = Object.fromEntries(
    [...sources.pods()].map(({ uid, state, info, workload }) => {
      const connections: WorkloadConnections =
        workload === undefined ? { inbound: [], outbound: [] } : registry.dump(workload.uid);
      return [uid, { state, info: { ...info, trustDomain: workload?.trustDomain ?? '' }, connections }];
    }),
  );
  return {
    workloads: [...mesh.workloads()].map((workload) => dumpWorkload(workload)),
    services: [...mesh.services()].map((service) => dumpService(service, mesh)),
    policies: [...mesh.policies()].map((policy) => dumpPolicy(policy)),
    stagedServices: {},
    staticConfig: {},
    certificates: dumpCertificates(sources.secrets),
    workloadState,
    version: { version: sources.version },
    config: sources.config,
  };
}

export function dumpCertificates(secrets: SecretStore): readonly CertificateDump[] {
  return [...secrets.states()].map(([identity, state]) => {
    const secret = state.kind === 'available' ? state.secret : undefined;
    return {
      identity,
      state: stateText(state),
      certChain: secret === undefined ? [] : secret.chainPem.map((pem, i) => dumpCertificate(pem, i, secret)),
      rootCerts: secret === undefined ? [] : [{ pem: base64(secret.rootsPem) }],
    };
  });
}

function stateText(state: SecretState): string {
  switch (state.kind) {
    case 'available':
      return 'Available';
    case 'initializing':
      return 'Initializing';
    case 'unavailable':
      return `Unavailable: ${state.reason}`;
  }
}

/** Serial and times are the leaf's; those of intermediates are in their PEM. */
function dumpCertificate(pem: string, index: number, secret: Secret): CertificateDump['certChain'][number] {
  const leaf = index === 0;
  return {
    pem: base64(pem),
    serialNumber: leaf ? secret.serialNumber : '',
    validFrom: leaf ? new Date(secret.notBeforeMs).toISOString() : '',
    expirationTime: leaf ? new Date(secret.notAfterMs).toISOString() : '',
  };
}

function dumpWorkload(workload: Workload) {
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

function dumpService(service: Service, mesh: MeshView) {
  const ports = [...service.ports.values()];
  return {
    name: service.name,
    namespace: service.namespace,
    hostname: service.hostname,
    vips: service.addresses.map(({ network, ip }) => `${network}/${ip}`),
    cidrVips: service.cidrs.map(({ network, cidr }) => ({ network, cidr: cidr.text })),
    ports: Object.fromEntries(ports.map((port) => [String(port.servicePort), port.targetPort])),
    endpoints: Object.fromEntries(
      mesh.endpoints(service.key).map((workload) => [
        workload.uid,
        {
          workloadUid: workload.uid,
          port: Object.fromEntries(workload.services.get(service.key) ?? []),
          status: workload.healthy ? 'Healthy' : 'Unhealthy',
        },
      ]),
    ),
    subjectAltNames: service.subjectAltNames,
    ...gatewayKey('waypoint', service.waypoint),
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

function dumpPolicy(policy: L4Policy) {
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

function gatewayKey(key: 'waypoint' | 'networkGateway', gateway: GatewayAddress | undefined) {
  return gateway === undefined
    ? {}
    : { [key]: { destination: gatewayText(gateway), hboneMtlsPort: gateway.hbonePort } };
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
