/**
 * Forwarding of a request that all stages let pass: what is sent by its route and backend, to which endpoint, and what is
 * mirrored. Every try's endpoint is authorized anew: the pod stage.
 */
import { grpcTimeoutMs } from '../http/grpc-timeout.ts';
import { headerValue } from '../http/header-list.ts';
import { isGrpc } from '../http/local-reply.ts';
import { applyHeaderChange, changedHost } from '../route/header-change.ts';
import type { RouteBackend } from '../route/model.ts';
import { defaultRetryPolicy } from '../route/retry.ts';
import { rewritePath } from '../route/rewrite.ts';
import type { UpstreamEndpoint } from '../upstream/endpoint.ts';
import {
  type EndpointAnswer,
  type ForwardPlan,
  type ForwardResult,
  forward,
  type RunningForward,
} from '../upstream/forward.ts';
import { affinityOf } from './affinity.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import { chooseEndpoint, destinationPolicy, dynamicEndpoint, endpointAt, upstreamProtocol } from './endpoints.ts';
import { judgePod, rewrittenRequest } from './judge-pod.ts';
import { profiled } from './profiled-endpoint.ts';
import { withAdditions } from './request-headers.ts';
import type { RequestRecord } from './request-record.ts';
import { plainSession, withSession } from './sessions.ts';
import { deniedBody } from './stages/policies.ts';
import type { Upstream } from './upstream-profiles.ts';

/** `done` comes once, when the exchange is over. */
export function forwardRequest(record: RequestRecord, done: (result: ForwardResult) => void): RunningForward {
  const { services, tunnel, route, backend, exchange } = record;
  const rewritten =
    route?.rewritePath === undefined ? record.path : rewritePath(record.path, route.rewritePath, route.match?.path);
  const authority =
    changedHost(backend?.requestHeaders) ??
    changedHost(route?.requestHeaders) ??
    route?.rewriteHost ??
    record.authority;
  const changed = applyHeaderChange(applyHeaderChange(record.headers, route?.requestHeaders), backend?.requestHeaders);
  record.rewritten = rewrittenRequest(record, { path: rewritten, authority, headers: changed });
  const clientCert = services.preset.names === 'article' || services.own()?.tellsIdentity === true;
  const { clientAddressHeaders } = services.settings;
  const path = `${rewritten}${record.query}`;
  const added = withAdditions(changed, tunnel, { requestId: record.requestId, clientCert, clientAddressHeaders });
  const { telemetry } = record;
  const headers = telemetry === undefined ? added : telemetry.forwarding(path, authority, added);
  let mirroring = mirror(record, { path, authority, headers });
  const upstream = upstreamOf(record, backend);
  if (route === undefined && record.model.backends.sessions.size > 0) {
    const { service, port } = serviceOf(record, undefined);
    if (service !== undefined) record.session = plainSession(record, service.key, port);
  }
  const { session } = record;
  const deadline = deadlineOf(record);
  let chosenUid: string | undefined;
  return forward(
    {
      exchange,
      path,
      authority,
      headers,
      body: record.body,
      retry: route?.retry ?? record.model.meshConfig.retry ?? defaultRetryPolicy,
      timeoutMs: deadline.timeoutMs,
      timeoutGrpcStatus: deadline.timeoutGrpcStatus,
      circuit: upstream?.circuit,
      nextEndpoint: (tried) => {
        const answer = nextEndpoint(record, backend, authority, route?.retry?.mayRepeatHosts === true ? nobody : tried);
        if (answer.kind === 'endpoint') {
          chosenUid = answer.endpoint.workload.uid;
          record.endpoint = answer.endpoint;
          mirroring?.begin();
          mirroring = undefined;
          telemetry?.chosen(serviceOf(record, backend).service, answer.endpoint);
        }
        return answer;
      },
      responseHeaders: (headers, status) => {
        let kept = headers;
        if (session !== undefined && chosenUid !== undefined) {
          const { service, port } = serviceOf(record, backend);
          if (service !== undefined) {
            kept = withSession(record, session, { service: service.key, port, uid: chosenUid }, headers);
          }
        }
        const changed = applyHeaderChange(applyHeaderChange(kept, backend?.responseHeaders), route?.responseHeaders);
        return record.changedResponse(changed, status);
      },
      replyHeaders: (status) => record.changedResponse([], status),
      bodyObserver: telemetry === undefined ? mirroring?.body : telemetry.bodyObserver(mirroring?.body),
      responseObserver: telemetry?.responseObserver,
    },
    services,
    done,
  );
}

/** The route's, or the client's own where that is shorter: an answer after it is of no use to anybody. */
function deadlineOf({ route, headers, exchange }: RequestRecord): Pick<ForwardPlan, 'timeoutMs' | 'timeoutGrpcStatus'> {
  const told = headerValue(headers, 'grpc-timeout');
  const timeoutMs = route?.timeoutMs;
  if (told === undefined || !isGrpc(exchange.request.headers)) return { timeoutMs };
  const own = grpcTimeoutMs(told);
  if (own === undefined || (timeoutMs !== undefined && timeoutMs <= own)) return { timeoutMs };
  return { timeoutMs: own, timeoutGrpcStatus: deadlineExceeded };
}

const deadlineExceeded = 4;

/** The service whose endpoints are balanced; undefined on the way straight to a pod, or when it left the mesh. */
export function serviceOf({ services, tunnel }: RequestRecord, backend: RouteBackend | undefined) {
  const { destination } = tunnel;
  if (destination.kind === 'workload') return { service: undefined, port: destination.address.port };
  if (backend?.service === undefined) return { service: destination.service, port: destination.port.servicePort };
  return { service: services.mesh.service(backend.service), port: backend.port };
}

/** What is spoken to the service's endpoints; undefined on the way straight to a pod. */
function upstreamOf(record: RequestRecord, backend: RouteBackend | undefined): Upstream | undefined {
  const { services, model } = record;
  const { service, port } = serviceOf(record, backend);
  if (service === undefined) return undefined;
  return services.upstreams.of(model, services.own()?.namespace ?? '', service, port, backend?.subset);
}

/** Upgrades are not mirrored: nobody would take part in the conversation. */
function mirror(record: RequestRecord, sent: Pick<Parameters<typeof forward>[0], 'path' | 'authority' | 'headers'>) {
  const mirrors = record.route?.stages?.mirrors;
  if (mirrors === undefined || mirrors.length === 0 || record.exchange.request.upgrade !== undefined) return undefined;
  return record.services.mirrors.draw(mirrors, {
    ...sent,
    method: record.method,
    hasBody: record.body !== undefined,
    timeoutMs: record.route?.timeoutMs,
    choose: (backend) => nextEndpoint(record, backend, sent.authority, nobody),
  });
}

function nextEndpoint(
  record: RequestRecord,
  backend: RouteBackend | undefined,
  authority: string,
  tried: ReadonlySet<string>,
): EndpointAnswer {
  const { services, tunnel, model } = record;
  const { service, port } = serviceOf(record, backend);
  if (tunnel.destination.kind === 'service' && service === undefined) {
    return refused(500, '', 'NC', 'cluster_not_found');
  }
  const subset = backend?.subset;
  const wildcard = service === undefined ? undefined : model.egress.get(service.key);
  const named =
    service !== undefined && wildcard?.resolution === 'dynamic-dns'
      ? dynamicEndpoint(services, tunnel, service, port, wildcard.host, authority)
      : undefined;
  if (named === 'not-within') return refused(404, '', 'NR', 'host_not_within_wildcard');
  const policy = service === undefined ? undefined : destinationPolicy(services, { model, service, port, subset });
  const choice =
    named !== undefined
      ? named
      : service !== undefined
        ? chooseEndpoint(services, tunnel, service, port, tried, {
            model,
            subset,
            hash: affinityOf(record, policy, backend === record.backend),
            pinnedUid: backend === record.backend ? record.session?.found?.uid : undefined,
          })
        : directEndpoint(services, tunnel);
  if (policy?.tls?.mode === 'invalid') return refused(503, '', 'UF', 'destination_rule_tls_invalid');
  if (choice.kind === 'unknown-subset') return refused(503, '', 'NC', 'cluster_not_found');
  if (choice.kind === 'none') return refused(503, 'no healthy upstream', 'UH', `no_healthy_upstream{${choice.reason}}`);
  const upstream = upstreamOf(record, backend);
  const endpoint = profiled(choice.endpoint, upstream?.profile, tunnel);
  const { verdict, audited } = judgePod(record, endpoint, model);
  record.audit(audited);
  if (verdict.kind === 'deny') return refused(403, deniedBody, '-', verdict.reason, endpoint);
  const changed = record.judgedOn === model ? verdict : judgePod(record, endpoint, record.judgedOn).verdict;
  if (changed.kind === 'deny') return refused(403, deniedBody, '-', changed.reason, endpoint);
  const protocol = upstreamProtocol(service, port, record.exchange.request.version, upstream?.pool);
  return { kind: 'endpoint', endpoint, protocol, watch: choice.watch };
}

function directEndpoint(services: WaypointServices, { destination }: Tunnel) {
  if (destination.kind !== 'workload') return { kind: 'none', reason: 'unknown-service' } as const;
  const { workload, address } = destination;
  const endpoint = endpointAt(services, workload, address.ip, address.port);
  return { kind: 'endpoint', endpoint, watch: undefined } as const;
}

function refused(
  status: number,
  body: string,
  flags: string,
  details: string,
  endpoint?: UpstreamEndpoint,
): EndpointAnswer {
  return { kind: 'refused', status, body, flags, details, endpoint };
}

const nobody: ReadonlySet<string> = new Set();
