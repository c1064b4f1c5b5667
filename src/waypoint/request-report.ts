/** From a request's record and how it ended to what is reported of it. */
import { headerValue } from '../http/header-list.ts';
import { isGrpc } from '../http/local-reply.ts';
import type { TelemetryRules } from '../route/telemetry/rules.ts';
import type { ForwardResult } from '../upstream/forward.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import type { Finished } from './finished.ts';
import { serviceOf } from './forward-request.ts';
import { reportRequest } from './report.ts';
import type { RequestRecord } from './request-record.ts';
import { RequestTelemetry, watchRequest } from './telemetry/request-telemetry.ts';

/** What is to be known of a request from its start; undefined: what is always told is enough. */
export function watchRecord(record: RequestRecord, rules: TelemetryRules | undefined): RequestTelemetry | undefined {
  const { services, tunnel, headers, requestId, startedMs, body } = record;
  const grpc = isGrpc(headers);
  if (rules === undefined && !grpc && services.telemetry.tracing === undefined) return undefined;
  return watchRequest(services, tunnel, rules, { headers, requestId, startedMs, grpc, hasBody: body !== undefined });
}

export function reportRecord(record: RequestRecord, result: ForwardResult): void {
  const { request } = record.exchange;
  const { headers } = request;
  const { service, port } = serviceOf(record, record.backend);
  // Where an extension answered, it is its answer that the client got.
  const replied = record.extensionReply;
  const finished: Finished = {
    status: replied?.status ?? result.status,
    flags: allFlags(record, result.flags),
    details: replied?.details ?? result.details,
    grpcStatus: replied?.grpcStatus ?? result.grpcStatus,
    endpoint: result.endpoint,
    link: result.link,
    tries: result.tries,
    requestBytes: result.requestBytes,
    responseBytes: result.responseBytes,
    failure: result.failure,
    responseHeaders: result.responseHeaders,
    responseTrailers: result.responseTrailers,
    responseStartedMs: result.responseStartedMs,
    upstreamProtocol: result.upstreamProtocol,
    protocol: isGrpc(headers) ? 'grpc' : 'http',
    request: {
      method: request.method,
      path: record.loggedQuery === '' ? request.path : `${request.path}${record.loggedQuery}`,
      version: request.version,
      authority: request.authority,
      userAgent: headerValue(headers, 'user-agent'),
      forwardedFor: headerValue(headers, 'x-forwarded-for'),
      requestId: record.requestId,
      route: record.route?.name,
      headers,
      targetLength: request.path.length + request.query.length,
    },
    service,
    servicePort: port,
    startedMs: record.startedMs,
    audited: record.audited,
  };
  reportRequest(record.services, record.tunnel, finished, record.telemetry);
}

/** What was no request: it is counted and logged as at Envoy, with flag `DPE`, though nothing is known of it. */
export function reportMalformed(
  services: WaypointServices,
  tunnel: Tunnel,
  rules: TelemetryRules | undefined,
  status: number,
  reason: string,
): void {
  const { destination } = tunnel;
  const start = { headers: [], requestId: '', hasBody: false, grpc: false, startedMs: services.clock.nowMs() };
  const finished: Finished = {
    ...ownResult(status, 'DPE', `http_protocol_error{${reason.replace(/\s/g, '_')}}`),
    protocol: 'http',
    request: undefined,
    service: destination.kind === 'service' ? destination.service : undefined,
    servicePort: destination.address.port,
    startedMs: start.startedMs,
    audited: [],
  };
  const watch = rules === undefined ? undefined : new RequestTelemetry(services, tunnel, rules, undefined, start);
  reportRequest(services, tunnel, finished, watch);
}

/** Of a request that no endpoint got. */
export function ownResult(status: number, flags: string, details: string): ForwardResult {
  return {
    status,
    flags,
    details,
    endpoint: undefined,
    link: undefined,
    tries: 0,
    requestBytes: 0,
    responseBytes: 0,
    grpcStatus: undefined,
    failure: undefined,
  };
}

function allFlags(record: RequestRecord, flags: string): string {
  if (record.flags.length === 0) return flags;
  const own = record.flags.join(',');
  return flags === '-' ? own : `${own},${flags}`;
}
