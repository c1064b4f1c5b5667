/**
 * The L7 model of waypoints: routes, destinations and policies as immutable, pre-parsed records, compiled from
 * HTTPRoute, VirtualService, DestinationRule, AuthorizationPolicy and RequestAuthentication. Evaluation is pure (`match-route.ts`, `../policy/`).
 * Semantics: Gateway API GEP-1294 and Istio's virtual service reference.
 */
import type { Cidr } from '../base/address.ts';
import type { AppProtocol, ServiceKey } from '../mesh/model.ts';
import type { CustomAuthorizations } from './custom-authorization.ts';
import type { Destinations } from './destination.ts';
import type { Egress } from './egress.ts';
import type { AttachedExtensions } from './extension.ts';
import type { L7Policy } from './l7-policy.ts';
import { defaultMeshConfig, type MeshConfig } from './mesh-config.ts';
import type { ObjectRef } from './object-ref.ts';
import type { RequestAuthentication } from './request-authentication.ts';
import type { RouteMatch, TextMatch } from './request-match.ts';
import type { RetryPolicy } from './retry-policy.ts';
import type { SessionPersistence } from './session.ts';
import type { TelemetryModel } from './telemetry/rules.ts';
import type { TrafficProtections } from './traffic-protection.ts';
import { type BackendPolicies, noBackendPolicies } from './upstream-tls.ts';

export type { L7Condition, L7Policy, L7Rule } from './l7-policy.ts';
export type { NamedMatch, PathMatch, RouteMatch, TextMatch } from './request-match.ts';
export type { RetryPolicy };

export interface HeaderChange {
  readonly set: readonly (readonly [name: string, value: string])[];
  readonly add: readonly (readonly [name: string, value: string])[];
  readonly remove: readonly string[];
}

export interface RouteBackend {
  /** Undefined: the reference is invalid; its share is answered with `refusal`. */
  readonly service: ServiceKey | undefined;
  /** Status for an invalid reference: 500 unless said, as Gateway API asks; 503 for a VirtualService, as Istio answers. */
  readonly refusal?: number | undefined;
  readonly port: number;
  readonly weight: number;
  readonly requestHeaders: HeaderChange | undefined;
  readonly responseHeaders: HeaderChange | undefined;
  /** Of the service; one that no rule has is answered with 503. */
  readonly subset?: string | undefined;
}

export interface Redirect {
  readonly scheme: string | undefined;
  readonly host: string | undefined;
  readonly port: number | undefined;
  /** Where no port is given. Undefined: Gateway API's rule; the others are Istio's `derivePort`. */
  readonly derivePort?: 'request' | 'protocol-default' | undefined;
  readonly path: PathRewrite | undefined;
  readonly status: number;
}

export type PathRewrite =
  | { readonly kind: 'full'; readonly value: string }
  /** Replaces the matched prefix of the route. */
  | { readonly kind: 'prefix'; readonly value: string }
  /** By a linear-time engine. */
  | { readonly kind: 'regex'; readonly source: string; replace(path: string): string };

export type RouteAction =
  | { readonly kind: 'forward'; readonly backends: readonly RouteBackend[] }
  | { readonly kind: 'redirect'; readonly redirect: Redirect }
  | { readonly kind: 'respond'; readonly status: number; readonly body: string; readonly grpcStatus?: number };

/** CORS, faults and mirrors, decided in Envoy's order: fault, CORS, then the route's own action. */
export interface CorsPolicy {
  /** Any of them matches the request's `Origin`. */
  readonly allowOrigins: readonly TextMatch[];
  /** As written; `*` stands for every method. Empty: not said. */
  readonly allowMethods: readonly string[];
  readonly allowHeaders: readonly string[];
  readonly exposeHeaders: readonly string[];
  readonly allowCredentials: boolean;
  readonly maxAgeSeconds: number | undefined;
  /** A preflight of another origin is answered here, with nothing allowed; otherwise the application gets it. */
  readonly answerUnmatched: boolean;
}

export type FaultAbort =
  | { readonly kind: 'http'; readonly status: number }
  | { readonly kind: 'grpc'; readonly grpcStatus: number };

export interface FaultPolicy {
  /** Shares from 0 to 1. */
  readonly delay: { readonly delayMs: number; readonly share: number } | undefined;
  readonly abort: { readonly answer: FaultAbort; readonly share: number } | undefined;
}

export interface Mirror {
  readonly backend: RouteBackend;
  /** Share of the requests, 0 to 1. */
  readonly share: number;
}

export interface RouteStages {
  readonly fault: FaultPolicy | undefined;
  readonly cors: CorsPolicy | undefined;
  readonly mirrors: readonly Mirror[];
}

export interface Route {
  /** `namespace/object/rule/match`, unique within a port; shown in dumps and logs. */
  readonly name: string;
  readonly source: ObjectRef | undefined;
  /** As the user calls the rule it comes from. */
  readonly ruleName?: string | undefined;
  /** Undefined matches everything. One match per route: rules with several are several routes. */
  readonly match: RouteMatch | undefined;
  readonly action: RouteAction;
  readonly requestHeaders: HeaderChange | undefined;
  readonly responseHeaders: HeaderChange | undefined;
  readonly rewritePath: PathRewrite | undefined;
  readonly rewriteHost: string | undefined;
  /** Whole request, from when it goes on to the end of the response. Undefined: none. */
  readonly timeoutMs: number | undefined;
  readonly retry: RetryPolicy | undefined;
  /** What few routes ask for. */
  readonly stages?: RouteStages | undefined;
  readonly session?: SessionPersistence | undefined;
}

/** Where connections go that are not parsed as HTTP. */
export interface StreamRoute {
  /** `namespace/object/rule/match`. */
  readonly name: string;
  readonly source: ObjectRef | undefined;
  /** Server names of a TLS client, lower case, exact or with a leading `*.`; undefined: any connection. */
  readonly serverNames: readonly string[] | undefined;
  readonly sourceNamespace: string | undefined;
  readonly sourceLabels: readonly (readonly [name: string, value: string])[];
  /** Of the address the client asked for; undefined: any. */
  readonly destinations: readonly Cidr[] | undefined;
  /** By weight. An invalid one is a connection that is reset. */
  readonly backends: readonly RouteBackend[];
}

/** What routes of one origin say about one port. */
export interface RouteGroup {
  /** In order of precedence: the first that matches wins. Empty: plain forwarding to the service. */
  readonly routes: readonly Route[];
  /** Likewise for connections; where there are some and none matches, the connection is reset. Empty: the service itself. */
  readonly streams: readonly StreamRoute[];
}

/** How requests to one port of one service are routed. */
export interface PortRoutes extends RouteGroup {
  readonly service: ServiceKey;
  readonly port: number;
  readonly appProtocol: AppProtocol;
  /** Consumer routes (GEP-1426): what clients of a namespace get in place of the above. */
  readonly consumers?: ReadonlyMap<string, RouteGroup> | undefined;
}

/** Everything waypoints need beyond the mesh itself. Which waypoint serves what is in the mesh records. */
export interface L7Model {
  /** Key: `namespace/hostname:port`. A port without an entry is forwarded plainly. */
  readonly ports: ReadonlyMap<string, PortRoutes>;
  /** How services are connected to, by who asks (`destinationOf`). */
  readonly destinations: Destinations;
  /** Policies on a service (`targetRefs`). */
  readonly servicePolicies: ReadonlyMap<ServiceKey, readonly L7Policy[]>;
  /** Policies on a whole gateway, key `namespace/name`, or `namespace/name/account` where one stands for several. */
  readonly gatewayPolicies: ReadonlyMap<string, readonly L7Policy[]>;
  /** Policies that select a pod (the article's world), key workload uid. */
  readonly workloadPolicies: ReadonlyMap<string, readonly L7Policy[]>;
  /** Services that are hosts of ServiceEntries. */
  readonly egress: ReadonlyMap<ServiceKey, Egress>;
  /** TLS towards backends and what it is made of. */
  readonly backends: BackendPolicies;
  /** Rules for tokens, keyed as the policies are. */
  readonly serviceAuthentications: ReadonlyMap<ServiceKey, readonly RequestAuthentication[]>;
  readonly gatewayAuthentications: ReadonlyMap<string, readonly RequestAuthentication[]>;
  /** Undefined: nobody extends anything. */
  readonly extensions?: AttachedExtensions | undefined;
  /** Undefined: nobody limits anything. */
  readonly protections?: TrafficProtections | undefined;
  readonly customAuthorizations: CustomAuthorizations;
  readonly meshConfig: MeshConfig;
  /** Undefined: nobody said anything about logs, metrics and traces. */
  readonly telemetry?: TelemetryModel | undefined;
}

export const emptyL7Model: L7Model = {
  ports: new Map(),
  destinations: new Map(),
  servicePolicies: new Map(),
  gatewayPolicies: new Map(),
  workloadPolicies: new Map(),
  egress: new Map(),
  backends: noBackendPolicies,
  serviceAuthentications: new Map(),
  gatewayAuthentications: new Map(),
  customAuthorizations: { services: new Map(), gateways: new Map() },
  meshConfig: defaultMeshConfig,
};
