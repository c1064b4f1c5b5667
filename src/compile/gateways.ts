/**
 * Waypoints: every Gateway that is one, as a record that says where it is and who it is.
 *
 * I1: a waypoint is always a Service record, so that one without pods stays a waypoint and traffic to what it serves is
 * refused (design rule 1). Where the user has no Service for it, one without VIP is made: for the label form under the
 * name it would have had (`<gateway>.<namespace>.svc.<domain>`), for the service-account form under
 * `<account>.<namespace>.waypoint.internal`, which no cluster can resolve.
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import { formatSpiffeId, type SpiffeId } from '../base/spiffe.ts';
import type { GatewayAddress, Service, ServiceKey } from '../mesh/model.ts';
import type { Attachments, Endpoints } from './endpoints.ts';
import type { AllowedFrom, GatewaySpec, WaypointFor } from './gateway.ts';
import type { Inputs } from './inputs.ts';
import { diagnose } from './object.ts';
import { type CompileOptions, serviceHostname, serviceKey } from './options.ts';
import { gatewayNameLabel, type PodSpec } from './pod.ts';

/** What a waypoint process finds itself by, and what binds objects to it. */
export interface GatewayRecord {
  /** `namespace/name`; with `/account` behind it where one Gateway asks for a waypoint per account. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly className: string;
  readonly form: 'service-account' | 'label';
  /** As it stands on the records of what is bound to it. */
  readonly address: GatewayAddress;
  /** The Service that is this waypoint; undefined for one that is known by a bare address. */
  readonly service: ServiceKey | undefined;
  /** Identities that are this waypoint, whether or not it has pods now. */
  readonly identities: readonly SpiffeId[];
  /** Served account of the service-account form; also what that waypoint runs as. */
  readonly serviceAccount: string | undefined;
  readonly waypointFor: WaypointFor;
  readonly allowedFrom: AllowedFrom;
  readonly hasEndpoints: boolean;
  /** Applications are told who the client is. */
  readonly tellsIdentity: boolean;
}

export interface Gateways {
  readonly records: ReadonlyMap<string, GatewayRecord>;
  /** Label form, by `namespace/name`. */
  readonly byName: ReadonlyMap<string, GatewayRecord>;
  /** Service-account form, by `namespace/account`. */
  readonly byAccount: ReadonlyMap<string, GatewayRecord>;
  /** Services made for waypoints that have none. */
  readonly services: readonly Service[];
  /** What those Services add to pods. */
  readonly attachments: ReadonlyMap<PodSpec, Attachments>;
}

export function buildGateways(
  inputs: Inputs,
  endpoints: Endpoints,
  options: CompileOptions,
  diagnostics: Diagnostic[],
): Gateways {
  const records = new Map<string, GatewayRecord>();
  const byName = new Map<string, GatewayRecord>();
  const byAccount = new Map<string, GatewayRecord>();
  const services: Service[] = [];
  const attachments = new Map<PodSpec, Attachments>();
  const pods = waypointPods(inputs.pods);
  const add = (spec: GatewaySpec, record: GatewayRecord, members: readonly PodSpec[], made: Service | undefined) => {
    records.set(record.key, record);
    if (!record.hasEndpoints) {
      const what = record.serviceAccount === undefined ? '' : ` for service account ${record.serviceAccount}`;
      diagnostics.push(diagnose(spec.object, 'GATEWAY_NO_ENDPOINTS', `the waypoint${what} has no pods`));
    }
    if (made === undefined) return;
    services.push(made);
    const ports = new Map([...made.ports.values()].map(({ servicePort, targetPort }) => [servicePort, targetPort]));
    for (const pod of members) {
      const own = attachments.get(pod) ?? new Map();
      attachments.set(pod, own.set(made.key, ports));
    }
  };
  // One that names its account goes before one that asks for all of them.
  const specs = [...inputs.gateways].sort((a, b) => Number(asksForAll(a)) - Number(asksForAll(b)));
  for (const spec of specs) {
    if (spec.form.kind === 'label') {
      const members = pods.byGateway.get(`${spec.namespace}/${spec.name}`) ?? [];
      const { record, made } = labelGateway(spec, spec.form, members, inputs, endpoints, options);
      byName.set(record.key, record);
      add(spec, record, members, made);
      continue;
    }
    for (const account of servedAccounts(spec.namespace, spec.form.serviceAccount, inputs)) {
      const id = `${spec.namespace}/${account}`;
      const older = byAccount.get(id);
      if (older !== undefined) {
        const message = `service account ${account} is already served by Gateway ${older.name}`;
        if (!asksForAll(spec)) diagnostics.push(diagnose(spec.object, 'GATEWAY_CONFLICT', message));
        continue;
      }
      const members = pods.byAccount.get(id) ?? [];
      const { record, made } = accountGateway(spec, account, members, options);
      byAccount.set(id, record);
      add(spec, record, members, made);
    }
  }
  return { records, byName, byAccount, services, attachments };
}

function asksForAll({ form }: GatewaySpec): boolean {
  return form.kind === 'service-account' && form.serviceAccount === undefined;
}

interface Built {
  readonly record: GatewayRecord;
  /** Undefined: the user's own Service is used. */
  readonly made: Service | undefined;
}

function accountGateway(
  spec: GatewaySpec,
  account: string,
  members: readonly PodSpec[],
  options: CompileOptions,
): Built {
  const { namespace, name, className, tellsIdentity } = spec;
  const port = options.preset.waypointPort;
  const identity = identityOf(namespace, account, options);
  const hostname = `${account}.${namespace}.waypoint.internal`;
  const made = madeService(namespace, `${account}-waypoint-proxy`, hostname, port, [identity]);
  const record: GatewayRecord = {
    key: asksForAll(spec) ? `${namespace}/${name}/${account}` : `${namespace}/${name}`,
    namespace,
    name,
    className,
    form: 'service-account',
    address: { kind: 'hostname', service: made.key, hbonePort: port },
    service: made.key,
    identities: [identity],
    serviceAccount: account,
    waypointFor: 'all',
    allowedFrom: { kind: 'same' },
    hasEndpoints: members.length > 0,
    tellsIdentity,
  };
  return { record, made };
}

function labelGateway(
  spec: GatewaySpec,
  form: Extract<GatewaySpec['form'], { kind: 'label' }>,
  members: readonly PodSpec[],
  inputs: Inputs,
  endpoints: Endpoints,
  options: CompileOptions,
): Built {
  const { namespace, name, className, tellsIdentity } = spec;
  const { port, waypointFor, allowedFrom, address } = form;
  const common = {
    key: `${namespace}/${name}`,
    namespace,
    name,
    className,
    form: 'label',
    waypointFor,
    allowedFrom,
    tellsIdentity,
  } as const;
  const known = [name, `${name}-${className}`].find((candidate) => inputs.services.has(`${namespace}/${candidate}`));
  if (known === undefined && members.length === 0 && address !== undefined) {
    const found = addressRecord(address, namespace, port, options);
    return {
      made: undefined,
      record: { ...common, ...found, identities: [], serviceAccount: undefined, hasEndpoints: true },
    };
  }
  const key = serviceKey(namespace, known ?? name, options);
  const pods = known === undefined ? members : (endpoints.podsOf.get(key) ?? []);
  const accounts = [...new Set(pods.map((pod) => pod.serviceAccount))].sort();
  const hostname = serviceHostname(namespace, name, options);
  return {
    made: known === undefined ? madeService(namespace, name, hostname, port, []) : undefined,
    record: {
      ...common,
      address: { kind: 'hostname', service: key, hbonePort: port },
      service: key,
      identities: accounts.map((account) => identityOf(namespace, account, options)),
      serviceAccount: accounts[0],
      hasEndpoints: pods.length > 0,
    },
  };
}

function addressRecord(
  address: { readonly kind: 'ip' | 'hostname'; readonly value: string },
  namespace: string,
  hbonePort: number,
  options: CompileOptions,
): Pick<GatewayRecord, 'address' | 'service'> {
  if (address.kind === 'ip') {
    return { address: { kind: 'address', network: options.network, ip: address.value, hbonePort }, service: undefined };
  }
  const [, owner, zone] = address.value.split('.', 3);
  const service = `${zone === 'svc' && owner !== undefined ? owner : namespace}/${address.value}`;
  return { address: { kind: 'hostname', service, hbonePort }, service };
}

function madeService(
  namespace: string,
  name: string,
  hostname: string,
  port: number,
  subjectAltNames: readonly SpiffeId[],
): Service {
  return {
    key: `${namespace}/${hostname}`,
    name,
    namespace,
    hostname,
    addresses: [],
    cidrs: [],
    ports: new Map([[port, { servicePort: port, targetPort: port, appProtocol: 'unknown', name: 'hbone' }]]),
    subjectAltNames,
    waypoint: undefined,
    weightedWaypoints: [],
    loadBalancing: { preferences: [], mode: 'any', allowUnhealthy: false },
    ipFamilies: 'automatic',
    canonical: true,
    visibility: 'public',
  };
}

function identityOf(namespace: string, serviceAccount: string, options: CompileOptions): SpiffeId {
  return formatSpiffeId({ trustDomain: options.trustDomain, namespace, serviceAccount });
}

/** Every account that is declared or used by an ordinary pod, when none is named. */
function servedAccounts(namespace: string, named: string | undefined, inputs: Inputs): readonly string[] {
  if (named !== undefined) return [named];
  const accounts = new Set<string>();
  for (const pod of inputs.pods) if (pod.namespace === namespace && !pod.waypoint) accounts.add(pod.serviceAccount);
  for (const id of inputs.serviceAccounts) {
    if (id.startsWith(`${namespace}/`)) accounts.add(id.slice(namespace.length + 1));
  }
  return [...accounts].sort();
}

function waypointPods(pods: readonly PodSpec[]): {
  readonly byGateway: ReadonlyMap<string, readonly PodSpec[]>;
  readonly byAccount: ReadonlyMap<string, readonly PodSpec[]>;
} {
  const byGateway = new Map<string, PodSpec[]>();
  const byAccount = new Map<string, PodSpec[]>();
  for (const pod of pods) {
    if (!pod.waypoint || pod.addresses.length === 0) continue;
    const gateway = pod.labels[gatewayNameLabel];
    const [map, id] =
      gateway === undefined
        ? [byAccount, `${pod.namespace}/${pod.serviceAccount}`]
        : [byGateway, `${pod.namespace}/${gateway}`];
    map.set(id, [...(map.get(id) ?? []), pod]);
  }
  return { byGateway, byAccount };
}
