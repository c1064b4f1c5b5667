/** Which of many HTTPRoutes a request takes, against an oracle that reads GEP-1294's words one by one. */
import fc from 'fast-check';
import t from 'tap';
import { matchRoute } from '../../../src/route/match-route.ts';
import { compileText, documents, serviceText } from '../../support/compile-text.ts';

interface Match {
  readonly type: 'Exact' | 'PathPrefix';
  readonly value: string;
  readonly method: string | undefined;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly query: readonly (readonly [name: string, value: string])[];
}

interface Rule {
  readonly route: string;
  readonly age: number;
  readonly rule: number;
  readonly index: number;
  readonly match: Match;
}

interface Asked {
  readonly path: string;
  readonly method: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly query: readonly (readonly [name: string, value: string])[];
}

const pathArbitrary = fc.constantFrom('/', '/a', '/a/b', '/ab', '/a/b/c', '/b');
const value = fc.constantFrom('1', '2');
const pairs = (names: readonly string[]) =>
  fc.uniqueArray(fc.tuple(fc.constantFrom(...names), value), { maxLength: 2, selector: ([name]) => name });
const match: fc.Arbitrary<Match> = fc.record({
  type: fc.constantFrom('Exact', 'PathPrefix'),
  value: pathArbitrary,
  method: fc.option(fc.constantFrom('GET', 'POST'), { nil: undefined }),
  headers: pairs(['x', 'y', 'z']),
  query: pairs(['p', 'q']),
});
const routes = fc.array(
  fc.record({
    age: fc.nat(1),
    rules: fc.array(fc.array(match, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 2 }),
  }),
  { minLength: 1, maxLength: 4 },
);
const asked: fc.Arbitrary<Asked> = fc.record({
  path: fc.constantFrom('/', '/a', '/a/', '/a/b', '/abc', '/a/b/c/d', '/b/x', '/c'),
  method: fc.constantFrom('GET', 'POST', 'PUT'),
  headers: pairs(['x', 'y', 'z']),
  query: pairs(['p', 'q']),
});

const holds = (match: Match, request: Asked) => {
  const inPath =
    match.type === 'Exact'
      ? request.path === match.value
      : match.value === '/' || request.path === match.value || request.path.startsWith(`${match.value}/`);
  const has = (given: Asked['headers'], wanted: Match['headers']) =>
    wanted.every(([name, value]) => given.some(([other, is]) => other === name && is === value));
  return (
    inPath &&
    (match.method === undefined || match.method === request.method) &&
    has(request.headers, match.headers) &&
    has(request.query, match.query)
  );
};

/** "Exact" path match, then "Prefix" with the largest number of characters, method match, largest number of header matches, of query parameters. */
const criteria: readonly ((rule: Rule) => number)[] = [
  ({ match }) => (match.type === 'Exact' ? 1 : 0),
  ({ match }) => match.value.length,
  ({ match }) => (match.method === undefined ? 0 : 1),
  ({ match }) => match.headers.length,
  ({ match }) => match.query.length,
  // Ties: the oldest Route, then alphabetical by namespace/name, then the first matching rule.
  ({ age }) => -age,
];

function best(rules: readonly Rule[], request: Asked): Rule | undefined {
  let left = rules.filter(({ match }) => holds(match, request));
  for (const criterion of criteria) {
    const most = Math.max(...left.map(criterion));
    left = left.filter((rule) => criterion(rule) === most);
  }
  const [name] = left.map(({ route }) => route).sort();
  return left.filter(({ route }) => route === name).sort((a, b) => a.rule - b.rule || a.index - b.index)[0];
}

t.test('the route of a request is the one that the standard names', async (t) => {
  fc.assert(
    fc.property(routes, fc.array(asked, { minLength: 1, maxLength: 12 }), (objects, requests) => {
      const rules: Rule[] = objects.flatMap(({ age, rules }, i) =>
        rules.flatMap((matches, rule) =>
          matches.map((one, index) => ({ route: `r${i}`, age, rule, index, match: one })),
        ),
      );
      const texts = objects.map(({ age, rules }, i) =>
        JSON.stringify({
          apiVersion: 'gateway.networking.k8s.io/v1',
          kind: 'HTTPRoute',
          metadata: { name: `r${i}`, namespace: 'default', creationTimestamp: `2026-01-0${age + 1}T00:00:00Z` },
          spec: {
            parentRefs: [{ group: '', kind: 'Service', name: 'web' }],
            rules: rules.map((matches) => ({
              matches: matches.map(({ type, value, method, headers, query }) => ({
                path: { type, value },
                ...(method === undefined ? {} : { method }),
                headers: headers.map(([name, value]) => ({ name: name.toUpperCase(), value })),
                queryParams: query.map(([name, value]) => ({ name, value })),
              })),
              backendRefs: [{ name: 'web', port: 80 }],
            })),
          },
        }),
      );
      const { l7 } = compileText(documents(serviceText('web', '10.96.0.1'), ...texts.map((text) => `\n${text}\n`)));
      const compiled = l7.ports.get('default/web.default.svc.cluster.local:80')?.routes ?? [];
      for (const request of requests) {
        const expected = best(rules, request);
        const found = matchRoute(compiled, {
          method: request.method,
          scheme: 'http',
          authority: 'web',
          path: request.path,
          query: request.query.length === 0 ? '' : `?${request.query.map((pair) => pair.join('=')).join('&')}`,
          headers: request.headers.flat(),
        })?.name;
        const name =
          expected === undefined ? undefined : `default/${expected.route}/${expected.rule}/${expected.index}`;
        // Where no route says anything about the path, the last answer is 404.
        if (found !== (name ?? 'no-route-matched'))
          throw new Error(`${JSON.stringify(request)}: ${found}, not ${name}`);
      }
    }),
    { numRuns: 150 },
  );
  t.pass();
});
