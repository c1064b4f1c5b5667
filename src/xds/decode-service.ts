/**
 * One `istio.workload.Service` from the wire (reference §6.3). An address with a `length` is a block. Of a field that arrives
 * twice the last counts.
 */
import { isSpiffeId, type SpiffeId } from '../base/spiffe.ts';
import type { AppProtocol, LoadBalancing, Scope, Service, ServicePort, WeightedWaypoint } from '../mesh/model.ts';
import { blockOf, enumValue, gatewayAddress, ipOf, networkAddress, none, port, withOne } from './decode-common.ts';
import type { Interner } from './interner.ts';
import { MalformedRecord, type WireReader } from './wire-reader.ts';

const ipFamilies = ['automatic', 'ipv4', 'ipv6', 'dual'] as const;
const visibilities = ['public', 'namespace'] as const;
const modes = ['any', 'strict', 'failover', 'passthrough'] as const;
const appProtocols: readonly AppProtocol[] = ['unknown', 'http11', 'http2', 'grpc', 'tcp', 'tls'];
/** There is no first: an unspecified scope says nothing by which to choose. */
const scopes: readonly (Scope | undefined)[] = [undefined, 'region', 'zone', 'subzone', 'node', 'cluster', 'network'];

const noPorts: Service['ports'] = new Map();
const anyEndpoint: LoadBalancing = { preferences: none, mode: 'any', allowUnhealthy: false };

/** What the reader has entered. `name`: of the resource, which the key usually is. Throws `MalformedRecord`. */
export function decodeService(resource: string, reader: WireReader, interner: Interner): Service {
  let name = '';
  let namespace = '';
  let hostname = '';
  let ports = noPorts;
  let waypoint: Service['waypoint'];
  let loadBalancing = anyEndpoint;
  let families: Service['ipFamilies'] = 'automatic';
  let canonical = false;
  let visibility: Service['visibility'] = 'public';
  let addresses: Service['addresses'] = none;
  let cidrs: Service['cidrs'] = none;
  let subjectAltNames: readonly SpiffeId[] = none;
  let weightedWaypoints: readonly WeightedWaypoint[] = none;
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    switch (field) {
      case 1:
        name = interner.text(reader);
        break;
      case 2:
        namespace = interner.text(reader);
        break;
      case 3:
        hostname = reader.text();
        break;
      case 4: {
        const { network, bytes, length } = networkAddress(reader, interner);
        if (length === undefined) {
          addresses = withOne(addresses, { network, ip: ipOf(bytes, 'addresses') });
        } else {
          cidrs = withOne(cidrs, { network, cidr: blockOf(bytes, length, 'addresses') });
        }
        break;
      }
      case 5: {
        reader.run(5);
        const more = interner.record('ports', reader, reader.fieldStart, reader.position, portsOf);
        ports = ports.size === 0 ? more : new Map([...ports, ...more]);
        break;
      }
      case 6: {
        // Of a ServiceEntry it may be any name; only a workload identity can be proven here.
        const id = interner.text(reader);
        if (isSpiffeId(id)) subjectAltNames = withOne(subjectAltNames, id);
        break;
      }
      case 7:
        waypoint = gatewayAddress(reader, interner, 'waypoint');
        break;
      case 8: {
        const start = reader.span();
        loadBalancing = interner.record('load_balancing', reader, start, reader.position, loadBalancingOf);
        break;
      }
      case 9:
        families = enumValue(reader, ipFamilies, 'ip_families');
        break;
      case 11:
        canonical = reader.bool();
        break;
      case 13:
        weightedWaypoints = withOne(weightedWaypoints, weightedWaypointOf(reader, interner));
        break;
      case 14:
        visibility = enumValue(reader, visibilities, 'visibility');
        break;
      default:
        reader.skip();
    }
  }
  if (namespace === '') throw new MalformedRecord('it is empty', 'namespace');
  if (hostname === '') throw new MalformedRecord('it is empty', 'hostname');
  const key = `${namespace}/${hostname}`;
  return {
    key: interner.shared(key === resource ? resource : key),
    name,
    namespace,
    hostname,
    addresses,
    cidrs,
    ports,
    subjectAltNames,
    waypoint,
    weightedWaypoints,
    loadBalancing,
    ipFamilies: families,
    canonical,
    visibility,
  };
}

/** Names of the fields by number, for reasons. */
export const serviceFields: Readonly<Record<number, string>> = {
  1: 'name',
  2: 'namespace',
  3: 'hostname',
  4: 'addresses',
  5: 'ports',
  6: 'subject_alt_names',
  7: 'waypoint',
  8: 'load_balancing',
  9: 'ip_families',
  10: 'extensions',
  11: 'canonical',
  12: 'ingress_use_waypoint',
  13: 'weighted_waypoints',
  14: 'visibility',
};

/** A run of `Port` fields. */
function portsOf(reader: WireReader): Service['ports'] {
  const ports = new Map<number, ServicePort>();
  while (reader.field() !== 0) {
    let servicePort = 0;
    let targetPort = 0;
    let appProtocol: AppProtocol = 'unknown';
    const outer = reader.enter();
    for (let field = reader.field(); field !== 0; field = reader.field()) {
      if (field === 1) servicePort = port(reader, 'ports.service_port');
      else if (field === 2) targetPort = port(reader, 'ports.target_port');
      else if (field === 3) appProtocol = enumValue(reader, appProtocols, 'ports.app_protocol');
      else reader.skip();
    }
    reader.leave(outer);
    ports.set(servicePort, { servicePort, targetPort, appProtocol, name: '' });
  }
  return ports;
}

function loadBalancingOf(reader: WireReader): LoadBalancing {
  const numbers: number[] = [];
  let mode: LoadBalancing['mode'] = 'any';
  let allowUnhealthy = false;
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) reader.uint32s(numbers);
    else if (field === 2) mode = enumValue(reader, modes, 'load_balancing.mode');
    else if (field === 3) allowUnhealthy = enumValue(reader, [false, true], 'load_balancing.health_policy');
    else reader.skip();
  }
  const preferences = numbers.map((number) => {
    const scope = scopes[number];
    if (scope === undefined) throw new MalformedRecord(`unknown value ${number}`, 'load_balancing.routing_preference');
    return scope;
  });
  return { preferences, mode, allowUnhealthy };
}

function weightedWaypointOf(reader: WireReader, interner: Interner): WeightedWaypoint {
  let destination: WeightedWaypoint['destination'] | undefined;
  let weight = 0;
  const outer = reader.enter();
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) destination = gatewayAddress(reader, interner, 'weighted_waypoints.destination');
    else if (field === 2) weight = reader.uint32();
    else reader.skip();
  }
  reader.leave(outer);
  if (destination === undefined) throw new MalformedRecord('it has no destination', 'weighted_waypoints');
  return { destination, weight };
}
