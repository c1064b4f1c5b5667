/**
 * Questions about a record's waypoint (or network gateway): where it is, who it is, and whether a given one is it.
 * A waypoint that is named but cannot be reached stays a waypoint: the answer is `none` with a reason, never the
 * destination itself (design rule 1).
 */
import { ipFamily } from '../base/address.ts';
import type { Random } from '../base/random.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { NoEndpointReason, ReachableEndpoint } from './endpoint-query.ts';
import type { GatewayAddress, Service, ServiceKey, Workload } from './model.ts';
import { selectEndpoint } from './select-endpoint.ts';
import type { MeshView } from './view.ts';

export interface GatewayQuery {
  readonly gateway: GatewayAddress;
  readonly source: Workload | undefined;
  /** Network of the asker when `source` is undefined. */
  readonly network?: string;
  readonly random: Random;
  readonly exclude?: ReadonlySet<string>;
}

export type GatewaySelection =
  /** `service`: through which it was found, undefined for a bare address. Its ids are `waypointIdentities`. */
  | { readonly kind: 'gateway'; readonly endpoint: ReachableEndpoint; readonly service: Service | undefined }
  | { readonly kind: 'none'; readonly reason: 'unknown-gateway' | NoEndpointReason };

/** Picks the endpoint to dial for a gateway; `port` of the endpoint is the HBONE port as that endpoint maps it. */
export function selectGateway(mesh: MeshView, query: GatewayQuery): GatewaySelection {
  const { gateway } = query;
  const service = gatewayService(mesh, gateway);
  if (service !== undefined) {
    const selection = selectEndpoint({
      ...query,
      service,
      endpoints: mesh.endpoints(service.key),
      servicePort: gateway.hbonePort,
      preferFamily: gateway.kind === 'address' ? ipFamily(gateway.ip) : undefined,
      resolution: 'waypoint',
    });
    if (selection.kind === 'none') return selection;
    // A gateway is by nature something with endpoints; passing through would bypass it.
    if (selection.kind === 'passthrough') return { kind: 'none', reason: 'no-endpoints' };
    return { kind: 'gateway', endpoint: selection, service };
  }
  const workload = gatewayWorkload(mesh, gateway);
  if (workload === undefined) return { kind: 'none', reason: 'unknown-gateway' };
  const ip = gateway.kind === 'address' ? gateway.ip : workload.addresses[0];
  if (ip === undefined) return { kind: 'none', reason: 'no-usable-address' };
  return { kind: 'gateway', service: undefined, endpoint: { kind: 'endpoint', workload, ip, port: gateway.hbonePort } };
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

function gatewayService(mesh: MeshView, gateway: GatewayAddress): Service | undefined {
  if (gateway.kind === 'hostname') return mesh.service(gateway.service);
  if (mesh.workloadByAddress(gateway.network, gateway.ip) !== undefined) return undefined;
  return mesh.serviceByAddress(gateway.network, gateway.ip, '');
}

/** By address, or by the hostname of a workload that is known by name only. */
function gatewayWorkload(mesh: MeshView, gateway: GatewayAddress): Workload | undefined {
  if (gateway.kind === 'address') return mesh.workloadByAddress(gateway.network, gateway.ip);
  return mesh.workloadByHostname(gateway.service);
}
