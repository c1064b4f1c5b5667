/**
 * What is spoken to the endpoints of one destination beyond the mesh's own tunnel, and how much of it: from DestinationRule,
 * BackendTLSPolicy and ServiceEntry. Immutable; equal keys mean that connections may be shared.
 */
import type { TcpOptions } from '../net/socket-spec.ts';
import type { Circuit } from './circuit.ts';
import type { AddressOrigin } from './egress-guard.ts';
import type { UpstreamTls } from './upstream-tls.ts';

export interface UpstreamProfile {
  /** Says everything that a connection is made by. */
  readonly key: string;
  readonly circuit: Circuit;
  /** Whether the circuit has limits on connections or on those who wait for one. */
  readonly queues: boolean;
  /** To the endpoint, whatever the way leads through. Undefined: the preset's. */
  readonly connectTimeoutMs: number | undefined;
  /** Of sockets of our own; what runs in a tunnel shares the tunnel's. */
  readonly tcp: TcpOptions | undefined;
  readonly tls: UpstreamTls | undefined;
  readonly proxyProtocol: 'v1' | 'v2' | undefined;
  /** The endpoints are a ServiceEntry's; undefined: what each is says who chose its address. */
  readonly origin: AddressOrigin | undefined;
  /** Connections to a name are spread over all its addresses. */
  readonly everywhere: boolean;
  readonly connections: ConnectionLimits;
  /** Why nothing may be sent there; undefined: it may. */
  readonly refusal: string | undefined;
}

/** Undefined: the pool's own. */
export interface ConnectionLimits {
  readonly maxPerEndpoint: number | undefined;
  readonly maxRequests: number | undefined;
  readonly maxDurationMs: number | undefined;
  /** Without a request. Infinity: never closed for that. */
  readonly idleMs: number | undefined;
  readonly maxStreams: number | undefined;
}

export const plainConnections: ConnectionLimits = {
  maxPerEndpoint: undefined,
  maxRequests: undefined,
  maxDurationMs: undefined,
  idleMs: undefined,
  maxStreams: undefined,
};
