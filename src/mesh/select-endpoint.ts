/**
 * Choice of one endpoint of a service, as ztunnel does it (reference §3.5): usable endpoints, of those the nearest by the
 * service's locality preferences, of those one at random weighted by capacity. Pure; the reason says at which step the
 * last candidate was lost.
 */
import { type IpFamily, ipFamily } from '../base/address.ts';
import { pickWeighted, type Random } from '../base/random.ts';
import type { GatewayAddress, Scope, Service, Workload } from './model.ts';

export interface EndpointQuery {
  readonly service: Service;
  /** Endpoints of the service, as `MeshView.endpoints` gives them. */
  readonly endpoints: readonly Workload[];
  readonly servicePort: number;
  /** Who asks: its locality and network count. Undefined: localities do not match, its network is `network`. */
  readonly source: Workload | undefined;
  /** Network of the asker when `source` is undefined. Default: the empty one. */
  readonly network?: string;
  /** Family of the original destination: preferred when the endpoint has both. */
  readonly preferFamily: IpFamily | undefined;
  /** `waypoint`: an endpoint with an application tunnel takes any port. */
  readonly resolution: 'service' | 'waypoint';
  /** Endpoints to leave out, by uid: those a retry has tried. */
  readonly exclude?: ReadonlySet<string>;
  readonly random: Random;
}

/** In the order of the steps that drop candidates. */
export type NoEndpointReason =
  | 'unknown-service-port'
  | 'no-endpoints'
  | 'all-excluded'
  | 'all-unhealthy'
  | 'no-port-on-endpoints'
  | 'no-usable-address'
  | 'no-endpoint-in-locality'
  | 'no-capacity';

export type EndpointSelection =
  | { readonly kind: 'endpoint'; readonly workload: Workload; readonly ip: string; readonly port: number }
  /** Known by name only: resolve it, then dial. */
  | { readonly kind: 'hostname'; readonly workload: Workload; readonly hostname: string; readonly port: number }
  /** On another network: through that gateway, `port` being the one to name inside the inner tunnel. */
  | { readonly kind: 'remote'; readonly workload: Workload; readonly gateway: GatewayAddress; readonly port: number }
  /** The service passes traffic through to where it was going. */
  | { readonly kind: 'passthrough' }
  | { readonly kind: 'none'; readonly reason: NoEndpointReason };

/** A selection that has been reduced to a workload. */
export type ReachableEndpoint = Extract<EndpointSelection, { readonly workload: Workload }>;

export function selectEndpoint(query: EndpointQuery): EndpointSelection {
  const { service, endpoints, servicePort, resolution } = query;
  if (service.loadBalancing.mode === 'passthrough') return { kind: 'passthrough' };
  if (resolution === 'service' && !service.ports.has(servicePort)) return none('unknown-service-port');
  let furthest: NoEndpointReason = 'no-endpoints';
  let bestRank = 0;
  let nearest: ReachableEndpoint[] = [];
  const order = reasonOrder;
  for (const workload of endpoints) {
    const candidate = usable(workload, query);
    if (typeof candidate === 'string') {
      if (order[candidate] > order[furthest]) furthest = candidate;
      continue;
    }
    const rank = localityRank(workload, query);
    if (rank === undefined) {
      furthest = 'no-endpoint-in-locality';
      continue;
    }
    if (rank > bestRank || nearest.length === 0) {
      bestRank = rank;
      nearest = [candidate];
    } else if (rank === bestRank) {
      nearest.push(candidate);
    }
  }
  if (nearest.length === 0) return none(furthest);
  const weights = nearest.map((candidate) => candidate.workload.capacity);
  return nearest[pickWeighted(weights, query.random)] ?? none('no-capacity');
}

/** The workload's own address for a client of a family, after the service's families; undefined when it has none. */
export function chooseAddress(
  workload: Workload,
  families: Service['ipFamilies'],
  prefer: IpFamily | undefined,
): string | undefined {
  let first: string | undefined;
  for (const ip of workload.addresses) {
    const family = ipFamily(ip);
    if ((families === 'ipv4' && family !== 4) || (families === 'ipv6' && family !== 6)) continue;
    if (prefer === undefined || family === prefer) return ip;
    first ??= ip;
  }
  return first;
}

const reasonOrder: Readonly<Record<NoEndpointReason, number>> = {
  'unknown-service-port': 0,
  'no-endpoints': 1,
  'all-excluded': 2,
  'all-unhealthy': 3,
  'no-port-on-endpoints': 4,
  'no-usable-address': 5,
  'no-endpoint-in-locality': 6,
  'no-capacity': 7,
};

function none(reason: NoEndpointReason): EndpointSelection {
  return { kind: 'none', reason };
}

function usable(workload: Workload, query: EndpointQuery): ReachableEndpoint | NoEndpointReason {
  const { service } = query;
  if (query.exclude?.has(workload.uid) === true) return 'all-excluded';
  if (!workload.healthy && !service.loadBalancing.allowUnhealthy) return 'all-unhealthy';
  const port = targetPort(workload, query);
  if (port === undefined) return 'no-port-on-endpoints';
  if (workload.network !== networkOf(query)) {
    const gateway = workload.networkGateway;
    return gateway === undefined ? 'no-usable-address' : { kind: 'remote', workload, gateway, port };
  }
  const ip = chooseAddress(workload, service.ipFamilies, query.preferFamily);
  if (ip !== undefined) return { kind: 'endpoint', workload, ip, port };
  if (workload.hostname === '' || workload.addresses.length > 0) return 'no-usable-address';
  return { kind: 'hostname', workload, hostname: workload.hostname, port };
}

/** The endpoint's own mapping, then the service's, then the same port where a program behind a tunnel takes them all. */
function targetPort(workload: Workload, query: EndpointQuery): number | undefined {
  const { service, servicePort, resolution } = query;
  const own = workload.services.get(service.key)?.get(servicePort);
  if (own !== undefined && own !== 0) return own;
  const target = service.ports.get(servicePort)?.targetPort ?? 0;
  if (target !== 0) return target;
  return resolution === 'waypoint' && workload.applicationTunnel !== undefined ? servicePort : undefined;
}

function networkOf(query: EndpointQuery): string {
  return query.source?.network ?? query.network ?? '';
}

/** Undefined: not to be used. Higher is nearer. */
function localityRank(workload: Workload, query: EndpointQuery): number | undefined {
  const { preferences, mode } = query.service.loadBalancing;
  if (mode === 'any' || mode === 'passthrough') return 0;
  if (mode === 'strict') return preferences.every((scope) => sameScope(scope, workload, query)) ? 0 : undefined;
  if (preferences[0] === 'network') {
    // Of two endpoints in other networks the nearer one still wins, but any in the own network wins over both.
    const rest = leadingMatches(preferences.slice(1), workload, query);
    return sameScope('network', workload, query) ? rest + preferences.length : rest;
  }
  return leadingMatches(preferences, workload, query);
}

function leadingMatches(preferences: readonly Scope[], workload: Workload, query: EndpointQuery): number {
  const miss = preferences.findIndex((scope) => !sameScope(scope, workload, query));
  return miss < 0 ? preferences.length : miss;
}

function sameScope(scope: Scope, workload: Workload, query: EndpointQuery): boolean {
  const { source } = query;
  if (scope === 'network') return workload.network === networkOf(query);
  if (source === undefined) return false;
  switch (scope) {
    case 'region':
    case 'zone':
    case 'subzone':
      return (workload.locality?.[scope] ?? '') === (source.locality?.[scope] ?? '');
    case 'node':
      return workload.node === source.node;
    case 'cluster':
      return workload.clusterId === source.clusterId;
  }
}
