/**
 * What is told about a finished request or connection: metrics with reporter `waypoint` and access log lines. In the
 * article's world one request leaves three lines, from the pod stage inwards out: pod, VIP, CONNECT (R42).
 */
import { formatSocketAddress, type SocketAddress } from '../base/address.ts';
import type { Service } from '../mesh/model.ts';
import type { AccessLogFields } from '../telemetry/traffic.ts';
import type { UpstreamEndpoint } from '../upstream/endpoint.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import { serves } from './gateway.ts';
import { trafficLabels } from './labels.ts';
import { endpointFields, tunnelFields } from './log-fields.ts';

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
  const { endpoint, link, request } = finished;
  const { destination } = tunnel;
  const ofTunnel = tunnelFields(services, tunnel);
  const ofEndpoint = endpoint === undefined ? undefined : endpointFields(services, endpoint);
  const { client } = ofTunnel;
  const originate = ofEndpoint?.originate ?? nothing;
  const fields = requestFields(finished, durationMs);
  if (names.podStage && ofEndpoint !== undefined) {
    accessLog.write('complete', fields, ofEndpoint.pod, originate, client);
  }
  if (destination.kind === 'service') {
    const entry = names.serviceEntry(destination.port.servicePort, destination.service.hostname);
    const stage = ofTunnel.stage(entry.listener, clusterName(services, tunnel, finished));
    const next = names.podStage ? (ofEndpoint?.podStage ?? nothing) : originate;
    accessLog.write('complete', fields, stage, next, client);
  } else if (!names.podStage || ofEndpoint === undefined) {
    const stage = ofTunnel.stage(request === undefined ? 'direct-tcp' : 'direct-http', 'encap');
    accessLog.write('complete', fields, stage, originate, client);
  }
  if (!names.podStage) return;
  const ofRequest: AccessLogFields = [
    ['request_id', request?.requestId],
    ['upstream_host', link === undefined ? undefined : formatSocketAddress(link.peer)],
    ['upstream_local_address', link === undefined ? undefined : formatSocketAddress(link.local)],
  ];
  accessLog.write('complete', ofRequest, ofTunnel.connect);
}

const nothing: AccessLogFields = [];

function requestFields(finished: Finished, durationMs: number): AccessLogFields {
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
    ['audit', finished.audited.length === 0 ? undefined : finished.audited.join(',')],
    ['upstream_failure', finished.failure],
  ];
}

function clusterName(services: WaypointServices, tunnel: Tunnel, finished: Finished): string | undefined {
  const { names, mesh } = services;
  const { service, servicePort } = finished;
  if (service === undefined || tunnel.destination.kind !== 'service') return undefined;
  const own = services.own();
  if (own === undefined || !serves(mesh, own, service)) return names.foreignCluster(servicePort, service.hostname);
  return names.serviceCluster(servicePort, service.hostname, finished.request === undefined ? 'tcp' : 'http');
}
