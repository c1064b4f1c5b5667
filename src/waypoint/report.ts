/**
 * What is told about a finished request or connection: metrics with reporter `waypoint` and access log lines. In the
 * article's world one request leaves three lines, from the pod stage inwards out: pod, VIP, CONNECT (R42).
 */
import { formatSocketAddress } from '../base/address.ts';
import type { TrafficFacts } from '../route/telemetry/facts.ts';
import type { TelemetryRules } from '../route/telemetry/rules.ts';
import type { AccessLogFields } from '../telemetry/traffic.ts';
import type { TrafficLabels } from '../telemetry/traffic-labels.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import { clusterName, type Finished, requestWireBytes, responseWireBytes } from './finished.ts';
import { shapedTraffic, trafficLabels } from './labels.ts';
import { endpointFields, tunnelFields } from './log-fields.ts';
import { writeAccessLogs } from './telemetry/access-logs.ts';
import { makeFacts } from './telemetry/make-facts.ts';
import { shapeOf } from './telemetry/metric-shapes.ts';
import type { RequestTelemetry } from './telemetry/request-telemetry.ts';

/** `watch`: of a request about which somebody asked more than what is always told. */
export function reportRequest(
  services: WaypointServices,
  tunnel: Tunnel,
  finished: Finished,
  watch: RequestTelemetry | undefined,
): void {
  const endedMs = services.clock.nowMs();
  const durationMs = endedMs - finished.startedMs;
  if (watch === undefined) {
    countRequest(services, trafficLabels(tunnel, finished.service, finished.endpoint), finished, durationMs);
    writeLines(services, tunnel, finished, durationMs);
    return;
  }
  let made: TrafficFacts | undefined;
  const facts = () => {
    made ??= makeFacts(services, tunnel, finished, watch.watched, endedMs);
    return made;
  };
  const { rules, trace } = watch;
  const plain = trafficLabels(tunnel, finished.service, finished.endpoint);
  const labels = shapedTraffic(plain, shapeOf(rules?.metrics, facts));
  countRequest(services, labels, finished, durationMs);
  watch.finishMessages(labels);
  writeLogs(services, tunnel, finished, durationMs, rules, facts);
  if (trace !== undefined) trace.end(facts());
}

function countRequest(services: WaypointServices, labels: TrafficLabels, finished: Finished, durationMs: number): void {
  const { protocol, status, flags, grpcStatus } = finished;
  const request = { requestProtocol: protocol, responseCode: status, responseFlags: flags, grpcStatus };
  services.traffic.request(labels, request, durationMs, requestWireBytes(finished), responseWireBytes(finished));
}

/** The logs that were configured, or the proxy's own. */
export function writeLogs(
  services: WaypointServices,
  tunnel: Tunnel,
  finished: Finished,
  durationMs: number,
  rules: TelemetryRules | undefined,
  facts: () => TrafficFacts,
): void {
  const own = () => writeLines(services, tunnel, finished, durationMs);
  const logs = rules?.accessLogs;
  if (logs === undefined) own();
  else if (logs.length > 0)
    writeAccessLogs(logs, facts(), services.telemetry.lines, services.telemetry.collectors, own);
}

/** Access log lines of a request or of a TCP connection. */
function writeLines(services: WaypointServices, tunnel: Tunnel, finished: Finished, durationMs: number): void {
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
    const stage = ofTunnel.stage(finished.protocol === 'tcp' ? 'direct-tcp' : 'direct-http', 'encap');
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
  const { request, grpcStatus, audited, failure } = finished;
  const fields: (readonly [key: string, value: string | number | undefined])[] = [];
  if (request !== undefined) fields.push(['method', request.method], ['path', request.path]);
  fields.push(
    ['protocol', protocolOf(finished)],
    ['response_code', finished.status],
    ['response_flags', finished.flags],
    ['response_code_details', finished.details],
  );
  // Few lines have these, and a field costs also where it is undefined.
  if (grpcStatus !== undefined) fields.push(['grpc_status', grpcStatus]);
  fields.push(
    ['bytes_received', finished.requestBytes],
    ['bytes_sent', finished.responseBytes],
    ['duration', Math.round(durationMs)],
  );
  if (request !== undefined) {
    const { forwardedFor, userAgent, route } = request;
    if (forwardedFor !== undefined) fields.push(['x_forwarded_for', forwardedFor]);
    if (userAgent !== undefined) fields.push(['user_agent', userAgent]);
    fields.push(['request_id', request.requestId], ['authority', request.authority]);
    if (route !== undefined) fields.push(['route_name', route]);
  }
  if (audited.length > 0) fields.push(['audit', audited.join(',')]);
  if (failure !== undefined) fields.push(['upstream_failure', failure]);
  return fields;
}

function protocolOf({ protocol, request }: Finished): string {
  if (protocol === 'tcp') return 'TCP';
  return request === undefined ? 'HTTP' : `HTTP/${request.version}`;
}
