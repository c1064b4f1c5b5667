/**
 * What a DestinationRule says about connections to a service, as immutable records: which endpoints form a subset, how they
 * are balanced, how many connections and requests they may have, when they are ejected, and what is spoken to them.
 *
 * I1: nothing is parsed and nothing is merged on the request path: `policyFor` is three look-ups in maps.
 * I2: sections are the same objects as long as the object they come from has not changed.
 *
 * Semantics: Istio's destination rule reference; merging is istiod's (docs/destination-rules.md has the table).
 */
import type { ServiceKey } from '../mesh/model.ts';
import type { ObjectRef } from './object-ref.ts';

export type SimpleBalancer = 'least-request' | 'random' | 'round-robin' | 'passthrough';

/** What of a request or connection is hashed. */
export type HashKey =
  /** Lower case. */
  | { readonly kind: 'header'; readonly name: string }
  /** With `ttlMs` a client without the cookie is given one; 0: for the session. Undefined: none is made. */
  | { readonly kind: 'cookie'; readonly name: string; readonly path: string; readonly ttlMs: number | undefined }
  | { readonly kind: 'source-ip' }
  | { readonly kind: 'query'; readonly name: string };

export type HashTable =
  | { readonly kind: 'ring'; readonly minimumSize: number }
  /** `size` is a prime. */
  | { readonly kind: 'maglev'; readonly size: number };

/** New endpoints get less at first. Shares grow with (age / duration) ^ (1 / aggression). */
export interface Warmup {
  readonly durationMs: number;
  /** 0 to 100, of the full share. */
  readonly minimumPercent: number;
  readonly aggression: number;
}

/** `region/zone/subzone`; undefined matches any, as `*` and what is left out do. */
export interface LocalityPattern {
  readonly region: string | undefined;
  readonly zone: string | undefined;
  readonly subzone: string | undefined;
}

/** One of the three lists is not empty, or none. */
export interface LocalityBalancing {
  readonly enabled: boolean;
  readonly distribute: readonly {
    readonly from: LocalityPattern;
    readonly to: readonly { readonly to: LocalityPattern; readonly weight: number }[];
  }[];
  /** Regions. */
  readonly failover: readonly { readonly from: string; readonly to: string }[];
  /** Labels in order; `value` undefined: as the waypoint's own. */
  readonly failoverPriority: readonly { readonly label: string; readonly value: string | undefined }[];
}

export interface LoadBalancerPolicy {
  readonly choice:
    | { readonly kind: 'simple'; readonly balancer: SimpleBalancer }
    | { readonly kind: 'hash'; readonly key: HashKey; readonly table: HashTable };
  readonly warmup: Warmup | undefined;
  /** Undefined: as the Service's traffic distribution says. */
  readonly locality: LocalityBalancing | undefined;
}

/** Undefined is unlimited, or the proxy's own default for times. A time of 0 switches the limit off. */
export interface ConnectionPoolPolicy {
  readonly maxConnections: number | undefined;
  readonly connectTimeoutMs: number | undefined;
  readonly keepalive:
    | {
        readonly probes: number | undefined;
        readonly timeMs: number | undefined;
        readonly intervalMs: number | undefined;
      }
    | undefined;
  readonly maxConnectionDurationMs: number | undefined;
  /** Without a byte in either direction, on TCP chains. */
  readonly tcpIdleTimeoutMs: number | undefined;
  /** Requests that wait for a connection. */
  readonly maxPendingRequests: number | undefined;
  /** Requests under way. */
  readonly maxRequests: number | undefined;
  readonly maxRequestsPerConnection: number | undefined;
  /** Retries under way. */
  readonly maxRetries: number | undefined;
  /** Without a request. */
  readonly httpIdleTimeoutMs: number | undefined;
  readonly h2Upgrade: 'default' | 'never' | 'always';
  readonly useClientProtocol: boolean;
  readonly maxConcurrentStreams: number | undefined;
}

/** Counts of 0 switch the detector off. */
export interface OutlierPolicy {
  readonly consecutive5xx: number;
  readonly consecutiveGatewayErrors: number;
  /** Failures to connect and time-outs are counted apart from statuses. */
  readonly splitLocalOrigin: boolean;
  readonly consecutiveLocalOrigin: number;
  readonly intervalMs: number;
  readonly baseEjectionMs: number;
  /** 0 to 100; at least one endpoint may always be ejected. */
  readonly maxEjectionPercent: number;
  /** With fewer healthy ones than this, all are used. 0: never. */
  readonly minHealthPercent: number;
}

export type ClientTlsPolicy =
  /** No TLS of the waypoint's own: what the tunnel does to mesh endpoints stays. */
  | { readonly mode: 'disable' | 'istio-mutual' }
  | {
      readonly mode: 'simple' | 'mutual';
      /** Files. */
      readonly clientCertificate: string | undefined;
      readonly privateKey: string | undefined;
      readonly caCertificates: string | undefined;
      readonly caCrl: string | undefined;
      /** Name of a secret, in the waypoint's namespace. */
      readonly credentialName: string | undefined;
      readonly subjectAltNames: readonly string[];
      readonly sni: string | undefined;
      readonly insecureSkipVerify: boolean;
    }
  /** It asked for something that cannot be read: nothing may be sent. */
  | { readonly mode: 'invalid'; readonly reason: string };

/** Endpoints are asked how they are. Not of Istio: an annotation (docs/destination-rules.md). */
export interface HealthCheckPolicy {
  /** Answered with 200 to 299 by who is well; undefined: a connection is enough, as it is for ports without HTTP. */
  readonly path: string | undefined;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Failures in a row, after which an endpoint is not used. */
  readonly unhealthyThreshold: number;
  /** Successes in a row, after which it is again. */
  readonly healthyThreshold: number;
}

export interface RetryBudgetPolicy {
  /** Of the requests under way, 0 to 100. */
  readonly percent: number;
  readonly minRetryConcurrency: number;
}

/** TCP through a proxy of somebody else's. Not supported: connections are refused, never sent around it. */
export type TunnelPolicy =
  | { readonly protocol: 'CONNECT' | 'POST'; readonly targetHost: string; readonly targetPort: number }
  | { readonly protocol: 'invalid' };

/** In force for one port of a service, or for one of its subsets. Undefined sections: the defaults. */
export interface DestinationPolicy {
  readonly loadBalancer: LoadBalancerPolicy | undefined;
  readonly connectionPool: ConnectionPoolPolicy | undefined;
  readonly outlierDetection: OutlierPolicy | undefined;
  readonly tls: ClientTlsPolicy | undefined;
  readonly proxyProtocol: 'v1' | 'v2' | undefined;
  readonly tunnel: TunnelPolicy | undefined;
  readonly retryBudget: RetryBudgetPolicy | undefined;
}

/** What is said for all ports, and for those that have more said about them. */
export interface PortPolicies {
  readonly otherwise: DestinationPolicy;
  readonly ports: ReadonlyMap<number, DestinationPolicy>;
}

export interface Subset {
  readonly name: string;
  /** Of the workloads. */
  readonly labels: Readonly<Record<string, string>>;
  readonly policies: PortPolicies;
}

/** The merged rules of one service, as a client of one namespace sees them. */
export interface Destination {
  /** The objects it comes from, in order of precedence. */
  readonly sources: readonly ObjectRef[];
  readonly policies: PortPolicies;
  readonly subsets: ReadonlyMap<string, Subset>;
  readonly healthCheck?: HealthCheckPolicy | undefined;
}

/** Who asks decides: rules of the client's own namespace come first, and a waypoint is the client. */
export interface DestinationViews {
  /** Undefined: no rule is visible to clients of other namespaces. */
  readonly otherwise: Destination | undefined;
  readonly ofNamespace: ReadonlyMap<string, Destination>;
}

export type Destinations = ReadonlyMap<ServiceKey, DestinationViews>;

/** The rules for a service, for a waypoint of the namespace; undefined: there are none. */
export function destinationOf(
  destinations: Destinations,
  waypointNamespace: string,
  service: ServiceKey,
): Destination | undefined {
  const views = destinations.get(service);
  return views === undefined ? undefined : (views.ofNamespace.get(waypointNamespace) ?? views.otherwise);
}

/** In force for the port, or for the port of the subset. Undefined: no rule, or no such subset. */
export function policyFor(
  destination: Destination | undefined,
  port: number,
  subset: string | undefined,
): DestinationPolicy | undefined {
  const policies = subset === undefined ? destination?.policies : destination?.subsets.get(subset)?.policies;
  return policies === undefined ? undefined : (policies.ports.get(port) ?? policies.otherwise);
}

/** Whether any waypoint sees the subset. */
export function hasSubset(destinations: Destinations, service: ServiceKey, subset: string): boolean {
  const views = destinations.get(service);
  if (views === undefined) return false;
  if (views.otherwise?.subsets.has(subset) === true) return true;
  return [...views.ofNamespace.values()].some(({ subsets }) => subsets.has(subset));
}

export const emptyDestinationPolicy: DestinationPolicy = {
  loadBalancer: undefined,
  connectionPool: undefined,
  outlierDetection: undefined,
  tls: undefined,
  proxyProtocol: undefined,
  tunnel: undefined,
  retryBudget: undefined,
};
