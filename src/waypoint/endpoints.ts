/**
 * From a service and port to the endpoint of one try: whom to reach, over what, in which protocol. The choice itself is the
 * cluster's (`../upstream/balance/`), by what DestinationRules say.
 */
import { formatSocketAddress, ipFamily } from '../base/address.ts';
import type { EndpointQuery } from '../mesh/endpoint-query.ts';
import type { Service, Workload } from '../mesh/model.ts';
import { reach } from '../mesh/usable-endpoint.ts';
import { plainSocket } from '../net/socket-spec.ts';
import { type ConnectionPoolPolicy, type DestinationPolicy, destinationOf, policyFor } from '../route/destination.ts';
import type { L7Model } from '../route/model.ts';
import type { UpstreamEndpoint, UpstreamProtocol } from '../upstream/endpoint.ts';
import type { TryWatch } from '../upstream/try-watch.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import { endpointByName, hostWithin } from './named-endpoints.ts';

export type EndpointChoice =
  /** `watch`: to be told what becomes of the try. */
  | { readonly kind: 'endpoint'; readonly endpoint: UpstreamEndpoint; readonly watch: TryWatch | undefined }
  | { readonly kind: 'none'; readonly reason: string }
  /** No DestinationRule has it. */
  | { readonly kind: 'unknown-subset' };

/** Where a route leads: a port of a service, or of one of its subsets. */
export interface EndpointTarget {
  readonly model: L7Model;
  readonly service: Service;
  readonly port: number;
  readonly subset: string | undefined;
}

/** What a route and a request add to the question for an endpoint. */
export interface EndpointHint {
  /** The request's own. */
  readonly model?: L7Model;
  readonly subset?: string | undefined;
  /** Of what the policy hashes; undefined: the request has none. */
  readonly hash?: number | undefined;
  /** Of a session. */
  readonly pinnedUid?: string | undefined;
}

/** What the waypoint's DestinationRules say for the port; undefined: nothing. */
export function destinationPolicy(
  services: WaypointServices,
  { model, service, port, subset }: EndpointTarget,
): DestinationPolicy | undefined {
  if (model.destinations.size === 0) return undefined;
  return policyFor(ownDestination(services, model, service), port, subset);
}

/** `tried`: by uid; they are taken again only when there is nobody else. */
export function chooseEndpoint(
  services: WaypointServices,
  tunnel: Tunnel,
  service: Service,
  port: number,
  tried: ReadonlySet<string>,
  hint: EndpointHint = noHint,
): EndpointChoice {
  const { clusters } = services;
  const { model = services.model(), subset, hash, pinnedUid } = hint;
  const named = clusters.of(service, port, ownDestination(services, model, service), subset);
  if (named === undefined) return { kind: 'unknown-subset' };
  const { ip } = tunnel.destination.address;
  const choice = named.cluster.choose({ hash, tried, pinnedUid, destinationIp: ip });
  if (choice.kind === 'none') return choice;
  if (choice.panic) clusters.panicked();
  const { host } = choice;
  const query: EndpointQuery | undefined = named.cluster.inputs && {
    ...named.cluster.inputs.query,
    preferFamily: ipFamily(ip),
  };
  const selection = query && reach(host.workload, query);
  if (selection?.kind === 'endpoint') {
    const endpoint = endpointAt(services, selection.workload, selection.ip, selection.port);
    return { kind: 'endpoint', endpoint, watch: clusters.watch(named, host, tunnel.clientIdentity) };
  }
  if (selection?.kind === 'hostname' && selection.workload.tunnelProtocol === 'none') {
    const endpoint = endpointByName(services, selection.workload, selection.hostname, selection.port);
    return { kind: 'endpoint', endpoint, watch: clusters.watch(named, host, tunnel.clientIdentity) };
  }
  return { kind: 'none', reason: selection === undefined ? 'no-usable-address' : `unsupported-${selection.kind}` };
}

/** The endpoint that the request names, of a service that is a wildcard. */
export function dynamicEndpoint(
  services: WaypointServices,
  { clientIdentity }: Tunnel,
  service: Service,
  port: number,
  wildcard: string,
  authority: string,
): Extract<EndpointChoice, { kind: 'endpoint' }> | 'not-within' {
  const host = hostWithin(wildcard, authority);
  if (host === undefined) return 'not-within';
  const target = service.ports.get(port)?.targetPort || port;
  const endpoint = services.clientNames.of(services, service, host, target, clientIdentity);
  return { kind: 'endpoint', endpoint, watch: undefined };
}

function ownDestination(services: WaypointServices, { destinations }: L7Model, { key }: Service) {
  return destinations.size === 0 ? undefined : destinationOf(destinations, services.own()?.namespace ?? '', key);
}

const noHint: EndpointHint = {};

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

/**
 * HTTP/2 where the port or the rule says so; HTTP/1.1 where the port says that; undeclared, or where the
 * rule wants it: as the client speaks.
 */
export function upstreamProtocol(
  service: Service | undefined,
  servicePort: number,
  version: '1.0' | '1.1' | '2',
  pool?: ConnectionPoolPolicy,
): UpstreamProtocol {
  if (pool?.useClientProtocol === true) return version === '2' ? 'h2c' : 'h1';
  if (pool?.h2Upgrade === 'always') return 'h2c';
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
