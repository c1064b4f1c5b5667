/** Route matching: path kinds, conditions, order, and a slow oracle for prefixes. */
import fc from 'fast-check';
import t from 'tap';
import { matchRoute, pathMatches, type RouteRequest } from '../../../src/route/match-route.ts';
import type { NamedMatch, PathMatch, Route, RouteMatch } from '../../../src/route/model.ts';

const request: RouteRequest = {
  method: 'GET',
  scheme: 'http',
  authority: 'reviews:9080',
  path: '/v2/x',
  query: '?a=1&a=2&b=%20c&empty',
  headers: ['X-Env', 'prod', 'Cookie', 'u=1', 'cookie', 'v=2'],
};
const anything: RouteMatch = {
  path: undefined,
  method: undefined,
  authority: undefined,
  scheme: undefined,
  headers: [],
  queryParams: [],
};
const exact = (value: string) => ({ kind: 'exact', value, ignoreCase: false }) as const;
const named = (name: string, value: string, negate = false): NamedMatch => ({ name, match: exact(value), negate });

function route(name: string, match: Partial<RouteMatch> | undefined): Route {
  return {
    name,
    source: undefined,
    match: match === undefined ? undefined : { ...anything, ...match },
    action: { kind: 'respond', status: 200, body: '' },
    requestHeaders: undefined,
    responseHeaders: undefined,
    rewritePath: undefined,
    rewriteHost: undefined,
    timeoutMs: undefined,
    retry: undefined,
  };
}
const matches = (match: Partial<RouteMatch>) => matchRoute([route('r', match)], request) !== undefined;

t.test('the first route that matches wins, in the order given', async (t) => {
  const routes = [route('no', { path: exact('/v1') }), route('first', undefined), route('second', undefined)];
  t.equal(matchRoute(routes, request)?.name, 'first');
  t.equal(matchRoute([], request), undefined);
});

t.test('a path prefix matches whole segments only', async (t) => {
  const prefix = (value: string): PathMatch => ({ kind: 'path-prefix', value });
  for (const path of ['/v2', '/v2/', '/v2/x']) t.ok(pathMatches(prefix('/v2'), path), path);
  for (const path of ['/v2example', '/v', '/V2']) t.notOk(pathMatches(prefix('/v2'), path), path);
  t.ok(pathMatches(prefix('/v2/'), '/v2'), 'a trailing slash in the value is ignored');
  t.ok(pathMatches(prefix('/'), '/anything'));
});

t.test('conditions are all required', async (t) => {
  t.ok(matches({ method: exact('GET'), authority: exact('reviews:9080'), scheme: exact('http') }));
  t.notOk(matches({ method: exact('GET'), authority: exact('ratings') }));
  t.ok(matches({ headers: [named('x-env', 'prod')] }));
  t.ok(matches({ headers: [named('cookie', 'u=1,v=2')] }), 'repeated values are joined');
  t.ok(matches({ headers: [named('cookie', 'v=2')] }), 'and hide none of them');
  t.notOk(matches({ headers: [named('cookie', 'v=2', true)] }));
  t.notOk(matches({ headers: [named('x-env', 'prod'), named('absent', 'x')] }));
});

t.test('a negated header condition holds when the header is absent or other', async (t) => {
  t.ok(matches({ headers: [named('absent', 'x', true)] }));
  t.ok(matches({ headers: [named('x-env', 'test', true)] }));
  t.notOk(matches({ headers: [named('x-env', 'prod', true)] }));
});

t.test('query parameters match by their first value, decoded', async (t) => {
  t.ok(matches({ queryParams: [named('a', '1'), named('b', ' c')] }));
  t.notOk(matches({ queryParams: [named('a', '2')] }));
  t.ok(matches({ queryParams: [{ name: 'empty', match: { kind: 'presence' }, negate: false }] }));
});

t.test('prefix matching agrees with comparing segments one by one', async () => {
  const path = fc.array(fc.constantFrom('a', 'b', 'ab', ''), { maxLength: 4 }).map((s) => `/${s.join('/')}`);
  const prefix = fc.array(fc.constantFrom('a', 'b', 'ab'), { maxLength: 3 }).map((s) => `/${s.join('/')}`);
  fc.assert(
    fc.property(prefix, path, (value, path) => {
      const wanted = value.split('/').filter((s) => s !== '');
      const got = path.slice(1).split('/');
      const slow = wanted.every((segment, i) => got[i] === segment);
      return pathMatches({ kind: 'path-prefix', value }, path) === slow;
    }),
    { numRuns: 2000 },
  );
});

t.test('of many routes the one is found that looking at each in order finds', async () => {
  const values = ['/', '', '/a', '/a/', '/a/b', '/ab', '/A', '/b'];
  const path: fc.Arbitrary<PathMatch | undefined> = fc.oneof(
    fc.record({
      kind: fc.constantFrom('exact', 'text-prefix'),
      value: fc.constantFrom(...values),
      ignoreCase: fc.constantFrom(false, false, true),
    }),
    fc.record({ kind: fc.constant('path-prefix' as const), value: fc.constantFrom(...values) }),
    fc.constant<PathMatch>({ kind: 'regex', source: '/a.*', test: (text) => /^\/a.*$/.test(text) }),
    fc.constant(undefined),
  );
  const method = fc.constantFrom(undefined, exact('GET'), exact('PUT'), exact('PUT'));
  const conditions = fc.record({ path, method, headers: fc.constantFrom([], [named('x-env', 'test')]) });
  const routes = fc.array(fc.option(conditions, { nil: undefined, freq: 20 }), { maxLength: 40 });
  fc.assert(
    fc.property(routes, fc.constantFrom(...values, '/a/b/c', '/ba'), (drawn, path) => {
      const list = drawn.map((match, i) => route(`r${i}`, match));
      const asked = { ...request, path };
      return matchRoute(list, asked) === list.find((each) => matchRoute([each], asked) !== undefined);
    }),
    { numRuns: 3000 },
  );
});
