/**
 * Extensions of a request, in the order of their phases and priorities: AUTHN before its tokens, AUTHZ before policies, STATS
 * and those without a phase once its route is known. A request waits for each hook; how an extension that does not answer is
 * met is its own failure mode (`extensions/hook-caller.ts`).
 *
 * I1: an extension sees a request only after what stands before it has let it pass.
 */
import { parseSpiffeId } from '../../base/spiffe.ts';
import type { CheckedAnswer, LocalAnswer } from '../../extensions/check-answer.ts';
import type { ClientFacts } from '../../extensions/extension.ts';
import { type HeldBudget, type HeldOutcome, holdBody } from '../../extensions/held-body.ts';
import { HookCaller, HookCells, type HookOutcome } from '../../extensions/hook-caller.ts';
import { HookedExchange } from '../../extensions/hooked-exchange.ts';
import type { Question, SentFacts } from '../../extensions/protocol.ts';
import { hookedRequestBody } from '../../extensions/request-body.ts';
import type { Lease } from '../../extensions/running.ts';
import { wholeBody } from '../../extensions/whole-body.ts';
import { maxHeaderBytes, maxHeaderCount } from '../../http/framing.ts';
import { headerBytes, withHeader, withoutHeaders } from '../../http/header-list.ts';
import type { ExtensionPhase, ExtensionRecord } from '../../route/extension.ts';
import { compareExtensions } from '../../route/extension.ts';
import { applyHeaderChange } from '../../route/header-change.ts';
import type { Route } from '../../route/model.ts';
import { objectKey } from '../../route/object-ref.ts';
import type { Tunnel, WaypointServices } from '../context.ts';
import type { RequestRecord } from '../request-record.ts';
import { bodyDeadline, lateBody } from './body-deadline.ts';
import {
  type AfterRoute,
  attachedTo,
  type BeforeRoute,
  go,
  type Stage,
  type StageAnswer,
  type StageContext,
} from './stage.ts';

export const authnExtensions: BeforeRoute = (context) => extensionStage(context, ['authn'], undefined);
export const authzExtensions: BeforeRoute = (context) => extensionStage(context, ['authz'], undefined);
export const lateExtensions: AfterRoute = (context, route) => {
  const stage = extensionStage(context, ['stats', 'last'], route);
  if (stage === undefined) return undefined;
  return (record) => {
    record.keepJudged();
    return stage(record);
  };
};

/** Those that concern a tunnel, and a route's, in their order. */
export function extensionsOf(
  context: Omit<StageContext, 'services'>,
  phases: readonly ExtensionPhase[],
  route: Route | undefined,
): readonly ExtensionRecord[] {
  const { extensions } = context.model;
  if (extensions === undefined) return [];
  const { source } = route ?? {};
  const ofRoute = source === undefined ? undefined : extensions.routes.get(objectKey(source));
  // Once each, whatever it is attached to.
  const all = new Set([...attachedTo(context, extensions.gateways, extensions.services), ...(ofRoute ?? [])]);
  return [...all].filter(({ phase }) => phases.includes(phase)).sort(compareExtensions);
}

/** Of the tunnel's client, as extensions are told. */
export function clientFacts({ clientIdentity, client }: Tunnel): ClientFacts {
  const identity = parseSpiffeId(clientIdentity);
  const { namespace = '', serviceAccount = '' } = identity ?? {};
  return { identity: clientIdentity, namespace, serviceAccount, ip: client.ip };
}

function extensionStage(
  context: StageContext,
  phases: readonly ExtensionPhase[],
  route: Route | undefined,
): Stage | undefined {
  const records = extensionsOf(context, phases, route);
  if (records.length === 0) return undefined;
  const { services, tunnel } = context;
  const cells = records.map((record) => new HookCells(record, services.extensions.metrics));
  const client = clientFacts(tunnel);
  return async (record) => {
    for (const one of cells) {
      const answer = await new RequestHooks(services, record, one, client).run();
      if (answer.kind === 'reply') return answer;
    }
    return go;
  };
}

/** One extension's part in one request. */
class RequestHooks {
  readonly #services: WaypointServices;
  readonly #record: RequestRecord;
  readonly #cells: HookCells;
  readonly #client: ClientFacts;
  readonly #budget: HeldBudget;

  constructor(services: WaypointServices, record: RequestRecord, cells: HookCells, client: ClientFacts) {
    this.#services = services;
    this.#record = record;
    this.#cells = cells;
    this.#client = client;
    this.#budget = { memory: services.extensions.held, client: record.tunnel.clientIdentity };
  }

  async run(): Promise<StageAnswer> {
    const { gone } = this.#record;
    const lease = await new Promise<Lease | undefined>((resolve) =>
      this.#services.extensions.lease(this.#cells.record, resolve),
    );
    if (lease === undefined) return this.#settled(this.#cells.failed('requestHeaders', 'unavailable'));
    const caller = new HookCaller(this.#cells, lease, this.#services.clock);
    if (gone.cancelled) {
      caller.release();
      return go;
    }
    gone.on(() => caller.release());
    let answer: CheckedAnswer | undefined;
    if (caller.has('requestHeaders')) {
      const outcome = await this.#ask(caller, { hook: 'requestHeaders', content: this.#head(), facts: this.#facts() });
      if (outcome.kind === 'refused') return this.#settled(outcome);
      answer = outcome.kind === 'answer' ? outcome.answer : undefined;
      if (answer?.respond !== undefined) return this.#replied(answer.respond);
      const headers = applyHeaderChange(this.#record.headers, answer?.headers);
      if (headers.length > 2 * maxHeaderCount || headerBytes(headers) > maxHeaderBytes)
        return this.#settled(this.#cells.failed('requestHeaders', 'too-long'));
      this.#record.headers = headers;
    }
    return await this.#body(caller, answer?.body ?? 'change');
  }

  async #body(caller: HookCaller, mode: NonNullable<CheckedAnswer['body']>): Promise<StageAnswer> {
    const record = this.#record;
    const { body } = record;
    const seesBody = body !== undefined && mode !== 'skip' && caller.has('requestBody');
    if (!seesBody && !caller.has('responseHeaders') && !caller.has('responseBody')) return go;
    const exchange = new HookedExchange(record.exchange, {
      caller,
      facts: () => this.#facts(),
      held: this.#budget,
      onReply: (reply) => {
        record.extensionReply = reply;
      },
    });
    if (seesBody && mode === 'hold') {
      const settled = await this.#held(caller, body);
      if (settled.kind === 'reply') return settled;
    } else if (seesBody) {
      const hooked = hookedRequestBody(body, {
        ask: (bytes, last, done) => {
          const facts = caller.told ? undefined : this.#facts();
          const inspecting = mode === 'inspect';
          caller.ask({ hook: 'requestBody', content: { bytes, last }, facts }, done, ({ replace }) => {
            return inspecting && replace !== undefined;
          });
        },
        refused: (details) => exchange.refuse(details),
        respond: (answer) => exchange.reply(answer),
      });
      record.gone.on(() => hooked.destroy());
      record.body = hooked;
      if (mode === 'change') record.headers = withoutHeaders(record.headers, isLength);
    }
    record.exchange = exchange;
    return go;
  }

  /** The whole body with the hook before anything of the request goes on. */
  async #held(caller: HookCaller, source: NonNullable<RequestRecord['body']>): Promise<StageAnswer> {
    const record = this.#record;
    record.exchange.expectBody();
    const { maxHeldBytes } = this.#cells.record;
    const outcome = await new Promise<HeldOutcome>((resolve) =>
      holdBody(source, this.#budget, maxHeldBytes, bodyDeadline(this.#services), resolve),
    );
    if (outcome.kind === 'broken') return brokenOff;
    if (outcome.kind === 'late') return lateBody;
    if (outcome.kind !== 'whole') {
      record.body = outcome.rest;
      const failed = this.#cells.failed('requestBody', outcome.kind === 'too-long' ? 'too-long' : 'busy');
      return outcome.kind === 'too-long' && failed.kind === 'refused'
        ? { ...brokenOff, status: 413, details: failed.details }
        : this.#settled(failed);
    }
    const { bytes } = outcome;
    const facts = caller.told ? undefined : this.#facts();
    const content = { bytes: new Uint8Array(bytes), last: true };
    const asked = await this.#ask(caller, { hook: 'requestBody', content, facts });
    if (asked.kind === 'refused') return this.#settled(asked);
    const answer = asked.kind === 'answer' ? asked.answer : undefined;
    if (answer?.respond !== undefined) return this.#replied(answer.respond);
    const whole = answer?.replace ?? bytes;
    record.body = wholeBody(whole);
    record.headers = withHeader(record.headers, 'content-length', String(whole.length));
    return go;
  }

  #ask(caller: HookCaller, question: Question): Promise<HookOutcome> {
    return new Promise((resolve) => caller.ask(question, resolve));
  }

  #settled(outcome: HookOutcome): StageAnswer {
    if (outcome.kind !== 'refused') return go;
    return { kind: 'reply', status: 503, body: '', flags: '-', details: outcome.details };
  }

  #replied({ status, body, headers }: LocalAnswer): StageAnswer {
    const details = `extension_replied{${this.#cells.name}}`;
    return { kind: 'reply', status, body, flags: '-', details, headers };
  }

  #head() {
    const { method, path, query, authority, headers, body, exchange } = this.#record;
    return { method, path, query, authority, headers, hasBody: body !== undefined, version: exchange.request.version };
  }

  #facts(): SentFacts {
    const { tunnel, requestId, route, claims } = this.#record;
    const { destination } = tunnel;
    const service = destination.kind === 'service' ? destination.service.key : undefined;
    const port = destination.kind === 'service' ? destination.port.servicePort : destination.address.port;
    return { client: this.#client, service, port, requestId, route: route?.name, claims: claims?.values };
  }
}

/** The client did not send its body to the end. */
const brokenOff = { kind: 'reply', status: 400, body: '', flags: 'DC', details: 'request_body_broken_off' } as const;

function isLength(name: string): boolean {
  return name === 'content-length';
}
