/**
 * AuthorizationPolicy with action CUSTOM: the services that are asked about what its rules match. Each provider once, by
 * name; all must allow. First of all stages, as at Envoy: no token has been verified yet, and none is needed to be asked.
 *
 * I1: a provider that is missing or unusable denies what its rules match. I2: a request goes on with the very bytes of its
 * body, whatever was held of it.
 */
import { headerValue } from '../../http/header-list.ts';
import { BodyTooLong } from '../../http/limit-body.ts';
import { type BodyDeadline, PeekedBody } from '../../http/peeked-body.ts';
import { ConnectionPolicies } from '../../policy/l7.ts';
import type { CustomAuthorization } from '../../route/custom-authorization.ts';
import { tunnelFacts } from '../authorize.ts';
import { askProvider, type Settled } from '../ext-authz/ask.ts';
import { applyOperations, changedQuery, withoutNames } from '../ext-authz/decision.ts';
import { type HttpQuestion, questionOf } from '../ext-authz/question.ts';
import type { RequestRecord } from '../request-record.ts';
import { bodyDeadline, lateBody } from './body-deadline.ts';
import { deniedReply } from './policies.ts';
import { attachedTo, type BeforeRoute, go, type StageAnswer, type StageContext, type StageReply } from './stage.ts';

type Provider = NonNullable<CustomAuthorization['provider']>;

export const customStage: BeforeRoute = (context) => {
  const guards = guardsOf(context);
  if (guards.length === 0) return undefined;
  return (record) => {
    const providers = new Map<string, Provider>();
    for (const { authorization, policies } of guards) {
      const { verdict, audited } = policies.evaluate(record.judged());
      record.audit(audited);
      if (verdict.kind !== 'deny') continue;
      const { provider, providerName } = authorization;
      if (provider === undefined) return deniedReply(`${verdict.reason}-deny-due-to-bad-CUSTOM-action`);
      providers.set(providerName, provider);
    }
    record.asked = providers;
    return providers.size === 0 ? go : askAll(record, [...providers.values()].sort(byName));
  };
};

/** What the model of the moment says about a request, and nobody was asked; undefined: all that is to be asked was. */
export function unaskedReply(context: StageContext, record: RequestRecord): StageReply | undefined {
  const guards = guardsOf(context);
  if (guards.length === 0) return undefined;
  const judged = record.judgedByCustom();
  for (const { authorization, policies } of guards) {
    if (record.asked?.has(authorization.providerName) === true) continue;
    const { verdict } = policies.evaluate(judged);
    if (verdict.kind === 'deny') return deniedReply(verdict.reason);
  }
  return undefined;
}

/** What may be asked about a tunnel's requests or connection. */
export function guardsOf({ services: shared, model, own, tunnel }: StageContext, serverName?: string) {
  const { gateways, services } = model.customAuthorizations;
  return attachedTo({ own, tunnel }, gateways, services).map((authorization) => ({
    authorization,
    policies: new ConnectionPolicies(authorization.policies, tunnelFacts(shared, tunnel, model, undefined, serverName)),
  }));
}

async function askAll(record: RequestRecord, providers: readonly Provider[]): Promise<StageAnswer> {
  const asksForBody = providers.some(({ body }) => body !== undefined);
  const { body, exchange } = record;
  // An upgrade has no body to wait for.
  const peeked =
    asksForBody && body !== undefined && exchange.request.upgrade === undefined ? new PeekedBody(body) : undefined;
  const held = new HeldBytes(record);
  const deadline = bodyDeadline(record.services);
  try {
    for (const provider of providers) {
      const shown = await bodyFor(record, provider, peeked, held, deadline);
      if (shown.kind === 'reply') return shown;
      const { services, tunnel, gone } = record;
      const settled = await askProvider(provider, questionOf(record, shown.body), {
        services,
        tunnel,
        gone,
      });
      const answer = settle(record, provider, settled);
      if (answer.kind === 'reply') return answer;
    }
    if (peeked !== undefined) record.body = peeked.stream();
    return go;
  } finally {
    held.release();
  }
}

type Shown = { readonly kind: 'body'; readonly body: HttpQuestion['body'] } | StageReply;

async function bodyFor(
  record: RequestRecord,
  { body: asked }: Provider,
  peeked: PeekedBody | undefined,
  held: HeldBytes,
  deadline: BodyDeadline,
): Promise<Shown> {
  if (asked === undefined || peeked === undefined) return { kind: 'body', body: undefined };
  if (!held.take(Math.min(asked.maxBytes, told(record)))) return reply(503, '', 'UAEX', 'ext_authz_overload');
  record.exchange.expectBody();
  const peek = await peeked.peek(asked.maxBytes, deadline);
  if (peek.kind === 'late') return lateBody;
  if (peek.kind === 'broken') {
    if (peek.error instanceof BodyTooLong) return reply(413, 'Payload Too Large', '-', 'request_body_size_limit');
    // The client broke off: nobody waits for an answer.
    return reply(400, '', 'DC', 'request_body_broken');
  }
  if (peek.complete || asked.allowPartial) return { kind: 'body', body: peek };
  return reply(413, 'Payload Too Large', '-', 'request_payload_too_large');
}

/** Bytes of its body, if the client says how many: framing holds it to that. */
function told({ exchange }: RequestRecord): number {
  const length = headerValue(exchange.request.headers, 'content-length') ?? '';
  return /^\d{1,15}$/.test(length) ? Number(length) : Number.POSITIVE_INFINITY;
}

function settle(record: RequestRecord, provider: Provider, settled: Settled): StageAnswer {
  switch (settled.kind) {
    case 'failed':
      return reply(provider.statusOnError, '', 'UAEX', 'ext_authz_error');
    case 'deny':
      return {
        ...reply(settled.status, settled.body, 'UAEX', 'ext_authz_denied'),
        headers: applyOperations([], settled.headers),
      };
    case 'allow': {
      const before = record.headers;
      record.headers = applyOperations(before, settled.request);
      record.headers = withoutNames(record.headers, settled.removed);
      const { query } = record;
      record.query = changedQuery(query, settled.querySet, settled.queryRemoved);
      if (record.query !== query) record.loggedQuery = record.query;
      if (!provider.clearRouteCache) {
        record.hideFromRoute(before, [...settled.request.map(({ name }) => name), ...settled.removed], query);
      }
      const { response } = settled;
      if (response.length > 0) record.changeResponse((headers) => applyOperations(headers, response));
      return go;
    }
  }
}

/** Memory for bodies, taken before it is used. */
class HeldBytes {
  readonly #record: RequestRecord;
  #bytes = 0;

  constructor(record: RequestRecord) {
    this.#record = record;
  }

  /** For one body: what was taken for it before counts. False: there is no room. */
  take(bytes: number): boolean {
    const more = Math.max(0, bytes - this.#bytes);
    const { services, tunnel } = this.#record;
    if (!services.checks.held.take(tunnel.clientIdentity, more)) return false;
    this.#bytes += more;
    return true;
  }

  release(): void {
    const { services, tunnel } = this.#record;
    services.checks.held.release(tunnel.clientIdentity, this.#bytes);
    this.#bytes = 0;
  }
}

function reply(status: number, body: string, flags: string, details: string): StageReply {
  return { kind: 'reply', status, body, flags, details };
}

function byName(a: Provider, b: Provider): number {
  return a.name < b.name ? -1 : 1;
}
