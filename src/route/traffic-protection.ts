/**
 * What protects a service from too much: rate limits kept here or asked for at a rate limit service, concurrency limits,
 * sizes of requests. Compiled from TrafficProtection, our own kind: Istio has no API for it but EnvoyFilter, which a waypoint
 * does not take (docs/protection.md). The records are what a request is decided on; counts live in `waypoint/protection/`.
 */
import type { HeaderList } from '../http/header-list.ts';
import type { ServiceKey } from '../mesh/model.ts';
import type { ObjectRef } from './object-ref.ts';
import type { RouteMatch } from './request-match.ts';

/** Where a key of a limit, or a value of a descriptor, comes from. */
export type RequestSource =
  | { readonly kind: 'client-identity' | 'client-namespace' | 'client-ip' }
  | { readonly kind: 'service' | 'route' | 'method' | 'host' | 'path' }
  /** Lower case. Repeated values are joined by comma. */
  | { readonly kind: 'header'; readonly name: string };

/** The facts of a request that limits may ask for. Nothing in it is the client's to choose but the last five. */
export interface RequestFacts {
  /** Proven by its certificate. */
  readonly clientIdentity: string;
  readonly clientNamespace: string | undefined;
  readonly clientIp: string;
  /** `namespace/hostname`; empty on the way straight to a pod. */
  readonly service: string;
  /** Empty: none, or not chosen yet. */
  readonly route: string;
  readonly method: string;
  readonly host: string;
  /** Normalised, without query. */
  readonly path: string;
  /** With its question mark; empty without query. */
  readonly query: string;
  readonly headers: HeaderList;
}

/** Common to all limits. */
interface LimitBase {
  /** `namespace/object/limit`: in logs and metrics. */
  readonly name: string;
  /** Any of them; empty: every request. */
  readonly matches: readonly RouteMatch[];
}

/** A token bucket for each key; `burst` tokens at first and at most, `tokens` more every `intervalMs`, evenly. */
export interface LocalRateLimit extends LimitBase {
  readonly key: readonly RequestSource[];
  readonly tokens: number;
  readonly intervalMs: number;
  readonly burst: number;
  readonly maxKeys: number;
  /**
   * For a new key when `maxKeys` buckets are in use and none is full again. `share`: such keys have one bucket together.
   * `evict`: the bucket unused for longest is forgotten. `deny`: refused.
   */
  readonly whenFull: 'share' | 'evict' | 'deny';
}

export interface RateLimitDescriptor {
  readonly entries: readonly {
    readonly key: string;
    readonly value: string | RequestSource;
    /** In place of a header that is not there; without it the whole descriptor is left out. */
    readonly otherwise: string | undefined;
  }[];
  /** In place of the limit that the service has for it. */
  readonly limit: { readonly requestsPerUnit: number; readonly unit: number } | undefined;
}

/** Asked of a rate limit service (`envoy.service.ratelimit.v3`). */
export interface GlobalRateLimit extends LimitBase {
  readonly domain: string;
  readonly service: ServiceKey;
  readonly port: number;
  readonly timeoutMs: number;
  /** A request passes when no answer can be had. */
  readonly failOpen: boolean;
  readonly statusOnError: number;
  readonly hitsAddend: number;
  readonly descriptors: readonly RateLimitDescriptor[];
}

/** So many requests at a time, for each key; further ones wait for their turn, the clients among them in rotation. */
export interface ConcurrencyLimit extends LimitBase {
  readonly key: readonly RequestSource[];
  readonly maxRequests: number;
  readonly maxQueued: number;
  readonly queueTimeoutMs: number;
}

export interface RequestSizeLimit {
  readonly maxBodyBytes: number | undefined;
  /** Names and values, as received and without what belongs to one hop. */
  readonly maxHeaderBytes: number | undefined;
  readonly maxHeaders: number | undefined;
}

export interface TrafficProtection {
  readonly source: ObjectRef;
  /** Counted and logged, but not refused. */
  readonly dryRun: boolean;
  readonly size: RequestSizeLimit | undefined;
  readonly local: readonly LocalRateLimit[];
  readonly global: readonly GlobalRateLimit[];
  readonly concurrency: readonly ConcurrencyLimit[];
  /** `x-ratelimit-*` on responses (draft-ietf-httpapi-ratelimit-headers-03, as Envoy writes them). */
  readonly rateLimitHeaders: boolean;
  /** To a gRPC client whose rate is over: RESOURCE_EXHAUSTED, or UNAVAILABLE as Envoy says unless told otherwise. */
  readonly grpcStatus: 8 | 14;
}

export interface TrafficProtections {
  readonly services: ReadonlyMap<ServiceKey, readonly TrafficProtection[]>;
  readonly gateways: ReadonlyMap<string, readonly TrafficProtection[]>;
  /** Key `kind/namespace/name` of the route's object. */
  readonly routes: ReadonlyMap<string, readonly TrafficProtection[]>;
}
