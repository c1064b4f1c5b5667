/**
 * The HTTP stages of a tunnel: tokens, policies of the service, route, backend, endpoint, policies of the pod, forwarding. One
 * object per tunnel; the model and the records a request was decided on stay with it to its end (design rule 8).
 */
import type { Duplex } from 'node:stream';
import { parseSpiffeId } from '../base/spiffe.ts';
import type { Exchange, ServedConnection } from '../http/exchange.ts';
import { serveH2c } from '../http/h2c-server.ts';
import { type HeaderList, headerValue } from '../http/header-list.ts';
import { serveHttp1 } from '../http/http1-server.ts';
import { isGrpc, localReply } from '../http/local-reply.ts';
import type { L7Request } from '../policy/l7-conditions.ts';
import { chooseBackend } from '../route/backend.ts';
import { httpStatusOfGrpc } from '../route/fault.ts';
import { applyHeaderChange, changedHost } from '../route/header-change.ts';
import { matchRoute, type RouteRequest } from '../route/match-route.ts';
import type { L7Model, PortRoutes, Route, RouteBackend } from '../route/model.ts';
import { defaultRetryPolicy } from '../route/retry.ts';
import { redirectLocation, rewritePath } from '../route/rewrite.ts';
import { type EndpointAnswer, type ForwardResult, forward } from '../upstream/forward.ts';
import { authenticationsOf, TunnelAuthorizer } from './authorize.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import { chooseEndpoint, endpointAt, upstreamProtocol } from './endpoints.ts';
import { runTokenStage, type TokenStageOutcome } from './jwt/token-stage.ts';
import { type Finished, reportRequest } from './report.ts';
import { sanitised, withAdditions } from './request-headers.ts';
import { newRequestId } from './request-id.ts';
import { runStages, type StagesOutcome } from './route-stages.ts';

const denied = 'RBAC: access denied';

/** Serves HTTP on the tunnel's bytes. Takes ownership of the stream. */
export function serveHttpChain(
  services: WaypointServices,
  tunnel: Tunnel,
  stream: Duplex,
  version: '1.1' | '2',
): ServedConnection {
  const authorizer = new TunnelAuthorizer(services, tunnel);
  const handlers = {
    exchange: (exchange: Exchange) => new RequestFlow(services, tunnel, authorizer, exchange).start(),
    refused: (status: number, reason: string) =>
      services.logger.info('refused a malformed request', { status, reason, peer: tunnel.client.ip }),
  };
  return version === '2' ? serveH2c(stream, handlers) : serveHttp1(stream, handlers);
}

/** Where a request goes once policies let it pass. */
interface Target {
  readonly route: Route | undefined;
  readonly backend: RouteBackend | undefined;
}

class RequestFlow {
  readonly #services: WaypointServices;
  readonly #tunnel: Tunnel;
  readonly #authorizer: TunnelAuthorizer;
  readonly #exchange: Exchange;
  readonly #model: L7Model;
  readonly #startedMs: number;
  readonly #requestId: string;
  /** Headers, query and what is judged: as they are once tokens were dealt with. */
  #headers: HeaderList;
  #query: string;
  /** Without what may be tokens. */
  #loggedQuery: string;
  #judged: L7Request;
  #audited: readonly string[] = [];
  #route: Route | undefined;
  /** A delay was injected. */
  #delayed = false;
  #corsAllowed: ((response: HeaderList) => HeaderList) | undefined;

  constructor(services: WaypointServices, tunnel: Tunnel, authorizer: TunnelAuthorizer, exchange: Exchange) {
    const { request } = exchange;
    this.#services = services;
    this.#tunnel = tunnel;
    this.#authorizer = authorizer;
    this.#exchange = exchange;
    this.#model = services.model();
    this.#startedMs = services.clock.nowMs();
    this.#headers = sanitised(request.headers);
    this.#requestId = headerValue(this.#headers, 'x-request-id') ?? newRequestId();
    const { method, path, authority } = request;
    this.#query = request.query;
    this.#loggedQuery = request.query;
    this.#judged = { method, path, host: authority, headers: this.#headers };
  }

  start(): void {
    const authentications = authenticationsOf(this.#services, this.#tunnel, this.#model);
    if (authentications.length === 0) {
      this.#authorize();
      return;
    }
    const places = { headers: this.#headers, query: this.#query };
    runTokenStage(this.#services.authenticator, authentications, this.#exchange, places, (o) => this.#authenticated(o));
  }

  #authenticated(outcome: TokenStageOutcome): void {
    this.#loggedQuery = outcome.kind === 'left' ? '' : outcome.loggedQuery;
    if (outcome.kind === 'left') {
      this.#report(toNobody, ownResult(0, 'DC', 'downstream_remote_disconnect'));
      return;
    }
    if (outcome.kind === 'refuse') {
      this.#reply(outcome.status, outcome.body, '-', outcome.details, outcome.headers);
      return;
    }
    this.#query = outcome.query;
    this.#headers = outcome.headers;
    this.#judged = { ...this.#judged, headers: outcome.headers, claims: outcome.claims };
    this.#authorize();
  }

  #authorize(): void {
    const { verdict, audited } = this.#authorizer.service(this.#model, this.#judged);
    this.#audited = audited;
    if (verdict.kind === 'deny') {
      this.#reply(403, denied, '-', verdict.reason);
      return;
    }
    const { destination } = this.#tunnel;
    if (destination.kind === 'workload') {
      this.#forward({ route: undefined, backend: undefined });
      return;
    }
    const ports = this.#model.ports.get(`${destination.service.key}:${destination.port.servicePort}`);
    if (ports === undefined || ports.routes.length === 0) this.#forward({ route: undefined, backend: undefined });
    else this.#routed(ports);
  }

  #routed(ports: PortRoutes): void {
    const request = this.#routeRequest();
    const route = matchRoute(ports.routes, request);
    this.#route = route;
    if (route === undefined) {
      this.#reply(404, '', 'NR', 'route_not_found');
      return;
    }
    if (route.stages === undefined) this.#act(route, request);
    else runStages(route.stages, this.#exchange, this.#headers, this.#services, (o) => this.#staged(route, request, o));
  }

  #staged(route: Route, request: RouteRequest, outcome: StagesOutcome): void {
    this.#delayed = outcome.delayed;
    switch (outcome.kind) {
      case 'left':
        this.#report({ route, backend: undefined }, ownResult(0, 'DC', 'downstream_remote_disconnect'));
        return;
      case 'abort': {
        const { answer } = outcome;
        const grpc = answer.kind === 'grpc' ? answer.grpcStatus : undefined;
        const status = answer.kind === 'grpc' ? httpStatusOfGrpc(answer.grpcStatus) : answer.status;
        this.#reply(status, 'fault filter abort', 'FI', 'fault_filter_abort', [], grpc);
        return;
      }
      case 'preflight':
        this.#reply(200, '', '-', 'cors_preflight', outcome.headers);
        return;
      case 'go':
        this.#corsAllowed = outcome.allowed;
        this.#act(route, request);
    }
  }

  #act(route: Route, request: RouteRequest): void {
    const { action } = route;
    switch (action.kind) {
      case 'respond':
        this.#reply(action.status, action.body, '-', 'direct_response', this.#ownHeaders(route), action.grpcStatus);
        return;
      case 'redirect': {
        const { port } = this.#tunnel.destination.address;
        const location = redirectLocation(action.redirect, request, port, route.match?.path);
        const headers = ['location', location, ...this.#ownHeaders(route)];
        this.#reply(action.redirect.status, '', '-', 'direct_response', headers);
        return;
      }
      case 'forward': {
        const choice = chooseBackend(action.backends, this.#services.random);
        if (choice.kind === 'none') this.#reply(500, '', '-', 'no_backend', this.#withCors([]), unavailable);
        else if (choice.backend.service === undefined)
          this.#reply(500, '', 'NC', 'invalid_backend', this.#withCors([]), unavailable);
        else this.#forward({ route, backend: choice.backend });
      }
    }
  }

  #forward(target: Target): void {
    const { route, backend } = target;
    const { request } = this.#exchange;
    const rewritten =
      route?.rewritePath === undefined ? request.path : rewritePath(request.path, route.rewritePath, route.match?.path);
    const host =
      changedHost(backend?.requestHeaders) ??
      changedHost(route?.requestHeaders) ??
      route?.rewriteHost ??
      request.authority;
    const changed = applyHeaderChange(applyHeaderChange(this.#headers, route?.requestHeaders), backend?.requestHeaders);
    const clientCert = this.#services.preset.names === 'article';
    const path = `${rewritten}${this.#query}`;
    const headers = withAdditions(changed, this.#tunnel, { requestId: this.#requestId, clientCert });
    let mirroring = this.#mirroring(route, path, host, headers);
    forward(
      {
        exchange: this.#exchange,
        path,
        authority: host,
        headers,
        retry: route?.retry ?? defaultRetryPolicy,
        timeoutMs: route?.timeoutMs,
        nextEndpoint: (tried) => {
          const answer = this.#nextEndpoint(target, tried);
          if (answer.kind === 'endpoint') {
            mirroring?.begin();
            mirroring = undefined;
          }
          return answer;
        },
        responseHeaders: (headers) =>
          this.#withCors(
            applyHeaderChange(applyHeaderChange(headers, backend?.responseHeaders), route?.responseHeaders),
          ),
        replyHeaders: this.#withCors([]),
        bodyObserver: mirroring?.body,
      },
      this.#services,
      (result) => this.#report(target, result),
    );
  }

  /** Upgrades are not mirrored: nobody would take part in the conversation. */
  #mirroring(route: Route | undefined, path: string, authority: string, headers: HeaderList) {
    const mirrors = route?.stages?.mirrors;
    const { method, body, upgrade } = this.#exchange.request;
    if (mirrors === undefined || mirrors.length === 0 || upgrade !== undefined) return undefined;
    return this.#services.mirrors.draw(mirrors, {
      method,
      path,
      authority,
      headers,
      hasBody: body !== undefined,
      timeoutMs: route?.timeoutMs,
      choose: (backend) => this.#nextEndpoint({ route, backend }, nobody),
    });
  }

  #withCors(headers: HeaderList): HeaderList {
    return this.#corsAllowed === undefined ? headers : this.#corsAllowed(headers);
  }

  #nextEndpoint(target: Target, tried: ReadonlySet<string>): EndpointAnswer {
    const { destination } = this.#tunnel;
    const { request } = this.#exchange;
    const { service, port } = this.#serviceOf(target);
    if (destination.kind === 'service' && service === undefined) {
      return refused(500, '', 'NC', 'cluster_not_found');
    }
    const choice =
      service !== undefined
        ? chooseEndpoint(this.#services, this.#tunnel, service, port, tried)
        : directEndpoint(this.#services, this.#tunnel);
    if (choice.kind === 'none')
      return refused(503, 'no healthy upstream', 'UH', `no_healthy_upstream{${choice.reason}}`);
    const { endpoint } = choice;
    const { verdict, audited } = this.#authorizer.pod(endpoint, this.#model, this.#judged);
    if (audited.length > 0) this.#audited = [...this.#audited, ...audited];
    if (verdict.kind === 'deny') return refused(403, denied, '-', verdict.reason, endpoint);
    const protocol = upstreamProtocol(service, port, request.version, request.upgrade !== undefined);
    return { kind: 'endpoint', endpoint, protocol };
  }

  /** The service whose endpoints are balanced; undefined on the way straight to a pod, or when it left the mesh. */
  #serviceOf(target: Target) {
    const { destination } = this.#tunnel;
    if (destination.kind === 'workload') return { service: undefined, port: destination.address.port };
    const { backend } = target;
    if (backend?.service === undefined) return { service: destination.service, port: destination.port.servicePort };
    return { service: this.#services.mesh.service(backend.service), port: backend.port };
  }

  #routeRequest(): RouteRequest {
    const { method, authority, path } = this.#exchange.request;
    const clientNamespace = parseSpiffeId(this.#tunnel.clientIdentity)?.namespace;
    const query = this.#query;
    return { method, authority, path, query, scheme: 'http', headers: this.#headers, clientNamespace };
  }

  #ownHeaders(route: Route): HeaderList {
    return this.#withCors(applyHeaderChange([], route.responseHeaders));
  }

  /** An answer without any upstream. */
  #reply(status: number, body: string, flags: string, details: string, headers: HeaderList = [], grpc?: number): void {
    let grpcStatus: string | undefined;
    this.#exchange.onClosed((complete) => {
      this.#report(
        { route: this.#route, backend: undefined },
        {
          ...ownResult(grpcStatus === undefined ? status : 200, complete || flags !== '-' ? flags : 'DC', details),
          responseBytes: body.length,
          grpcStatus,
        },
      );
    });
    grpcStatus = localReply(this.#exchange, status, body, headers, grpc);
  }

  #report(target: Target, result: ForwardResult): void {
    const { request } = this.#exchange;
    const { service, port } = this.#serviceOf(target);
    const finished: Finished = {
      ...result,
      flags: this.#delayed ? (result.flags === '-' ? 'DI' : `DI,${result.flags}`) : result.flags,
      protocol: isGrpc(request.headers) ? 'grpc' : 'http',
      request: {
        method: request.method,
        path: `${request.path}${this.#loggedQuery}`,
        version: request.version,
        authority: request.authority,
        userAgent: headerValue(request.headers, 'user-agent'),
        forwardedFor: headerValue(request.headers, 'x-forwarded-for'),
        requestId: this.#requestId,
        route: this.#route?.name,
      },
      service,
      servicePort: port,
      startedMs: this.#startedMs,
      audited: this.#audited,
    };
    reportRequest(this.#services, this.#tunnel, finished);
  }
}

/** What GRPCRoute says to a share without a backend. */
const unavailable = 14;

const toNobody: Target = { route: undefined, backend: undefined };
const nobody: ReadonlySet<string> = new Set();

/** Of a request that no endpoint got. */
function ownResult(status: number, flags: string, details: string): ForwardResult {
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

function directEndpoint(services: WaypointServices, tunnel: Tunnel) {
  const { destination } = tunnel;
  if (destination.kind !== 'workload') return { kind: 'none', reason: 'unknown-service' } as const;
  const { workload, address } = destination;
  return { kind: 'endpoint', endpoint: endpointAt(services, workload, address.ip, address.port) } as const;
}

function refused(
  status: number,
  body: string,
  flags: string,
  details: string,
  endpoint?: EndpointOfRefusal,
): EndpointAnswer {
  return { kind: 'refused', status, body, flags, details, endpoint };
}

type EndpointOfRefusal = Extract<EndpointAnswer, { kind: 'endpoint' }>['endpoint'];
