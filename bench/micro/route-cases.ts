/** Which route a request takes: paths by prefix, exactly and by header, and a request that the last of them matches. */
import { matchRoute } from '../../src/route/match-route.ts';
import type { PathMatch, Route, RouteMatch } from '../../src/route/model.ts';
import type { Operation } from './measure.ts';
import { type MicroCase, sized } from './micro-case.ts';

export const routeCases: readonly MicroCase[] = sized(
  'route-match',
  'routes',
  { 1: 1000, 100: 10_000, 1000: 100_000 },
  routeMatch,
);

function routeMatch(count: number): Operation {
  const routes = Array.from({ length: count }, (_, i) => routeOf(i));
  const segment = `service-${count - 1}`;
  return (i) => {
    const route = matchRoute(routes, {
      method: 'GET',
      scheme: 'http',
      authority: 'shop.example',
      path: `/${segment}/items/${i & 1023}`,
      query: '',
      headers: ['accept', '*/*', 'user-agent', 'wrk', 'x-request-id', 'd8e8fca2dc0f896fd7cb4cb0031ba249'],
    });
    return route?.name.length ?? 0;
  };
}

/** The last of 1, 100 and 1000 is one by prefix. */
function routeOf(i: number): Route {
  const byHeader = {
    name: 'x-version',
    match: { kind: 'exact', value: `${i}`, ignoreCase: false },
    negate: false,
  } as const;
  const path: PathMatch =
    i % 3 === 1
      ? { kind: 'exact', value: `/service-${i}/health`, ignoreCase: false }
      : { kind: 'path-prefix', value: `/service-${i}` };
  const match: RouteMatch = {
    path,
    method: { kind: 'exact', value: 'GET', ignoreCase: false },
    authority: undefined,
    scheme: undefined,
    headers: i % 3 === 2 ? [byHeader] : [],
    queryParams: [],
  };
  return {
    name: `default/routes/${i}/0`,
    source: undefined,
    match,
    action: { kind: 'forward', backends: [] },
    requestHeaders: undefined,
    responseHeaders: undefined,
    rewritePath: undefined,
    rewriteHost: undefined,
    timeoutMs: undefined,
    retry: undefined,
  };
}
