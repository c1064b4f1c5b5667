/**
 * The HTTP stages of a tunnel: those before routing, the route, those after it, then the route's action. What a request is
 * on its way is `request-record.ts`; the stages and their order are `stages/list.ts`.
 *
 * I1: a request is reported exactly once, however it ends.
 */
import type { Duplex } from 'node:stream';
import type { ConnectionHandlers, Exchange, ServedConnection } from '../http/exchange.ts';
import { withoutGrpcWeb } from '../http/grpc-web-exchange.ts';
import { serveH2c } from '../http/h2c-server.ts';
import type { HeaderList } from '../http/header-list.ts';
import { serveHttp1 } from '../http/http1-server.ts';
import { localReply } from '../http/local-reply.ts';
import type { PathNormalization } from '../http/request-target.ts';
import { chooseBackend } from '../route/backend.ts';
import { applyHeaderChange } from '../route/header-change.ts';
import { matchRoute, type RouteRequest } from '../route/match-route.ts';
import type { Route } from '../route/model.ts';
import { redirectLocation } from '../route/rewrite.ts';
import type { RunningForward } from '../upstream/forward.ts';
import { TunnelAuthorizer } from './authorize.ts';
import { clientFacts } from './client-facts.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import { forwardRequest } from './forward-request.ts';
import { judgeAgain } from './judge-again.ts';
import { letGo } from './let-go.ts';
import type { OpenRequest, Refusal } from './open-requests.ts';
import { RequestRecord } from './request-record.ts';
import { ownResult, reportMalformed, reportRecord, watchRecord } from './request-report.ts';
import { findSession, newSession } from './sessions.ts';
import { TunnelStages } from './stages/list.ts';
import type { Stage, StageAnswer, StageReply } from './stages/stage.ts';
import { TunnelRules } from './telemetry/tunnel-rules.ts';

/** Serves HTTP on the tunnel's bytes. Takes ownership of the stream. */
export function serveHttpChain(
  services: WaypointServices,
  tunnel: Tunnel,
  stream: Duplex,
  version: '1.1' | '2',
): ServedConnection {
  const handlers = new HttpChain(services, tunnel);
  if (version === '2') return serveH2c(stream, handlers);
  return serveHttp1(stream, handlers, { http10Host: services.settings.http10 ? hostOf(tunnel) : undefined });
}

/** A class: a literal with a getter would be kept, with all of the tunnel, until the next whole collection (docs/performance.md). */
class HttpChain implements ConnectionHandlers {
  readonly #services: WaypointServices;
  readonly #tunnel: Tunnel;
  readonly #authorizer: TunnelAuthorizer;
  readonly #stages: TunnelStages;
  readonly #rules: TunnelRules;

  constructor(services: WaypointServices, tunnel: Tunnel) {
    this.#services = services;
    this.#tunnel = tunnel;
    this.#authorizer = new TunnelAuthorizer(services, tunnel);
    this.#stages = new TunnelStages(services, tunnel);
    this.#rules = new TunnelRules(services, tunnel);
  }

  get pathNormalization(): PathNormalization {
    return this.#services.model().meshConfig.pathNormalization;
  }

  exchange(served: Exchange): void {
    const tunnel = this.#tunnel;
    const exchange = speaksGrpc(tunnel) ? withoutGrpcWeb(served) : served;
    const record = new RequestRecord(this.#services, tunnel, this.#authorizer, exchange);
    record.telemetry = watchRecord(record, this.#rules.of(record.model));
    new RequestFlow(record, this.#stages).start();
  }

  refused(status: number, reason: string): void {
    const services = this.#services;
    services.logger.info('refused a malformed request', { status, reason, peer: this.#tunnel.client.ip });
    reportMalformed(services, this.#tunnel, this.#rules.of(services.model()), status, reason);
  }
}

class RequestFlow implements OpenRequest {
  readonly #record: RequestRecord;
  readonly #stages: TunnelStages;
  #forwarding: RunningForward | undefined;
  previous: OpenRequest | undefined;
  next: OpenRequest | undefined;
  openedAt = 0;

  constructor(record: RequestRecord, stages: TunnelStages) {
    this.#record = record;
    this.#stages = stages;
  }

  start(): void {
    this.#run(this.#stages.before(this.#record.model), 0, () => this.#chooseRoute());
  }

  /** Stages from `first` on, then `next`. */
  #run(stages: readonly Stage[], first: number, next: () => void): void {
    for (let at = first; at < stages.length; at++) {
      const answer = this.#ask(stages[at] as Stage);
      if (answer instanceof Promise) {
        this.#wait(answer, () => this.#run(stages, at + 1, next));
        return;
      }
      if (answer.kind === 'reply') {
        this.#reply(answer);
        return;
      }
    }
    next();
  }

  #ask(stage: Stage): StageAnswer | Promise<StageAnswer> {
    try {
      return stage(this.#record);
    } catch (error) {
      return this.#broken(error);
    }
  }

  #wait(answer: Promise<StageAnswer>, next: () => void): void {
    const { gone } = this.#record;
    let waiting = true;
    const left = () => {
      waiting = false;
      reportRecord(this.#record, ownResult(0, 'DC', 'downstream_remote_disconnect'));
    };
    gone.on(left);
    void answer
      .catch((error: unknown) => this.#broken(error))
      .then((settled) => {
        if (!waiting) return;
        gone.off(left);
        if (settled.kind === 'reply') this.#reply(settled);
        else next();
      });
  }

  #broken(error: unknown): StageReply {
    const stack = String((error as Error).stack ?? error);
    this.#record.services.logger.error('internal error in a stage of a request', { error: stack });
    return { kind: 'reply', status: 500, body: '', flags: '-', details: 'internal_error' };
  }

  #chooseRoute(): void {
    const { model } = this.#record;
    const routes = this.#stages.routes(model);
    if (routes.length === 0) {
      this.#run(this.#stages.after(model, undefined), 0, () => this.#forward());
      return;
    }
    const request = routeRequest(this.#record);
    const route = matchRoute(routes, request);
    this.#record.route = route;
    if (route === undefined) this.#answer(404, '', 'NR', 'route_not_found');
    else this.#run(this.#stages.after(model, route), 0, () => this.#act(route, request));
  }

  #act(route: Route, request: RouteRequest): void {
    const { action } = route;
    const own = applyHeaderChange([], route.responseHeaders);
    switch (action.kind) {
      case 'respond':
        this.#answer(action.status, action.body, '-', 'direct_response', own, action.grpcStatus);
        return;
      case 'redirect': {
        const { port } = this.#record.tunnel.destination.address;
        const location = redirectLocation(action.redirect, request, port, route.match?.path);
        this.#answer(action.redirect.status, '', '-', 'direct_response', ['location', location, ...own]);
        return;
      }
      case 'forward': {
        const found = findSession(this.#record, action.backends);
        const choice =
          found?.backend === undefined
            ? chooseBackend(action.backends, this.#record.services.random)
            : ({ kind: 'backend', backend: found.backend } as const);
        if (choice.kind === 'none') this.#answer(500, '', '-', 'no_backend', [], unavailable);
        else if (choice.backend.service === undefined)
          this.#answer(choice.backend.refusal ?? 500, '', 'NC', 'invalid_backend', [], unavailable);
        else {
          this.#record.backend = choice.backend;
          this.#record.session = found?.session ?? newSession(this.#record, choice.backend.service);
          this.#forward();
        }
      }
    }
  }

  #forward(): void {
    const record = this.#record;
    const { openRequests, model } = record.services;
    // Others may be in force since it came, and waited.
    if (record.judgedOn !== model()) {
      this.#run(judging, 0, () => this.#forward());
      return;
    }
    openRequests.add(this);
    this.#forwarding = forwardRequest(record, (result) => {
      openRequests.delete(this);
      reportRecord(record, result);
    });
  }

  judgeAgain(): StageAnswer | Promise<StageAnswer> {
    return judgeAgain(this.#record);
  }

  revoke(refusal: Refusal): void {
    this.#forwarding?.revoke(refusal);
  }

  #answer(status: number, body: string, flags: string, details: string, headers?: HeaderList, grpcStatus?: number) {
    this.#reply({ kind: 'reply', status, body, flags, details, headers, grpcStatus });
  }

  /** An answer without any upstream. */
  #reply({ status, body, flags, details, headers, grpcStatus: grpc }: StageReply): void {
    const record = this.#record;
    let grpcStatus: string | undefined;
    const responseHeaders = record.changedResponse(headers ?? [], status);
    record.exchange.onClosed((complete) => {
      reportRecord(record, {
        ...ownResult(grpcStatus === undefined ? status : 200, complete || flags !== '-' ? flags : 'DC', details),
        responseBytes: body.length,
        grpcStatus,
        responseHeaders,
      });
    });
    grpcStatus = localReply(record.exchange, status, body, responseHeaders, grpc);
    letGo(record.exchange, record.services.clock);
  }
}

/** The port says `grpc` or `grpc-web`. */
function speaksGrpc({ destination }: Tunnel): boolean {
  return destination.kind === 'service' && destination.port.appProtocol === 'grpc';
}

/** For requests of HTTP/1.0, which need not name one. */
function hostOf({ destination }: Tunnel): string {
  return destination.kind === 'service' ? destination.service.hostname : destination.address.ip;
}

/** What GRPCRoute says to a share without a backend. */
const unavailable = 14;

const judging: readonly Stage[] = [judgeAgain];

function routeRequest(record: RequestRecord): RouteRequest {
  const { method, authority, path, routeQuery: query, routeHeaders: headers, claims, tunnel } = record;
  const { namespace: clientNamespace, labels: clientLabels } = clientFacts(tunnel);
  return { method, authority, path, query, scheme: 'http', headers, claims, clientNamespace, clientLabels };
}
