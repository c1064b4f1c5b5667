/** A request or connection that is over: what logs, metrics and traces are made of. */
import type { SocketAddress } from '../base/address.ts';
import { type HeaderList, noHeaders } from '../http/header-list.ts';
import { requestHeadBytes, responseHeadBytes } from '../http/wire-size.ts';
import type { Service } from '../mesh/model.ts';
import type { UpstreamEndpoint, UpstreamProtocol } from '../upstream/endpoint.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import { serves } from './gateway.ts';
import type { StageNames } from './names.ts';

export interface Finished {
  readonly protocol: 'http' | 'grpc' | 'tcp';
  /** Head of the request as the client sent it; undefined for TCP, and for what was refused before it was a request. */
  readonly request:
    | {
        readonly method: string;
        readonly path: string;
        readonly version: '1.0' | '1.1' | '2';
        readonly authority: string;
        readonly userAgent: string | undefined;
        readonly forwardedFor: string | undefined;
        readonly requestId: string;
        readonly route: string | undefined;
        readonly headers: HeaderList;
        /** Of path and query. */
        readonly targetLength: number;
      }
    | undefined;
  readonly service: Service | undefined;
  readonly servicePort: number;
  readonly endpoint: UpstreamEndpoint | undefined;
  readonly link: { readonly local: SocketAddress; readonly peer: SocketAddress } | undefined;
  readonly status: number;
  readonly flags: string;
  readonly details: string;
  readonly grpcStatus: string | undefined;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly startedMs: number;
  readonly failure: string | undefined;
  /** Matching AUDIT and dry-run policies. */
  readonly audited: readonly string[];
  readonly tries?: number;
  /** As the client got them. */
  readonly responseHeaders?: HeaderList | undefined;
  readonly responseTrailers?: HeaderList | undefined;
  readonly responseStartedMs?: number | undefined;
  readonly upstreamProtocol?: UpstreamProtocol | undefined;
}

/** With the head; of a TCP connection, what passed. */
export function requestWireBytes({ request, requestBytes }: Finished): number {
  if (request === undefined) return requestBytes;
  return requestBytes + requestHeadBytes(request.method, request.targetLength, request.authority, request.headers);
}

export function responseWireBytes(finished: Finished): number {
  const { request, status, responseBytes, responseHeaders = noHeaders, responseTrailers = noHeaders } = finished;
  if (request === undefined) return responseBytes;
  return responseBytes + responseHeadBytes(status, responseHeaders, responseTrailers);
}

export function clusterName(services: WaypointServices, tunnel: Tunnel, finished: Finished): string | undefined {
  const { names, mesh } = services;
  const { service, servicePort } = finished;
  if (service === undefined || tunnel.destination.kind !== 'service') return undefined;
  const own = services.own();
  if (own === undefined || !serves(mesh, own, service)) return names.foreignCluster(servicePort, service.hostname);
  const protocol = finished.protocol === 'tcp' ? 'tcp' : 'http';
  const known = ofServices.getOrInsertComputed(service, newList);
  for (const each of known) {
    if (each.port === servicePort && each.protocol === protocol && each.names === names) return each.cluster;
  }
  const cluster = names.serviceCluster(servicePort, service.hostname, protocol);
  if (known.length < keptPerService) known.push({ names, port: servicePort, protocol, cluster });
  return cluster;
}

interface KnownCluster {
  readonly names: StageNames;
  readonly port: number;
  readonly protocol: 'http' | 'tcp';
  readonly cluster: string;
}

/** The same text for the same cluster: lists of log fields are told apart by it. More are made anew each time. */
const ofServices = new WeakMap<Service, KnownCluster[]>();
const keptPerService = 32;

function newList(): KnownCluster[] {
  return [];
}
