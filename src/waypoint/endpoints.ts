/** From a service and port to the endpoint of one try: whom to reach, over what, in which protocol. */
import { formatSocketAddress, ipFamily } from '../base/address.ts';
import type { Service, Workload } from '../mesh/model.ts';
import { selectEndpoint } from '../mesh/select-endpoint.ts';
import { plainSocket } from '../net/socket-spec.ts';
import type { UpstreamEndpoint, UpstreamProtocol } from '../upstream/endpoint.ts';
import type { Tunnel, WaypointServices } from './context.ts';

export type EndpointChoice =
  | { readonly kind: 'endpoint'; readonly endpoint: UpstreamEndpoint }
  | { readonly kind: 'none'; readonly reason: string };

/** One endpoint of the service, by preference none of `tried`: with all tried, any of them once more. */
export function chooseEndpoint(
  services: WaypointServices,
  tunnel: Tunnel,
  service: Service,
  servicePort: number,
  tried: ReadonlySet<string>,
): EndpointChoice {
  const { mesh, random, settings } = services;
  const query = {
    service,
    endpoints: mesh.endpoints(service.key),
    servicePort,
    source: undefined,
    network: settings.network,
    preferFamily: ipFamily(tunnel.destination.address.ip),
    resolution: 'service',
    random,
  } as const;
  let selection = selectEndpoint({ ...query, exclude: tried });
  if (selection.kind === 'none' && tried.size > 0) selection = selectEndpoint(query);
  switch (selection.kind) {
    case 'endpoint':
      return { kind: 'endpoint', endpoint: endpointAt(services, selection.workload, selection.ip, selection.port) };
    case 'none':
      return { kind: 'none', reason: selection.reason };
    case 'hostname':
    case 'remote':
    case 'passthrough':
      return { kind: 'none', reason: `unsupported-${selection.kind}` };
  }
}

/** Ports and addresses of one workload that are kept; more are made anew each time. */
const keptPerWorkload = 64;
const made = new WeakMap<WaypointServices, WeakMap<Workload, UpstreamEndpoint[]>>();

/**
 * The workload at one of its addresses: through its tunnel when it has one, pinned to its identity; else plainly. The
 * same object as long as the record stands.
 */
export function endpointAt(services: WaypointServices, workload: Workload, ip: string, port: number): UpstreamEndpoint {
  const ofWorkload = made.getOrInsertComputed(services, newWeakMap).getOrInsertComputed(workload, newList);
  for (const known of ofWorkload) if (known.address.port === port && known.address.ip === ip) return known;
  const endpoint = makeEndpoint(services, workload, ip, port);
  if (ofWorkload.length < keptPerWorkload) ofWorkload.push(endpoint);
  return endpoint;
}

function newWeakMap(): WeakMap<Workload, UpstreamEndpoint[]> {
  return new WeakMap();
}

function newList(): UpstreamEndpoint[] {
  return [];
}

function makeEndpoint(services: WaypointServices, workload: Workload, ip: string, port: number): UpstreamEndpoint {
  const { preset, settings, identity } = services;
  const address = { ip, port };
  const socket = { ...plainSocket, connectTimeoutMs: preset.connectTimeoutMs };
  if (workload.tunnelProtocol === 'none') return { workload, address, transport: { kind: 'plain', socket } };
  const authority = formatSocketAddress(address);
  return {
    workload,
    address,
    transport: {
      kind: 'tunnel',
      request: {
        authority,
        headers: preset.originalDstHostHeader ? [['x-envoy-original-dst-host', authority]] : [],
        target: {
          peer: { ip, port: settings.hbonePort },
          sourceIdentity: identity,
          expectedIdentities: [workload.identity],
          socket,
        },
      },
    },
  };
}

/** HTTP/2 where the port says so; HTTP/1.1 where it says that, or for an upgrade; undeclared: as the client speaks. */
export function upstreamProtocol(
  service: Service | undefined,
  servicePort: number,
  version: '1.1' | '2',
  upgrade: boolean,
): UpstreamProtocol {
  if (upgrade) return 'h1';
  switch (service?.ports.get(servicePort)?.appProtocol) {
    case 'http2':
    case 'grpc':
      return 'h2c';
    case 'http11':
      return 'h1';
    default:
      return version === '2' ? 'h2c' : 'h1';
  }
}
