/**
 * Endpoints that are known by a name: one that the configuration gives, or, for a wildcard of resolution DYNAMIC_DNS, the one
 * that the request gives.
 *
 * I1: a client leads nowhere but within the wildcard: its host ends as the wildcard does and is a host name; the port is the
 *     service's.
 * I2: names that clients give are bounded; of the client that uses most of them, the one used longest ago makes way, and its
 *     connections with it unless others use them. No client can push out what another one uses.
 */
import { isIP } from 'node:net';
import { splitHostPort } from '../base/address.ts';
import { FairCache } from '../base/fair-cache.ts';
import { formatSpiffeId, parseSpiffeId, type SpiffeId } from '../base/spiffe.ts';
import type { Preset } from '../config/preset.ts';
import type { Service, Workload } from '../mesh/model.ts';
import { plainSocket } from '../net/socket-spec.ts';
import type { UpstreamEndpoint } from '../upstream/endpoint.ts';
import type { WaypointSettings } from './settings.ts';

/** What of a waypoint is needed here. */
export interface NamingServices {
  readonly preset: Preset;
  readonly settings: WaypointSettings;
  readonly identity: SpiffeId;
}

const kept = new WeakMap<Workload, Map<string, UpstreamEndpoint>>();

/** The same object as long as the record stands. */
export function endpointByName(
  { preset }: NamingServices,
  workload: Workload,
  hostname: string,
  port: number,
): UpstreamEndpoint {
  return kept.getOrInsertComputed(workload, newMap).getOrInsertComputed(`${hostname}:${port}`, () => ({
    workload,
    address: { ip: hostname, port },
    transport: {
      kind: 'name',
      hostname,
      everywhere: true,
      socket: { ...plainSocket, connectTimeoutMs: preset.connectTimeoutMs },
    },
  }));
}

function newMap(): Map<string, UpstreamEndpoint> {
  return new Map();
}

const label = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;

/** The host an authority or SNI names within the wildcard, in lower case; undefined: it is another, or none. */
export function hostWithin(wildcard: string, authority: string): string | undefined {
  const named = splitHostPort(authority)?.host ?? authority;
  const host = named.toLowerCase().replace(/\.$/, '');
  if (host.length > 253 || isIP(host) !== 0) return undefined;
  if (!wildcard.startsWith('*.')) return host === wildcard ? host : undefined;
  const suffix = wildcard.slice(1);
  if (!host.endsWith(suffix) || host.length === suffix.length) return undefined;
  return host.split('.').every((part) => label.test(part)) ? host : undefined;
}

/** Of one waypoint: pairs of a client and a name that it uses. */
export const mostClientNames = 4096;

export interface ClientNamedEndpointsOptions {
  /** No endpoint of that workload is left. */
  readonly onWorkloadGone: (uid: string) => void;
  /** No endpoint of that name is left. */
  readonly onHostGone: (host: string) => void;
  readonly limit?: number;
}

export class ClientNamedEndpoints {
  readonly #endpoints: FairCache<UpstreamEndpoint>;
  /** How many endpoints each workload and each name has. */
  readonly #workloads = new Map<string, number>();
  readonly #hosts = new Map<string, number>();

  constructor({ onWorkloadGone, onHostGone, limit = mostClientNames }: ClientNamedEndpointsOptions) {
    this.#endpoints = new FairCache(limit, ({ workload: { uid, hostname } }) => {
      if (isLast(this.#workloads, uid)) onWorkloadGone(uid);
      if (isLast(this.#hosts, hostname)) onHostGone(hostname);
    });
  }

  get size(): number {
    return this.#endpoints.size;
  }

  /** Some client uses the name. */
  has(host: string): boolean {
    return this.#hosts.has(host);
  }

  /** `host` as `hostWithin` gives it. `client`: who named it. */
  of(services: NamingServices, service: Service, host: string, port: number, client: string): UpstreamEndpoint {
    return this.#endpoints.use(`${service.key} ${host}:${port}`, client, () => {
      const workload = workloadOf(services, service, host);
      countOne(this.#workloads, workload.uid);
      countOne(this.#hosts, host);
      return endpointByName(services, workload, host, port);
    });
  }
}

function countOne(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function isLast(counts: Map<string, number>, key: string): boolean {
  const left = (counts.get(key) ?? 1) - 1;
  if (left > 0) counts.set(key, left);
  else counts.delete(key);
  return left <= 0;
}

/** Something that no record stands for. */
function workloadOf({ identity, settings }: NamingServices, service: Service, host: string): Workload {
  const { namespace } = service;
  const trustDomain = parseSpiffeId(identity)?.trustDomain ?? '';
  const serviceAccount = 'default';
  return {
    uid: `//ServiceEntry/${namespace}/${service.name}/${host}`,
    name: host,
    namespace,
    network: settings.network,
    addresses: [],
    hostname: host,
    trustDomain,
    serviceAccount,
    identity: formatSpiffeId({ trustDomain, namespace, serviceAccount }),
    tunnelProtocol: 'none',
    nativeTunnel: false,
    networkMode: 'host',
    node: '',
    clusterId: '',
    canonicalName: service.hostname,
    canonicalRevision: 'latest',
    workloadType: 'deployment',
    workloadName: service.hostname,
    locality: undefined,
    capacity: 1,
    healthy: true,
    services: new Map(),
    authorizationPolicies: [],
    waypoint: undefined,
    networkGateway: undefined,
    applicationTunnel: undefined,
  };
}
