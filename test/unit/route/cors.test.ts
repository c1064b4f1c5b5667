/** CORS by the words of GEP-1767 and of Fetch §3.3. */
import t from 'tap';
import { decideCors } from '../../../src/route/cors.ts';
import type { CorsPolicy } from '../../../src/route/model.ts';

const foo = 'https://www.foo.com';

function policy(fields: Partial<CorsPolicy> = {}): CorsPolicy {
  return {
    allowOrigins: [{ kind: 'exact', value: foo, ignoreCase: true }],
    allowMethods: ['GET', 'PUT'],
    allowHeaders: ['x-a', 'x-b'],
    exposeHeaders: ['x-c'],
    allowCredentials: false,
    maxAgeSeconds: 5,
    answerUnmatched: true,
    ...fields,
  };
}

const preflight = (origin = foo, headers = 'x-a') => [
  'Origin',
  origin,
  'Access-Control-Request-Method',
  'PUT',
  'access-control-request-headers',
  headers,
];

t.test('a preflight is answered with what the policy allows', async (t) => {
  t.same(decideCors(policy(), 'OPTIONS', preflight()), {
    kind: 'preflight',
    headers: [
      ...['access-control-allow-origin', foo],
      ...['access-control-allow-methods', 'GET, PUT'],
      ...['access-control-allow-headers', 'x-a, x-b'],
      ...['access-control-max-age', '5'],
      ...['vary', 'Origin'],
    ],
  });
});

t.test('stars stay stars without credentials, and are spelled out with them', async (t) => {
  const stars = { allowMethods: ['*'], allowHeaders: ['*'], maxAgeSeconds: undefined };
  const plain = decideCors(policy(stars), 'OPTIONS', preflight());
  t.same(plain.kind === 'preflight' && plain.headers.slice(2, 6), [
    ...['access-control-allow-methods', '*'],
    ...['access-control-allow-headers', '*'],
  ]);
  const credentials = decideCors(policy({ ...stars, allowCredentials: true }), 'OPTIONS', preflight(foo, 'x-q, x-r'));
  t.same(credentials.kind === 'preflight' && credentials.headers, [
    ...['access-control-allow-origin', foo],
    ...['access-control-allow-credentials', 'true'],
    ...['access-control-allow-methods', 'PUT'],
    ...['access-control-allow-headers', 'x-q, x-r'],
    ...['vary', 'Origin'],
  ]);
});

t.test('another origin is told nothing: answered here, or left to the application', async (t) => {
  t.same(decideCors(policy(), 'OPTIONS', preflight('https://evil.com')), {
    kind: 'preflight',
    headers: ['vary', 'Origin'],
  });
  t.same(decideCors(policy({ answerUnmatched: false }), 'OPTIONS', preflight('https://evil.com')), { kind: 'pass' });
  t.same(decideCors(policy(), 'GET', ['origin', 'https://evil.com']), { kind: 'pass' });
  t.same(decideCors(policy(), 'OPTIONS', ['access-control-request-method', 'GET']), { kind: 'pass' }, 'no origin');
});

t.test('a response gets the permission in place of what the application said', async (t) => {
  const decision = decideCors(policy({ allowCredentials: true }), 'GET', ['origin', foo]);
  if (decision.kind !== 'allow') throw new Error(decision.kind);
  t.same(decision.allowed(['x-d', '1', 'Access-Control-Allow-Origin', '*']), [
    ...['x-d', '1'],
    ...['Access-Control-Allow-Origin', foo],
    ...['access-control-allow-credentials', 'true'],
    ...['access-control-expose-headers', 'x-c'],
    ...['vary', 'Origin'],
  ]);
  const all = decideCors(policy({ allowCredentials: true, exposeHeaders: ['*'] }), 'GET', ['origin', foo]);
  t.same(all.kind === 'allow' && all.allowed(['X-D', '1', 'x-d', '2', 'x-e', '3']).slice(-4), [
    ...['access-control-expose-headers', 'x-d, x-e'],
    ...['vary', 'Origin'],
  ]);
});

t.test('OPTIONS without Access-Control-Request-Method is an ordinary request', async (t) => {
  t.equal(decideCors(policy(), 'OPTIONS', ['origin', foo]).kind, 'allow');
});
