/** From a request's record and how it ended to what is reported of it. */
import { headerValue } from '../http/header-list.ts';
import { isGrpc } from '../http/local-reply.ts';
import type { ForwardResult } from '../upstream/forward.ts';
import { serviceOf } from './forward-request.ts';
import { type Finished, reportRequest } from './report.ts';
import type { RequestRecord } from './request-record.ts';

export function reportRecord(record: RequestRecord, result: ForwardResult): void {
  const { request } = record.exchange;
  const { service, port } = serviceOf(record, record.backend);
  const finished: Finished = {
    ...result,
    ...asReplied(record),
    flags: allFlags(record, result.flags),
    protocol: isGrpc(request.headers) ? 'grpc' : 'http',
    request: {
      method: request.method,
      path: `${request.path}${record.loggedQuery}`,
      version: request.version,
      authority: request.authority,
      userAgent: headerValue(request.headers, 'user-agent'),
      forwardedFor: headerValue(request.headers, 'x-forwarded-for'),
      requestId: record.requestId,
      route: record.route?.name,
    },
    service,
    servicePort: port,
    startedMs: record.startedMs,
    audited: record.audited,
  };
  reportRequest(record.services, record.tunnel, finished);
}

/** Where an extension answered, it is its answer that the client got. */
function asReplied({ extensionReply }: RequestRecord): Partial<ForwardResult> {
  if (extensionReply === undefined) return {};
  const { status, details, grpcStatus } = extensionReply;
  return grpcStatus === undefined ? { status, details } : { status, details, grpcStatus };
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
