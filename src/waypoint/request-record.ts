/**
 * A request as it travels through the stages: what the client sent, what stages made of it, and what the log will say.
 * One owner, the flow of `http-chain.ts`; stages write to it in turn.
 *
 * I1: what policies judge (`judged`, `rewritten`) is what is forwarded: both read the same fields. I2: the model stays with the
 * request to its end (design rule 8), but for policies: those of the moment count (`judge-again.ts`).
 */
import type { Readable } from 'node:stream';
import { Cancellation } from '../base/cancellation.ts';
import type { ExtensionReply } from '../extensions/hooked-exchange.ts';
import type { Exchange } from '../http/exchange.ts';
import { type HeaderList, headerValue, headerValues, withoutHeaders } from '../http/header-list.ts';
import type { L7Request } from '../policy/l7-conditions.ts';
import type { L7Model, Route, RouteBackend } from '../route/model.ts';
import type { TokenClaims } from '../route/request-authentication.ts';
import type { RequestSession } from '../route/session.ts';
import type { UpstreamEndpoint } from '../upstream/endpoint.ts';
import type { TunnelAuthorizer } from './authorize.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import type { TokenRequest } from './jwt/authenticate.ts';
import { sanitised } from './request-headers.ts';
import { newRequestId } from './request-id.ts';
import type { RequestTelemetry } from './telemetry/request-telemetry.ts';

/** Makes other headers of a response's. The list is a value: another one is returned. */
export type ResponseChange = (headers: HeaderList, status: number) => HeaderList;

export class RequestRecord {
  readonly services: WaypointServices;
  readonly tunnel: Tunnel;
  readonly authorizer: TunnelAuthorizer;
  /** As the client sent it; `exchange.request` never changes. A stage that answers differently puts another in its place. */
  exchange: Exchange;
  readonly model: L7Model;
  readonly startedMs: number;
  readonly requestId: string;
  readonly method: string;
  authority: string;
  /** Normalised, without query. */
  path: string;
  /** With its question mark; empty without query. */
  query: string;
  /** `query` without what may be tokens. */
  loggedQuery: string;
  headers: HeaderList;
  /** What is forwarded: a stage that reads it puts another with the same bytes in its place. */
  body: Readable | undefined;
  /** Of its verified token; undefined: nobody. */
  claims: TokenClaims | undefined;
  /** Once chosen. */
  route: Route | undefined;
  backend: RouteBackend | undefined;
  /** Undefined: nobody asked for sessions. */
  session: RequestSession | undefined;
  /** What an extension made of the response, for the log. */
  extensionReply: ExtensionReply | undefined;
  /** What somebody wants to know of it beyond what is always told. */
  telemetry: RequestTelemetry | undefined;
  /** Matching AUDIT and dry-run policies, for the log. */
  audited: readonly string[] = none;
  /** Envoy's response flags that stages add. */
  flags: readonly string[] = none;
  /** Of the model it was last judged on; later than `model` where policies have changed since it came. */
  judgedOn: L7Model;
  /** Where its token was looked for; undefined: nobody asked for one. */
  tokenRequest: TokenRequest | undefined;
  /** Providers that were asked about it, by name. */
  asked: ReadonlyMap<string, unknown> | undefined;
  /** What the pod gets, where routes have made another request of it. */
  rewritten: L7Request | undefined;
  /** Where it is sent, or was last. */
  endpoint: UpstreamEndpoint | undefined;
  #judgedByService: L7Request | undefined;
  #hidden: Map<string, readonly string[]> | undefined;
  #hiddenQuery: string | undefined;
  #responseChanges: ResponseChange[] | undefined;
  #gone: Cancellation | undefined;

  constructor(services: WaypointServices, tunnel: Tunnel, authorizer: TunnelAuthorizer, exchange: Exchange) {
    const { request } = exchange;
    this.services = services;
    this.tunnel = tunnel;
    this.authorizer = authorizer;
    this.exchange = exchange;
    this.model = services.model();
    this.judgedOn = this.model;
    this.startedMs = services.clock.nowMs();
    this.method = request.method;
    this.authority = request.authority;
    this.path = request.path;
    this.query = request.query;
    this.loggedQuery = request.query;
    this.headers = sanitised(request.headers);
    this.body = request.body;
    this.requestId = headerValue(this.headers, 'x-request-id') ?? newRequestId();
  }

  /** What policies see. */
  judged(): L7Request {
    const { method, path, authority: host, headers, claims } = this;
    return { method, path, host, headers, claims };
  }

  /** What policies of the service see, whatever later stages make of the request: to be called by these. */
  keepJudged(): void {
    this.#judgedByService ??= this.judged();
  }

  /** What policies of the service saw, with the claims of now. */
  judgedByService(): L7Request {
    const kept = this.#judgedByService;
    return kept === undefined ? this.judged() : { ...kept, claims: this.claims };
  }

  /** What CUSTOM policies saw: the request as it came. */
  judgedByCustom(): L7Request {
    const { method, path, authority: host, headers } = this.exchange.request;
    return { method, path, host, headers: sanitised(headers), claims: undefined };
  }

  /**
   * The route is to be chosen by these headers as they were in `before`, and by the query as it was, whatever a stage has made of them.
   * The first to say so about a header is followed.
   */
  hideFromRoute(before: HeaderList, names: readonly string[], queryBefore: string): void {
    if (queryBefore !== this.query) this.#hiddenQuery ??= queryBefore;
    for (const name of names) {
      this.#hidden ??= new Map();
      if (!this.#hidden.has(name)) this.#hidden.set(name, headerValues(before, name));
    }
  }

  /** What the route is chosen by. */
  get routeHeaders(): HeaderList {
    const hidden = this.#hidden;
    if (hidden === undefined) return this.headers;
    const shown = withoutHeaders(this.headers, (name) => hidden.has(name));
    return [...shown, ...[...hidden].flatMap(([name, values]) => values.flatMap((value) => [name, value]))];
  }

  get routeQuery(): string {
    return this.#hiddenQuery ?? this.query;
  }

  /** Cancelled when the exchange is over, however it ended. To be asked for before that, by who waits for something. */
  get gone(): Cancellation {
    if (this.#gone === undefined) {
      const gone = new Cancellation();
      this.#gone = gone;
      this.exchange.onClosed(() => gone.cancel());
    }
    return this.#gone;
  }

  audit(policies: readonly string[]): void {
    if (policies.length > 0) this.audited = [...this.audited, ...policies];
  }

  flag(flag: string): void {
    if (!this.flags.includes(flag)) this.flags = [...this.flags, flag];
  }

  /**
   * For every response from now on, an upstream's or our own. The last one told comes first, as responses pass Envoy's
   * filters: what an earlier stage says stands in the end.
   */
  changeResponse(change: ResponseChange): void {
    this.#responseChanges ??= [];
    this.#responseChanges.unshift(change);
  }

  changedResponse(headers: HeaderList, status: number): HeaderList {
    let out = headers;
    if (this.#responseChanges !== undefined) for (const change of this.#responseChanges) out = change(out, status);
    return out;
  }
}

const none: readonly string[] = [];
