/**
 * What telemetry may ask about one request or TCP connection: access log formats, filters, tags and span attributes all read
 * this. Made once the traffic is over, and only where somebody asks; values are those of Envoy's attributes
 * (https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes).
 */
import type { SocketAddress } from '../../base/address.ts';
import type { Service, Workload } from '../../mesh/model.ts';

/** A list of headers, as it is asked. */
export interface HeaderFacts {
  /** Values of a header with commas between; the name in lower case. Undefined: there is none. */
  get(name: string): string | undefined;
  /** The first of them. */
  first(name: string): string | undefined;
  /** Of all names and values. */
  readonly bytes: number;
}

export interface RequestFacts {
  readonly method: string;
  /** As it was forwarded, with its query; what may be a token is not in it. */
  readonly path: string;
  /** As the client sent it, when that is another one. */
  readonly originalPath: string | undefined;
  readonly authority: string;
  readonly version: '1.0' | '1.1' | '2';
  /** As they were forwarded. */
  readonly headers: HeaderFacts;
  readonly requestId: string;
  readonly grpc: boolean;
}

/** Milliseconds since the start; undefined for what did not happen. */
export interface Timings {
  /** The last byte of the request came. */
  readonly requestEndMs: number | undefined;
  /** The upstream's head came. */
  readonly responseStartMs: number | undefined;
  readonly endMs: number;
}

export interface UpstreamFacts {
  /** As Envoy's waypoint names it: `envoy://connect_originate/10.9.0.7:9080`, or the address alone. */
  readonly host: string;
  readonly address: SocketAddress;
  readonly workload: Workload;
  /** Of the connection below. */
  readonly remote: SocketAddress | undefined;
  readonly local: SocketAddress | undefined;
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2' | undefined;
}

export interface TrafficFacts {
  readonly startWallMs: number;
  readonly timings: Timings;
  /** A connection whose bytes were not looked at. */
  readonly tcp: boolean;
  /** Undefined for a TCP connection, and for what was no request. */
  readonly request: RequestFacts | undefined;
  /** 0: none was sent. */
  readonly status: number;
  readonly responseHeaders: HeaderFacts;
  readonly responseTrailers: HeaderFacts;
  readonly grpcStatus: string | undefined;
  /** Envoy's short flags with commas; `-` for none. */
  readonly flags: string;
  readonly details: string | undefined;
  /** Of bodies, or of the TCP connection. */
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** With heads and framing. */
  readonly requestWireBytes: number;
  readonly responseWireBytes: number;
  readonly failure: string | undefined;
  readonly tries: number;
  readonly route: string | undefined;
  readonly audited: readonly string[];
  readonly cluster: string | undefined;
  readonly service: Service | undefined;
  readonly client: SocketAddress;
  readonly clientIdentity: string;
  readonly clientWorkload: Workload | undefined;
  /** What the client asked for: address and port of the service, or of a pod. */
  readonly destination: SocketAddress;
  /** Where the tunnel ends. */
  readonly local: SocketAddress;
  readonly localIdentity: string;
  readonly serverName: string | undefined;
  readonly upstream: UpstreamFacts | undefined;
  readonly traceId: string | undefined;
  readonly spanId: string | undefined;
}
