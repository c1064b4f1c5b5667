/**
 * TrafficProtection: the limits on the gateway, the service and the route, once the route is known and policies have let
 * the request pass, so that who is refused anyway uses up nobody's rate. In this order: size, local rates, rates asked for
 * at a service, places. What is cheap to decide comes first, and a place is taken last, since it is held to the end.
 */
import type { Route } from '../../route/model.ts';
import { objectKey } from '../../route/object-ref.ts';
import type { RequestFacts, TrafficProtection } from '../../route/traffic-protection.ts';
import { clientFacts } from '../client-facts.ts';
import { askConcurrency } from '../protection/ask-concurrency.ts';
import { askGlobal } from '../protection/ask-global.ts';
import { askLocal } from '../protection/ask-local.ts';
import { limitSize } from '../protection/limit-size.ts';
import type { RequestRecord } from '../request-record.ts';
import { type AfterRoute, attachedTo, type BeforeRoute, go, type StageAnswer, type StageContext } from './stage.ts';

/** Sizes are told before tokens are looked at, where the limit is not the route's. */
export const sizeStage: BeforeRoute = (context) => {
  const protections = ofTarget(context).filter(({ size }) => size !== undefined);
  if (protections.length === 0) return undefined;
  return (record) => sizes(record, protections);
};

export const protectionStage: AfterRoute = (context, route) => {
  const ofRoute = route === undefined ? [] : (context.model.protections?.routes.get(routeKey(route)) ?? []);
  const protections = [...new Set([...ofTarget(context), ...ofRoute])];
  if (protections.length === 0) return undefined;
  const local = protections.some((protection) => protection.local.length > 0);
  const global = protections.some((protection) => protection.global.length > 0);
  const concurrency = protections.some((protection) => protection.concurrency.length > 0);
  return (record) => {
    const tooLarge = sizes(record, ofRoute);
    if (tooLarge.kind === 'reply') return tooLarge;
    const facts = factsOf(record);
    const rate = local ? askLocal(record, facts, protections) : go;
    if (rate.kind === 'reply') return rate;
    const places = () => (concurrency ? askConcurrency(record, facts, protections) : go);
    if (!global) return places();
    return askGlobal(record, facts, protections).then((answer) => (answer.kind === 'reply' ? answer : places()));
  };
};

function sizes(record: RequestRecord, protections: readonly TrafficProtection[]): StageAnswer {
  for (const protection of protections) {
    if (protection.size === undefined) continue;
    const answer = limitSize(record, protection, protection.size);
    if (answer.kind === 'reply') return answer;
  }
  return go;
}

/** Those of the gateway and of the service. */
function ofTarget(context: StageContext): readonly TrafficProtection[] {
  const { protections } = context.model;
  return protections === undefined ? [] : attachedTo(context, protections.gateways, protections.services);
}

function routeKey({ source }: Route): string {
  return source === undefined ? '' : objectKey(source);
}

function factsOf({ tunnel, method, authority, path, query, headers, route }: RequestRecord): RequestFacts {
  const { clientIdentity, client, destination } = tunnel;
  return {
    clientIdentity,
    clientNamespace: clientFacts(tunnel).namespace,
    clientIp: client.ip,
    service: destination.kind === 'service' ? destination.service.key : '',
    route: route === undefined ? '' : routeKey(route),
    method,
    host: authority,
    path,
    query,
    headers,
  };
}
