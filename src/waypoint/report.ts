/**
 * What is told about a finished request or connection: metrics with reporter `waypoint` and access log lines. In the
 * article's world one request leaves three lines, from the pod stage inwards out: pod, VIP, CONNECT (R42).
 */
import { formatSocketAddress, type SocketAddress } from '../base/address.ts';
import type { Service } from '../mesh/model.ts';
import type { AccessLogFields } from '../telemetry/traffic.ts';
import type { UpstreamEndpoint } from '../upstream/endpoint.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import { isOwn } from './gateway.ts';
import { trafficLabels } from './labels.ts';

export interface Finished {
  readonly protocol: 'http' | 'grpc' | 'tcp';
  /** Head of the request as the client sent it; undefined for TCP. */
  readonly request:
    | {
        readonly method: string;
        readonly path: string;
        readonly version: '1.1' | '2';
        readonly authority: string;
        readonly userAgent: string | undefined;
        readonly forwardedFor: string | undefined;
        readonly requestId: string;
        readonly route: string | undefined;
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
}

export function reportRequest(services: WaypointServices, tunnel: Tunnel, finished: Finished): void {
  const durationMs = services.clock.nowMs() - finished.startedMs;
  services.traffic.request(
    trafficLabels(tunnel, finished.service, finished.endpoint),
    {
      requestProtocol: finished.protocol,
      responseCode: finished.status,
      responseFlags: finished.flags,
      grpcStatus: finished.grpcStatus,
    },
    durationMs,
    finished.requestBytes,
    finished.responseBytes,
  );
  writeLines(services, tunnel, finished, durationMs);
}

/** Access log lines of a request or of a TCP connection. */
export function writeLines(services: WaypointServices, tunnel: Tunnel, finished: Finished, durationMs: number): void {
  const { names, accessLog } = services;
  const { endpoint } = finished;
  const pod = endpoint === undefined ? undefined : names.pod(endpoint.address.port, endpoint.address.ip);
  const target = endpoint === undefined ? undefined : formatSocketAddress(endpoint.address);
  const originate = endpoint?.transport.kind === 'tunnel' ? `envoy://${names.originate}/${target}` : target;
  const cluster = clusterName(services, tunnel, finished);
  const common = commonFields(tunnel, finished, durationMs);
  const destination = formatSocketAddress(tunnel.destination.address);
  if (pod !== undefined) {
    accessLog.write('complete', [
      ['stage', pod.listener],
      ...common,
      ['upstream_host', originate],
      ['upstream_cluster', pod.cluster],
      ['downstream_local_address', target],
      ['downstream_remote_address', formatSocketAddress(tunnel.client)],
    ]);
  }
  if (tunnel.destination.kind === 'service') {
    const entry = names.serviceEntry(tunnel.destination.port.servicePort, tunnel.destination.service.hostname);
    accessLog.write('complete', [
      ['stage', entry.listener],
      ...common,
      ['upstream_host', pod === undefined || target === undefined ? originate : `envoy://${pod.listener}/${target}`],
      ['upstream_cluster', cluster],
      ['downstream_local_address', destination],
      ['downstream_remote_address', formatSocketAddress(tunnel.client)],
    ]);
  } else if (pod === undefined) {
    accessLog.write('complete', [
      ['stage', finished.request === undefined ? 'direct-tcp' : 'direct-http'],
      ...common,
      ['upstream_host', originate],
      ['upstream_cluster', 'encap'],
      ['downstream_local_address', destination],
      ['downstream_remote_address', formatSocketAddress(tunnel.client)],
    ]);
  }
  if (names.pod(0, '') === undefined) return;
  accessLog.write('complete', [
    ['stage', names.terminate],
    ['method', 'CONNECT'],
    ['authority', tunnel.authority],
    ['response_code', 200],
    ['request_id', finished.request?.requestId],
    ['source_principal', tunnel.clientIdentity],
    ['upstream_cluster', connectCluster(services, tunnel)],
    ['upstream_host', finished.link === undefined ? undefined : formatSocketAddress(finished.link.peer)],
    ['upstream_local_address', finished.link === undefined ? undefined : formatSocketAddress(finished.link.local)],
    ['downstream_local_address', formatSocketAddress(tunnel.local)],
    ['downstream_remote_address', formatSocketAddress(tunnel.client)],
  ]);
}

function commonFields(tunnel: Tunnel, finished: Finished, durationMs: number): AccessLogFields {
  const { request } = finished;
  return [
    ['method', request?.method],
    ['path', request?.path],
    ['protocol', request === undefined ? 'TCP' : request.version === '2' ? 'HTTP/2' : 'HTTP/1.1'],
    ['response_code', finished.status],
    ['response_flags', finished.flags],
    ['response_code_details', finished.details],
    ['grpc_status', finished.grpcStatus],
    ['bytes_received', finished.requestBytes],
    ['bytes_sent', finished.responseBytes],
    ['duration', Math.round(durationMs)],
    ['x_forwarded_for', request?.forwardedFor],
    ['user_agent', request?.userAgent],
    ['request_id', request?.requestId],
    ['authority', request?.authority],
    ['route_name', request?.route],
    ['source_principal', tunnel.clientIdentity],
    ['destination_principal', finished.endpoint?.workload.identity],
    ['audit', finished.audited.length === 0 ? undefined : finished.audited.join(',')],
    ['upstream_failure', finished.failure],
  ];
}

function clusterName(services: WaypointServices, tunnel: Tunnel, finished: Finished): string | undefined {
  const { names, mesh } = services;
  const { service, servicePort } = finished;
  if (service === undefined || tunnel.destination.kind !== 'service') return undefined;
  const own = services.own();
  if (own === undefined || !isOwn(mesh, own, service.waypoint))
    return names.foreignCluster(servicePort, service.hostname);
  return names.serviceCluster(servicePort, service.hostname, finished.request === undefined ? 'tcp' : 'http');
}

function connectCluster(services: WaypointServices, tunnel: Tunnel): string {
  const { destination } = tunnel;
  const { names } = services;
  if (destination.kind === 'service')
    return names.serviceEntry(destination.address.port, destination.service.hostname).cluster;
  const { ip, port } = destination.address;
  return names.pod(port, ip)?.entry ?? names.serviceEntry(port, ip).cluster;
}
