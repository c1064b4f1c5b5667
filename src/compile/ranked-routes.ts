/** Routes of one port from HTTPRoutes or GRPCRoutes: those of all objects together, in order of precedence (GEP-1294). */
import type { Route } from '../route/model.ts';
import { compareRank, type MatchRank } from './http-match.ts';
import type { HttpRouteSpec, HttpRuleSpec } from './http-route.ts';
import { qualifiedName } from './object.ts';
import type { Attachment } from './route-attachments.ts';
import { type Consumer, forwardTo, type RouteContext, resolveBackend, unknownMirror } from './route-context.ts';
import { broken, makeRoute } from './route-record.ts';
import { sessionOf } from './session-persistence.ts';
import { buildStages } from './stages.ts';

/** `attached`: oldest first, which decides among equal ranks, as does then the place in the object. */
export function rankedRoutes(
  attached: readonly Attachment<HttpRouteSpec>[],
  port: number,
  context: RouteContext,
): readonly Route[] {
  const routes: { readonly route: Route; readonly rank: MatchRank }[] = [];
  for (const { spec, consumer } of attached) {
    for (const [i, rule] of spec.rules.entries()) {
      const reach =
        consumer === undefined ? undefined : { namespace: consumer, changesRequests: changesRequests(rule) };
      const action = actionOf(spec, rule, port, context, reach);
      const stages = buildStages(rule.stages, (mirror) =>
        resolveBackend(spec, mirror, port, context, reach, unknownMirror),
      );
      for (const { index, match, rank } of rule.matches) {
        const route = makeRoute(spec.object, rule, `${i}/${index}`, match, action, stages);
        const session = rule.session && sessionOf(rule.session, sessionScope(spec, rule, i), match.path);
        routes.push({ rank, route: session === undefined ? route : { ...route, session } });
      }
    }
  }
  // Sorting is stable.
  return routes.sort((a, b) => compareRank(a.rank, b.rank)).map(({ route }) => route);
}

/** A named rule keeps its sessions when it moves. */
function sessionScope({ object }: HttpRouteSpec, { name }: HttpRuleSpec, index: number): string {
  return `${object.kind} ${qualifiedName(object)} ${name ?? index}`;
}

/** Whatever its backend: what is sent is not what was judged. */
function changesRequests({ requestHeaders, rewritePath, rewriteHost }: HttpRuleSpec): boolean {
  return requestHeaders !== undefined || rewritePath !== undefined || rewriteHost !== undefined;
}

function actionOf(
  spec: HttpRouteSpec,
  rule: HttpRuleSpec,
  port: number,
  context: RouteContext,
  consumer: Consumer | undefined,
): Route['action'] {
  switch (rule.action.kind) {
    case 'invalid':
      return broken;
    case 'redirect':
      return rule.action;
    case 'forward': {
      const backends = rule.action.backends.map((backend) => resolveBackend(spec, backend, port, context, consumer));
      return backends.length === 0 ? broken : forwardTo(context, backends);
    }
  }
}
