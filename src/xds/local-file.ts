/**
 * ztunnel's own local file (reference §6.5): workloads, services and policies as records, in one document. Every key it
 * knows is known, any other is an error. String matches are tags (`!Exact x`) or, as config dumps print them, objects
 * (`{Exact: x}`). Unlike there, `serviceAccount` and `trustDomain` have defaults, since empty ones are no identity.
 */
import * as z from 'zod';
import { canonicalIp, parseCidr } from '../base/address.ts';
import type { Diagnostic } from '../base/diagnostics.ts';
import { formatSpiffeId, isSpiffeId, type SpiffeId } from '../base/spiffe.ts';
import type { YamlDocument } from '../config/yaml.ts';
import type { MeshModel } from '../mesh/diff.ts';
import type { GatewayAddress, L4Policy, PolicyMatch, Scope, Service, StringMatch, Workload } from '../mesh/model.ts';
import { folderDiagnostic } from './codes.ts';

export type LocalFile =
  | { readonly kind: 'model'; readonly model: MeshModel; readonly diagnostics: readonly Diagnostic[] }
  | { readonly kind: 'broken'; readonly diagnostics: readonly Diagnostic[] };

/** A local file has one of its three lists at the top and no `kind`. */
export function isLocalFile(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || 'kind' in value) return false;
  return 'workloads' in value || 'services' in value || 'policies' in value;
}

export function readLocalFile(document: YamlDocument): LocalFile {
  const parsed = fileSchema.safeParse(document.value);
  if (!parsed.success) {
    const diagnostics = parsed.error.issues.map((issue) => {
      const path = issue.path.filter((step) => typeof step !== 'symbol');
      return folderDiagnostic('LOCAL_INVALID', `${path.join('.')}: ${issue.message}`, document.at(path));
    });
    return { kind: 'broken', diagnostics };
  }
  const diagnostics: Diagnostic[] = [];
  const attachments = new Map<string, Map<string, ReadonlyMap<number, number>>>();
  const services = parsed.data.services.map((content) => {
    for (const { workloadUid, port } of Object.values(content.endpoints)) {
      const own = attachments.get(workloadUid) ?? new Map<string, ReadonlyMap<number, number>>();
      attachments.set(workloadUid, own.set(`${content.namespace}/${content.hostname}`, port));
    }
    return localService(content);
  });
  const workloads = parsed.data.workloads.map((content) => localWorkload(content, attachments.get(content.uid)));
  const policies = parsed.data.policies.map(localPolicy);
  const unique = <T>(list: readonly T[], keyOf: (record: T) => string, path: string): ReadonlyMap<string, T> => {
    const map = new Map<string, T>();
    for (const [i, record] of list.entries()) {
      const key = keyOf(record);
      if (!map.has(key)) map.set(key, record);
      else diagnostics.push(folderDiagnostic('LOCAL_DUPLICATE', `${key} is there twice`, document.at([path, i])));
    }
    return map;
  };
  return {
    kind: 'model',
    model: {
      workloads: unique(workloads, ({ uid }) => uid, 'workloads'),
      services: unique(services, ({ key }) => key, 'services'),
      policies: unique(policies, ({ key }) => key, 'policies'),
    },
    diagnostics,
  };
}

const list = <T extends z.ZodType>(item: T) =>
  z
    .array(item)
    .nullish()
    .transform((items) => items ?? []);

const ip = z.string().transform((text, context) => {
  const found = canonicalIp(text);
  if (found !== undefined) return found;
  context.addIssue({ code: 'custom', message: `not an IP address: ${text}` });
  return z.NEVER;
});

const cidr = z.string().transform((text, context) => {
  const found = parseCidr(text);
  if (found !== undefined) return found;
  context.addIssue({ code: 'custom', message: `not an address block: ${text}` });
  return z.NEVER;
});

const networkAddress = z.string().transform((text, context) => {
  const slash = text.indexOf('/');
  const found = slash < 0 ? undefined : canonicalIp(text.slice(slash + 1));
  if (found !== undefined) return { network: text.slice(0, slash), ip: found };
  context.addIssue({ code: 'custom', message: `not network/ip: ${text}` });
  return z.NEVER;
});

const port = z.number().int().min(0).max(65535);
const portMap = z
  .record(z.string().regex(/^[1-9][0-9]{0,4}$/, 'not a port'), port)
  .transform((ports) => new Map(Object.entries(ports).map(([from, to]) => [Number(from), to])));

const gatewayAddress = z
  .strictObject({ destination: z.string(), hboneMtlsPort: port })
  .transform(({ destination, hboneMtlsPort: hbonePort }, context): GatewayAddress => {
    const slash = destination.indexOf('/');
    const rest = destination.slice(slash + 1);
    if (slash < 0 || rest === '') {
      context.addIssue({ code: 'custom', message: `neither network/ip nor namespace/hostname: ${destination}` });
      return z.NEVER;
    }
    const found = canonicalIp(rest);
    return found === undefined
      ? { kind: 'hostname', service: destination, hbonePort }
      : { kind: 'address', network: destination.slice(0, slash), ip: found, hbonePort };
  });

const workloadSchema = z
  .strictObject({
    uid: z.string().default(''),
    name: z.string(),
    namespace: z.string(),
    workloadIps: list(ip),
    services: z.record(z.string(), portMap).nullish(),
    serviceAccount: z.string().min(1).default('default'),
    trustDomain: z.string().min(1).default('cluster.local'),
    network: z.string().default(''),
    protocol: z.enum(['HBONE', 'TCP']).default('TCP'),
    networkMode: z.enum(['Standard', 'HostNetwork']).default('Standard'),
    waypoint: gatewayAddress.nullish(),
    networkGateway: gatewayAddress.nullish(),
    workloadName: z.string().default(''),
    workloadType: z.string().default('deployment'),
    canonicalName: z.string().default(''),
    canonicalRevision: z.string().default(''),
    hostname: z.string().default(''),
    node: z.string().default(''),
    nativeTunnel: z.boolean().default(false),
    applicationTunnel: z
      .strictObject({ protocol: z.enum(['NONE', 'PROXY']).default('NONE'), port: port.nullish() })
      .nullish(),
    authorizationPolicies: list(z.string()),
    status: z.enum(['Healthy', 'Unhealthy']).default('Healthy'),
    clusterId: z.string().default('Kubernetes'),
    locality: z.strictObject({ region: z.string(), zone: z.string(), subzone: z.string() }).nullish(),
    capacity: z.number().int().min(0).default(1),
  })
  .transform((content, context) => {
    const identity = `spiffe://${content.trustDomain}/ns/${content.namespace}/sa/${content.serviceAccount}`;
    if (isSpiffeId(identity)) return content;
    context.addIssue({ code: 'custom', message: `not a workload identity: ${identity}` });
    return z.NEVER;
  });

const serviceSchema = z.strictObject({
  name: z.string(),
  namespace: z.string(),
  hostname: z.string(),
  vips: list(networkAddress),
  cidrVips: list(z.strictObject({ network: z.string().default(''), cidr })),
  ports: portMap,
  endpoints: z
    .record(z.string(), z.strictObject({ workloadUid: z.string(), port: portMap, status: z.string().optional() }))
    .nullish()
    .transform((endpoints) => endpoints ?? {}),
  subjectAltNames: list(z.string().refine(isSpiffeId, 'not a workload identity')),
  waypoint: gatewayAddress.nullish(),
  weightedWaypoints: list(z.strictObject({ destination: gatewayAddress, weight: z.number().min(0) })),
  loadBalancer: z
    .strictObject({
      routingPreferences: list(z.enum(['Region', 'Zone', 'Subzone', 'Node', 'Cluster', 'Network'])),
      mode: z.enum(['Standard', 'Unspecified', 'Strict', 'Failover', 'Passthrough']).default('Standard'),
      healthPolicy: z.enum(['OnlyHealthy', 'AllowAll']).default('OnlyHealthy'),
    })
    .nullish(),
  ipFamilies: z.enum(['Dual', 'IPv4', 'IPv6']).nullish(),
  canonical: z.boolean().default(false),
  visibility: z.enum(['Public', 'Namespace']).default('Public'),
});

const stringMatch = z.union([
  z.strictObject({ Exact: z.string() }).transform(({ Exact: value }): StringMatch => ({ kind: 'exact', value })),
  z.strictObject({ Prefix: z.string() }).transform(({ Prefix: value }): StringMatch => ({ kind: 'prefix', value })),
  z.strictObject({ Suffix: z.string() }).transform(({ Suffix: value }): StringMatch => ({ kind: 'suffix', value })),
  z.strictObject({ Presence: z.unknown() }).transform((): StringMatch => ({ kind: 'presence' })),
]);
const account = z.strictObject({ namespace: z.string(), serviceAccount: z.string() });

const matchSchema = z.strictObject({
  namespaces: list(stringMatch),
  notNamespaces: list(stringMatch),
  principals: list(stringMatch),
  notPrincipals: list(stringMatch),
  serviceAccounts: list(account),
  notServiceAccounts: list(account),
  sourceIps: list(cidr),
  notSourceIps: list(cidr),
  destinationIps: list(cidr),
  notDestinationIps: list(cidr),
  destinationPorts: list(port),
  notDestinationPorts: list(port),
}) satisfies z.ZodType<PolicyMatch>;

const policySchema = z.strictObject({
  name: z.string(),
  namespace: z.string(),
  scope: z.enum(['Global', 'Namespace', 'WorkloadSelector']),
  action: z.enum(['Allow', 'Deny']),
  dryRun: z.boolean().default(false),
  rules: list(list(list(matchSchema))),
});

const fileSchema = z.strictObject({
  workloads: list(workloadSchema),
  services: list(serviceSchema),
  policies: list(policySchema),
});

const workloadTypes: Readonly<Record<string, Workload['workloadType']>> = {
  deployment: 'deployment',
  cronjob: 'cronjob',
  pod: 'pod',
  job: 'job',
};

function localWorkload(
  content: z.output<typeof workloadSchema>,
  attached: ReadonlyMap<string, ReadonlyMap<number, number>> | undefined,
): Workload {
  const { name, namespace, trustDomain, serviceAccount, applicationTunnel } = content;
  return {
    uid: content.uid,
    name,
    namespace,
    network: content.network,
    addresses: content.workloadIps,
    hostname: content.hostname,
    trustDomain,
    serviceAccount,
    identity: formatSpiffeId({ trustDomain, namespace, serviceAccount }),
    tunnelProtocol: content.protocol === 'HBONE' ? 'hbone' : 'none',
    nativeTunnel: content.nativeTunnel,
    networkMode: content.networkMode === 'HostNetwork' ? 'host' : 'standard',
    node: content.node,
    clusterId: content.clusterId,
    canonicalName: content.canonicalName,
    canonicalRevision: content.canonicalRevision,
    workloadType: workloadTypes[content.workloadType.toLowerCase()] ?? 'deployment',
    workloadName: content.workloadName,
    locality: content.locality ?? undefined,
    capacity: content.capacity,
    healthy: content.status === 'Healthy',
    services: new Map([...Object.entries(content.services ?? {}), ...(attached ?? [])]),
    authorizationPolicies: content.authorizationPolicies,
    waypoint: content.waypoint ?? undefined,
    networkGateway: content.networkGateway ?? undefined,
    applicationTunnel:
      applicationTunnel == null
        ? undefined
        : { protocol: applicationTunnel.protocol === 'PROXY' ? 'proxy' : 'none', port: applicationTunnel.port ?? 0 },
  };
}

function localService(content: z.output<typeof serviceSchema>): Service {
  const { name, namespace, hostname, loadBalancer } = content;
  const mode = loadBalancer?.mode ?? 'Standard';
  const families = { Dual: 'dual', IPv4: 'ipv4', IPv6: 'ipv6' } as const;
  return {
    key: `${namespace}/${hostname}`,
    name,
    namespace,
    hostname,
    addresses: content.vips,
    cidrs: content.cidrVips,
    ports: new Map(
      [...content.ports].map(([servicePort, targetPort]) => [
        servicePort,
        { servicePort, targetPort, appProtocol: 'unknown', name: '' },
      ]),
    ),
    // Checked by the schema.
    subjectAltNames: content.subjectAltNames as readonly SpiffeId[],
    waypoint: content.waypoint ?? undefined,
    weightedWaypoints: content.weightedWaypoints,
    loadBalancing: {
      preferences: (loadBalancer?.routingPreferences ?? []).map((scope) => scope.toLowerCase() as Scope),
      mode:
        mode === 'Strict'
          ? 'strict'
          : mode === 'Failover'
            ? 'failover'
            : mode === 'Passthrough'
              ? 'passthrough'
              : 'any',
      allowUnhealthy: loadBalancer?.healthPolicy === 'AllowAll',
    },
    ipFamilies: content.ipFamilies == null ? 'automatic' : families[content.ipFamilies],
    canonical: content.canonical,
    visibility: content.visibility === 'Namespace' ? 'namespace' : 'public',
  };
}

function localPolicy(content: z.output<typeof policySchema>): L4Policy {
  const { name, namespace, scope, action, dryRun, rules } = content;
  return {
    key: `${namespace}/${name}`,
    name,
    namespace,
    scope: scope === 'Global' ? 'global' : scope === 'Namespace' ? 'namespace' : 'workload',
    action: action === 'Allow' ? 'allow' : 'deny',
    dryRun,
    rules,
  };
}
