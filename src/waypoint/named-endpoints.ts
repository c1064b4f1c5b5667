/**
 * Endpoints that are known by a name: one that the configuration gives, or, for a wildcard of resolution DYNAMIC_DNS, the one
 * that the request gives.
 *
 * I1: a client leads nowhere but within the wildcard: its host ends as the wildcard does and is a host name; the port is the
 *     service's.
 * I2: names that clients give are bounded; the one used longest ago makes way, and its connections with it.
 */
import { isIP } from 'node:net';
import { splitHostPort } from '../base/address.ts';
import { formatSpiffeId, parseSpiffeId, type SpiffeId } from '../base/spiffe.ts';
import type { Preset } from '../config/preset.ts';
import type { Service, Workload } from '../mesh/model.ts';
import { plainSocket } from '../net/socket-spec.ts';
import type { UpstreamEndpoint } from '../upstream/endpoint.ts';
import type { UpstreamPools } from '../upstream/pools.ts';
import type { WaypointSettings } from './settings.ts';

/** What of a waypoint is needed here. */
export interface NamingServices {
  readonly preset: Preset;
  readonly settings: WaypointSettings;
  readonly identity: SpiffeId;
  readonly pools: UpstreamPools;
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

/** Of one waypoint. */
const mostNames = 1024;

export class ClientNamedEndpoints {
  readonly #endpoints = new Map<string, UpstreamEndpoint>();

  get size(): number {
    return this.#endpoints.size;
  }

  /** `host` as `hostWithin` gives it. */
  of(services: NamingServices, service: Service, host: string, port: number): UpstreamEndpoint {
    const key = `${service.key} ${host}:${port}`;
    const known = this.#endpoints.get(key);
    if (known !== undefined) {
      // Back at the end: the order is that of use.
      this.#endpoints.delete(key);
      this.#endpoints.set(key, known);
      return known;
    }
    const [oldest] = this.#endpoints;
    if (this.#endpoints.size >= mostNames && oldest !== undefined) {
      this.#endpoints.delete(oldest[0]);
      services.pools.forget(oldest[1].workload.uid);
    }
    const workload = workloadOf(services, service, host);
    const endpoint = endpointByName(services, workload, host, port);
    this.#endpoints.set(key, endpoint);
    return endpoint;
  }
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
