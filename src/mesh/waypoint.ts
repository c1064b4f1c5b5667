/**
 * Questions about a record's waypoint (or network gateway): where it is, who it is, and whether a given one is it.
 * A waypoint that is named but cannot be reached stays a waypoint: the answer is `none` with a reason, never the
 * destination itself (design rule 1).
 */
import { type IpFamily, ipFamily } from '../base/address.ts';
import type { Random } from '../base/random.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { NoEndpointReason, ReachableEndpoint } from './endpoint-query.ts';
import type { GatewayAddress, Service, ServiceKey, WeightedWaypoint, Workload } from './model.ts';
import { selectEndpoint } from './select-endpoint.ts';
import { chooseAddress } from './usable-endpoint.ts';
import type { MeshView } from './view.ts';

export interface GatewayQuery {
  readonly gateway: GatewayAddress;
  readonly source: Workload | undefined;
  /** Network of the asker when `source` is undefined. */
  readonly network?: string;
  readonly random: Random;
  readonly exclude?: ReadonlySet<string>;
  /** Of the original destination: for a gateway known by name, which may have addresses of both families. */
  readonly preferFamily?: IpFamily;
}

export type GatewaySelection =
  /** `service`: through which it was found, undefined for a bare address. Its ids are `waypointIdentities`. */
  | { readonly kind: 'gateway'; readonly endpoint: ReachableEndpoint; readonly service: Service | undefined }
  | { readonly kind: 'none'; readonly reason: 'unknown-gateway' | NoEndpointReason };

/**
 * Picks the endpoint to dial for a waypoint; `port` of the endpoint is the HBONE port as that endpoint maps it. `remote`:
 * it is on another network, behind that network's gateway.
 */
export function selectGateway(mesh: MeshView, query: GatewayQuery): GatewaySelection {
  const service = gatewayService(mesh, query.gateway);
  if (service !== undefined) return selectOfService(mesh, query, service, 'waypoint');
  const workload = gatewayWorkload(mesh, query.gateway);
  if (workload === undefined) return { kind: 'none', reason: 'unknown-gateway' };
  if (workload.network === (query.source?.network ?? query.network ?? '')) return selectWorkload(query, workload);
  const { networkGateway: gateway } = workload;
  if (gateway === undefined) return { kind: 'none', reason: 'no-network-gateway' };
  const { hbonePort: port } = query.gateway;
  return { kind: 'gateway', service: undefined, endpoint: { kind: 'remote', workload, gateway, port } };
}

/** The same for the gateway of another network: it is dialled as it is named, whatever network its record is of. */
export function selectNetworkGateway(mesh: MeshView, query: GatewayQuery): GatewaySelection {
  const { gateway } = query;
  const service = gatewayService(mesh, gateway);
  if (service === undefined) {
    const workload = gatewayWorkload(mesh, gateway);
    return workload === undefined ? { kind: 'none', reason: 'unknown-gateway' } : selectWorkload(query, workload);
  }
  const there = gateway.kind === 'address' ? { source: undefined, network: gateway.network } : {};
  const selection = selectOfService(mesh, { ...query, ...there }, service, 'service');
  const behindAnother = selection.kind === 'gateway' && selection.endpoint.kind === 'remote';
  return behindAnother ? { kind: 'none', reason: 'no-usable-address' } : selection;
}

/**
 * One of several by weight: its index, or -1 when no weight is left. `without`: indexes that were drawn before and could not
 * be reached.
 */
export function drawWaypoint(
  weighted: readonly Pick<WeightedWaypoint, 'weight'>[],
  random: Random,
  without?: ReadonlySet<number>,
): number {
  let sum = 0;
  for (const [i, { weight }] of weighted.entries()) if (without?.has(i) !== true) sum += Math.max(0, weight);
  if (!(sum > 0)) return -1;
  let left = random.next() * sum;
  let last = -1;
  for (const [i, { weight }] of weighted.entries()) {
    if (without?.has(i) === true || weight <= 0) continue;
    left -= weight;
    last = i;
    if (left < 0) break;
  }
  return last;
}

function selectOfService(
  mesh: MeshView,
  query: GatewayQuery,
  service: Service,
  resolution: 'service' | 'waypoint',
): GatewaySelection {
  const { gateway, preferFamily } = query;
  const selection = selectEndpoint({
    ...query,
    service,
    endpoints: mesh.endpoints(service.key),
    servicePort: gateway.hbonePort,
    preferFamily: gateway.kind === 'address' ? ipFamily(gateway.ip) : preferFamily,
    resolution,
  });
  if (selection.kind === 'none') return selection;
  // A gateway is by nature something with endpoints; passing through would bypass it.
  if (selection.kind === 'passthrough') return { kind: 'none', reason: 'no-endpoints' };
  return { kind: 'gateway', endpoint: selection, service };
}

function selectWorkload({ gateway, preferFamily }: GatewayQuery, workload: Workload): GatewaySelection {
  const { hbonePort: port } = gateway;
  const ip = gateway.kind === 'address' ? gateway.ip : chooseAddress(workload, 'automatic', preferFamily);
  if (ip !== undefined) {
    return { kind: 'gateway', service: undefined, endpoint: { kind: 'endpoint', workload, ip, port } };
  }
  const { hostname } = workload;
  if (hostname === '') return { kind: 'none', reason: 'no-usable-address' };
  return { kind: 'gateway', service: undefined, endpoint: { kind: 'hostname', workload, hostname, port } };
}

/** Ids a gateway may prove: its service's names and those of its endpoints. In stable order, without repetition. */
export function waypointIdentities(mesh: MeshView, gateway: GatewayAddress): readonly SpiffeId[] {
  const service = gatewayService(mesh, gateway);
  if (service === undefined) {
    const workload = gatewayWorkload(mesh, gateway);
    return workload === undefined ? [] : [workload.identity];
  }
  const endpoints = mesh.endpoints(service.key);
  const known = identitiesByService.get(service);
  if (known?.endpoints === endpoints) return known.identities;
  const identities = [...new Set([...service.subjectAltNames, ...endpoints.map(({ identity }) => identity)])];
  identitiesByService.set(service, { endpoints, identities });
  return identities;
}

/** Collected once for a service record and its list of endpoints: connections ask again and again. */
const identitiesByService = new WeakMap<
  Service,
  { readonly endpoints: readonly Workload[]; readonly identities: readonly SpiffeId[] }
>();

/**
 * The name of a gateway for chains, dumps and logs: its first identity, else the service or address it is known by. A
 * gateway without any endpoint thus still has a name.
 */
export function gatewayName(mesh: MeshView, gateway: GatewayAddress): string {
  return waypointIdentities(mesh, gateway)[0] ?? (gateway.kind === 'hostname' ? gateway.service : gateway.ip);
}

/** Whether the gateway address means the gateway that is this service: what a waypoint asks to find what it serves. */
export function isGateway(mesh: MeshView, gateway: GatewayAddress | undefined, service: ServiceKey): boolean {
  if (gateway === undefined) return false;
  if (gateway.kind === 'hostname') return gateway.service === service;
  const record = mesh.service(service);
  if (record?.addresses.some(({ network, ip }) => network === gateway.network && ip === gateway.ip) === true)
    return true;
  const workload = mesh.workloadByAddress(gateway.network, gateway.ip);
  return workload?.services.has(service) === true;
}

/** Whether the workload is an endpoint of the gateway: such a source is not sent to itself. */
export function isGatewayEndpoint(mesh: MeshView, gateway: GatewayAddress, workload: Workload): boolean {
  const service = gatewayService(mesh, gateway);
  if (service !== undefined) return workload.services.has(service.key);
  return gatewayWorkload(mesh, gateway)?.uid === workload.uid;
}

const noEndpoints: readonly Workload[] = [];

/** The records a gateway stands for now. `endpoints` are the service's; of no service: an empty list. */
export function gatewayRecords(
  mesh: MeshView,
  gateway: GatewayAddress,
): {
  readonly service: Service | undefined;
  readonly workload: Workload | undefined;
  readonly endpoints: readonly Workload[];
} {
  const service = gatewayService(mesh, gateway);
  if (service === undefined) return { service, workload: gatewayWorkload(mesh, gateway), endpoints: noEndpoints };
  return { service, workload: undefined, endpoints: mesh.endpoints(service.key) };
}

/** All the waypoints a service or workload may be reached through. */
export function waypointsOf(object: Service | Workload): readonly GatewayAddress[] {
  if ('weightedWaypoints' in object && object.weightedWaypoints.length > 0) {
    return object.weightedWaypoints.map(({ destination }) => destination);
  }
  return object.waypoint === undefined ? [] : [object.waypoint];
}

function gatewayService(mesh: MeshView, gateway: GatewayAddress): Service | undefined {
  if (gateway.kind === 'hostname') return mesh.service(gateway.service);
  if (mesh.workloadByAddress(gateway.network, gateway.ip) !== undefined) return undefined;
  return mesh.serviceByAddress(gateway.network, gateway.ip, undefined);
}

/** By address, or by the hostname of a workload that is known by name only. */
function gatewayWorkload(mesh: MeshView, gateway: GatewayAddress): Workload | undefined {
  if (gateway.kind === 'address') return mesh.workloadByAddress(gateway.network, gateway.ip);
  return mesh.workloadByHostname(gateway.service);
}
