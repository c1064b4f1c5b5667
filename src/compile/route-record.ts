/** Records of routes from rules of either API. */
import type { Route, RouteStages } from '../route/model.ts';
import type { HttpRuleSpec } from './http-route.ts';
import type { ConfigObject } from './object.ts';
import type { VirtualRuleSpec } from './virtual-rule.ts';

/** `place`: where in the object, `rule/match`. */
export function makeRoute(
  object: ConfigObject,
  rule: Pick<
    HttpRuleSpec | VirtualRuleSpec,
    'name' | 'requestHeaders' | 'responseHeaders' | 'rewritePath' | 'rewriteHost' | 'timeoutMs' | 'retry'
  >,
  place: string,
  match: Route['match'],
  action: Route['action'],
  stages: RouteStages | undefined,
): Route {
  const { namespace, name } = object.metadata;
  const { requestHeaders, responseHeaders, rewritePath, rewriteHost, timeoutMs, retry } = rule;
  const route: Route = {
    // Joined, it is flat; a template would keep all its parts.
    name: [namespace, name, place].join('/'),
    source: { kind: object.kind, namespace, name },
    match,
    action,
    requestHeaders,
    responseHeaders,
    rewritePath,
    rewriteHost,
    timeoutMs: timeoutMs || undefined,
    retry,
    stages,
  };
  return rule.name === undefined ? route : { ...route, ruleName: rule.name };
}

/** Of a rule that cannot be followed. A gRPC client is told UNAVAILABLE, as GRPCRoute asks. */
export const broken: Route['action'] = { kind: 'respond', status: 500, body: '', grpcStatus: 14 };

/** Where routes exist and none matches, the request is answered with 404, never forwarded plainly. */
export function closed(routes: readonly Route[]): readonly Route[] {
  return routes.length === 0 || routes.some(({ match }) => matchesEverything(match)) ? routes : [...routes, notFound];
}

const notFound: Route = {
  name: 'no-route-matched',
  source: undefined,
  match: undefined,
  action: { kind: 'respond', status: 404, body: '' },
  requestHeaders: undefined,
  responseHeaders: undefined,
  rewritePath: undefined,
  rewriteHost: undefined,
  timeoutMs: undefined,
  retry: undefined,
};

function matchesEverything(match: Route['match']): boolean {
  if (match === undefined) return true;
  const { path, method, authority, scheme, headers, queryParams, sourceNamespace, sourceLabels, claims } = match;
  const anyPath = path === undefined || (path.kind === 'path-prefix' && path.value === '/');
  const others = [method, authority, scheme, sourceNamespace, sourceLabels, claims].every((part) => part === undefined);
  return anyPath && others && headers.length === 0 && queryParams.length === 0;
}
