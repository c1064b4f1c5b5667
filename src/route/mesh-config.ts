/**
 * What Istio's mesh configuration says to waypoints: providers that policies and telemetry name, and defaults for the
 * whole mesh. Immutable, pre-parsed records (istio.io/latest/docs/reference/config/istio.mesh.v1alpha1).
 */
import type { PathNormalization } from '../http/request-target.ts';
import type { RetryPolicy } from './retry-policy.ts';

/** A service of the mesh that waypoints themselves call. Found among those that are known when it is called. */
export interface ServiceTarget {
  readonly hostname: string;
  /** Undefined: whichever service is called so; one of the waypoint's own namespace first. */
  readonly namespace: string | undefined;
  readonly port: number;
}

/** Of a header's name in lower case. */
export interface NameMatch {
  readonly kind: 'exact' | 'prefix' | 'suffix';
  readonly value: string;
}

export interface CheckBody {
  readonly maxBytes: number;
  /** A longer body is sent cut short; otherwise the request is answered with 413. */
  readonly allowPartial: boolean;
  /** gRPC: as bytes instead of as text. */
  readonly asBytes: boolean;
}

export interface ExtAuthz {
  readonly name: string;
  readonly target: ServiceTarget;
  readonly timeoutMs: number;
  readonly failOpen: boolean;
  readonly statusOnError: number;
  readonly body: CheckBody | undefined;
  /** The route is chosen by the headers as the provider left them; otherwise as they came. */
  readonly clearRouteCache: boolean;
}

export interface HttpExtAuthz extends ExtAuthz {
  readonly kind: 'ext-authz-http';
  /** Before the path of the request. Empty: none. */
  readonly pathPrefix: string;
  readonly includeRequestHeaders: readonly NameMatch[];
  readonly additionalHeaders: readonly (readonly [name: string, value: string])[];
  readonly headersToUpstreamOnAllow: readonly NameMatch[];
  /** Empty: all of the provider's answer. */
  readonly headersToDownstreamOnDeny: readonly NameMatch[];
  readonly headersToDownstreamOnAllow: readonly NameMatch[];
}

export interface GrpcExtAuthz extends ExtAuthz {
  readonly kind: 'ext-authz-grpc';
}

/** Envoy's command operators; undefined parts are the default format's. */
export interface LogFormat {
  readonly text: string | undefined;
  /** As written: texts, or maps of them. */
  readonly labels: Readonly<Record<string, unknown>> | undefined;
}

export interface HttpExport {
  readonly path: string;
  readonly timeoutMs: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

export type ExtensionProvider =
  | HttpExtAuthz
  | GrpcExtAuthz
  | {
      readonly kind: 'file-access-log';
      readonly name: string;
      /** `/dev/stdout` unless told. */
      readonly path: string;
      readonly format: LogFormat | undefined;
    }
  | {
      readonly kind: 'otel-access-log';
      readonly name: string;
      readonly target: ServiceTarget;
      readonly logName: string;
      readonly format: LogFormat | undefined;
    }
  | {
      readonly kind: 'http-als' | 'tcp-als';
      readonly name: string;
      readonly target: ServiceTarget;
      readonly logName: string;
      readonly requestHeaders: readonly string[];
      readonly responseHeaders: readonly string[];
      readonly responseTrailers: readonly string[];
    }
  | {
      readonly kind: 'opentelemetry';
      readonly name: string;
      readonly target: ServiceTarget;
      readonly maxTagLength: number | undefined;
      /** Undefined: over gRPC. */
      readonly http: HttpExport | undefined;
      /** Of gRPC: initial metadata of every call. */
      readonly metadata: readonly (readonly [name: string, value: string])[];
    }
  | {
      readonly kind: 'zipkin';
      readonly name: string;
      readonly target: ServiceTarget;
      readonly maxTagLength: number | undefined;
      readonly shortTraceIds: boolean;
      readonly path: string;
    }
  | { readonly kind: 'prometheus'; readonly name: string }
  /** Named, but it cannot be used: who relies on it for a decision refuses. */
  | { readonly kind: 'unusable'; readonly name: string; readonly reason: string };

export interface MeshConfig {
  readonly providers: ReadonlyMap<string, ExtensionProvider>;
  /** Names of providers; undefined: not said. */
  readonly defaultProviders: {
    readonly tracing: readonly string[] | undefined;
    readonly metrics: readonly string[] | undefined;
    readonly accessLogging: readonly string[] | undefined;
  };
  readonly pathNormalization: PathNormalization;
  /** Of routes that say nothing about retries; undefined: Istio's default. */
  readonly retry: RetryPolicy | undefined;
  readonly trustDomainAliases: readonly string[];
  readonly accessLog: {
    /** Undefined: not said. */
    readonly file: string | undefined;
    readonly format: string | undefined;
    readonly encoding: 'text' | 'json';
  };
  readonly enableTracing: boolean | undefined;
  /** 0 to 100; undefined: not said. */
  readonly tracingSamplingPercent: number | undefined;
}

export const defaultMeshConfig: MeshConfig = {
  providers: new Map(),
  defaultProviders: { tracing: undefined, metrics: undefined, accessLogging: undefined },
  pathNormalization: 'base',
  retry: undefined,
  trustDomainAliases: [],
  accessLog: { file: undefined, format: undefined, encoding: 'text' },
  enableTracing: undefined,
  tracingSamplingPercent: undefined,
};
