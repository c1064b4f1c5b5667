/**
 * One `istio.workload.Workload` from the wire (reference §6.3), with istiod's defaults: what is empty there has a meaning.
 * Of a field that arrives twice the last counts.
 */
import type { Locality, PolicyKey, ServiceKey, Workload } from '../mesh/model.ts';
import { enumValue, gatewayAddress, ipOf, none, port, withOne } from './decode-common.ts';
import type { Interner } from './interner.ts';
import { MalformedRecord, type WireReader } from './wire-reader.ts';

const tunnelProtocols = ['none', 'hbone', 'legacy'] as const;
const workloadTypes = ['deployment', 'cronjob', 'pod', 'job'] as const;
const networkModes = ['standard', 'host'] as const;
const tunnelPrograms = ['none', 'proxy'] as const;

const noServices: Workload['services'] = new Map();

/** What the reader has entered. `name`: of the resource, which the uid usually is. Throws `MalformedRecord`. */
export function decodeWorkload(name: string, reader: WireReader, interner: Interner): Workload {
  let uid = '';
  let workloadName = '';
  let ownName = '';
  let namespace = '';
  let network = '';
  let hostname = '';
  let trustDomain = 'cluster.local';
  let serviceAccount = 'default';
  let node = '';
  let clusterId = 'Kubernetes';
  let canonicalName = '';
  let canonicalRevision = '';
  let tunnelProtocol: (typeof tunnelProtocols)[number] = 'none';
  let workloadType: Workload['workloadType'] = 'deployment';
  let networkMode: Workload['networkMode'] = 'standard';
  let nativeTunnel = false;
  let healthy = true;
  let capacity = 1;
  let locality: Locality | undefined;
  let services = noServices;
  let authorizationPolicies: readonly PolicyKey[] = none;
  let waypoint: Workload['waypoint'];
  let networkGateway: Workload['networkGateway'];
  let applicationTunnel: Workload['applicationTunnel'];
  let addresses: readonly string[] = none;
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    switch (field) {
      case 1:
        ownName = reader.text();
        break;
      case 2:
        namespace = interner.text(reader);
        break;
      case 3:
        addresses = withOne(addresses, ipOf(reader.view(), 'addresses'));
        break;
      case 4:
        network = interner.text(reader);
        break;
      case 5:
        tunnelProtocol = enumValue(reader, tunnelProtocols, 'tunnel_protocol');
        break;
      case 6:
        trustDomain = interner.text(reader) || 'cluster.local';
        break;
      case 7:
        serviceAccount = interner.text(reader) || 'default';
        break;
      case 8:
        waypoint = gatewayAddress(reader, interner, 'waypoint');
        break;
      case 9:
        node = interner.text(reader);
        break;
      case 10:
        canonicalName = interner.text(reader);
        break;
      case 11:
        canonicalRevision = interner.text(reader);
        break;
      case 12:
        workloadType = enumValue(reader, workloadTypes, 'workload_type');
        break;
      case 13:
        workloadName = interner.text(reader);
        break;
      case 14:
        nativeTunnel = reader.bool();
        break;
      case 16: {
        reader.run(16);
        const more = policiesOf(reader, interner);
        authorizationPolicies = authorizationPolicies.length === 0 ? more : [...authorizationPolicies, ...more];
        break;
      }
      case 17:
        healthy = enumValue(reader, [true, false], 'status');
        break;
      case 18:
        clusterId = interner.text(reader) || 'Kubernetes';
        break;
      case 19:
        networkGateway = gatewayAddress(reader, interner, 'network_gateway');
        break;
      case 20:
        uid = reader.textLike(name);
        break;
      case 21:
        hostname = reader.text();
        break;
      case 22: {
        reader.run(22);
        const more = servicesOf(reader, interner);
        services = services.size === 0 ? more : new Map([...services, ...more]);
        break;
      }
      case 23:
        applicationTunnel = applicationTunnelOf(reader, interner);
        break;
      case 24:
        locality = localityOf(reader, interner);
        break;
      case 25:
        networkMode = enumValue(reader, networkModes, 'network_mode');
        break;
      case 27:
        capacity = capacityOf(reader);
        break;
      default:
        reader.skip();
    }
  }
  if (uid === '') throw new MalformedRecord('it is empty', 'uid');
  if (tunnelProtocol === 'legacy') throw new MalformedRecord('LEGACY_ISTIO_MTLS is not spoken', 'tunnel_protocol');
  return {
    uid,
    name: ownName,
    namespace,
    network,
    addresses,
    hostname,
    trustDomain,
    serviceAccount,
    identity: interner.identity(trustDomain, namespace, serviceAccount),
    tunnelProtocol,
    nativeTunnel,
    networkMode,
    node,
    clusterId,
    canonicalName,
    canonicalRevision,
    workloadType,
    workloadName,
    locality,
    capacity,
    healthy,
    services,
    authorizationPolicies,
    waypoint,
    networkGateway,
    applicationTunnel,
  };
}

/** Names of the fields by number, for reasons. */
export const workloadFields: Readonly<Record<number, string>> = {
  1: 'name',
  2: 'namespace',
  3: 'addresses',
  4: 'network',
  5: 'tunnel_protocol',
  6: 'trust_domain',
  7: 'service_account',
  8: 'waypoint',
  9: 'node',
  10: 'canonical_name',
  11: 'canonical_revision',
  12: 'workload_type',
  13: 'workload_name',
  14: 'native_tunnel',
  16: 'authorization_policies',
  17: 'status',
  18: 'cluster_id',
  19: 'network_gateway',
  20: 'uid',
  21: 'hostname',
  22: 'services',
  23: 'application_tunnel',
  24: 'locality',
  25: 'network_mode',
  26: 'extensions',
  27: 'capacity',
};

/** The run of policies' names that ends here. */
function policiesOf(reader: WireReader, interner: Interner): readonly PolicyKey[] {
  return interner.record('authorization_policies', reader, reader.fieldStart, reader.position, () => {
    const policies: PolicyKey[] = [];
    while (reader.field() !== 0) policies.push(interner.text(reader));
    return policies;
  });
}

/** The run of entries that ends here. */
function servicesOf(reader: WireReader, interner: Interner): Workload['services'] {
  return interner.record('services', reader, reader.fieldStart, reader.position, () => {
    const services = new Map<ServiceKey, ReadonlyMap<number, number>>();
    while (reader.field() !== 0) {
      let key = '';
      let ports = noPorts;
      const outer = reader.enter();
      for (let field = reader.field(); field !== 0; field = reader.field()) {
        if (field === 1) key = interner.text(reader);
        else if (field === 2) {
          const start = reader.span();
          ports = interner.record('services.ports', reader, start, reader.position, () => portsOf(reader));
        } else reader.skip();
      }
      reader.leave(outer);
      services.set(key, ports);
    }
    return services;
  });
}

const noPorts: ReadonlyMap<number, number> = new Map();

/** A `PortList` that was entered. */
function portsOf(reader: WireReader): ReadonlyMap<number, number> {
  const ports = new Map<number, number>();
  for (let list = reader.field(); list !== 0; list = reader.field()) {
    if (list !== 1) {
      reader.skip();
      continue;
    }
    let servicePort = 0;
    let targetPort = 0;
    const outer = reader.enter();
    for (let field = reader.field(); field !== 0; field = reader.field()) {
      if (field === 1) servicePort = port(reader, 'services.service_port');
      else if (field === 2) targetPort = port(reader, 'services.target_port');
      else reader.skip();
    }
    reader.leave(outer);
    ports.set(servicePort, targetPort);
  }
  return ports;
}

function localityOf(reader: WireReader, interner: Interner): Locality {
  const start = reader.span();
  return interner.record('locality', reader, start, reader.position, () => {
    let region = '';
    let zone = '';
    let subzone = '';
    for (let field = reader.field(); field !== 0; field = reader.field()) {
      if (field === 1) region = interner.text(reader);
      else if (field === 2) zone = interner.text(reader);
      else if (field === 3) subzone = interner.text(reader);
      else reader.skip();
    }
    return { region, zone, subzone };
  });
}

function applicationTunnelOf(reader: WireReader, interner: Interner): Workload['applicationTunnel'] {
  const start = reader.span();
  return interner.record('application_tunnel', reader, start, reader.position, () => {
    let protocol: (typeof tunnelPrograms)[number] = 'none';
    let tunnelPort = 0;
    for (let field = reader.field(); field !== 0; field = reader.field()) {
      if (field === 1) protocol = enumValue(reader, tunnelPrograms, 'application_tunnel.protocol');
      else if (field === 2) tunnelPort = port(reader, 'application_tunnel.port');
      else reader.skip();
    }
    return { protocol, port: tunnelPort };
  });
}

/** `google.protobuf.UInt32Value`. */
function capacityOf(reader: WireReader): number {
  let capacity = 0;
  const outer = reader.enter();
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) capacity = reader.uint32();
    else reader.skip();
  }
  reader.leave(outer);
  return capacity;
}
