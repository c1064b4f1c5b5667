/** Rewrites, redirects, header changes, weights and retries. */
import fc from 'fast-check';
import t from 'tap';
import { chooseBackend } from '../../../src/route/backend.ts';
import { applyHeaderChange, changedHost } from '../../../src/route/header-change.ts';
import type { PathMatch, Redirect, RetryPolicy, RouteBackend } from '../../../src/route/model.ts';
import { defaultRetryPolicy, retryDelayMs, shouldRetry } from '../../../src/route/retry.ts';
import { redirectLocation, rewritePath } from '../../../src/route/rewrite.ts';

const prefix = (value: string): PathMatch => ({ kind: 'path-prefix', value });

t.test('a matched prefix is replaced segment-wise and the path never becomes empty', async (t) => {
  const cases: [string, string, string, string][] = [
    ['/prefix/one', '/prefix', '/one', '/one/one'],
    ['/prefix/one', '/prefix', '/', '/one'],
    ['/prefix', '/prefix', '/', '/'],
    ['/prefix', '/prefix', '', '/'],
    ['/prefix/', '/prefix/', '/x', '/x/'],
    ['/prefix/one', '/prefix', '/x/', '/x/one'],
    ['/anything', '/', '/v1', '/v1/anything'],
  ];
  for (const [path, value, to, expected] of cases) {
    t.equal(rewritePath(path, { kind: 'prefix', value: to }, prefix(value)), expected, `${path} ${value} ${to}`);
  }
  t.equal(rewritePath('/a', { kind: 'full', value: '/b' }, prefix('/a')), '/b');
  t.equal(
    rewritePath('/apple', { kind: 'prefix', value: '/b' }, { kind: 'text-prefix', value: '/a', ignoreCase: false }),
    '/bpple',
  );
});

t.test('a redirect keeps what it does not name', async (t) => {
  const request = { method: 'GET', scheme: 'http', authority: 'a:9080', path: '/p/x', query: '?q', headers: [] };
  const location = (redirect: Partial<Redirect>, port = 9080) =>
    redirectLocation(
      { scheme: undefined, host: undefined, port: undefined, path: undefined, status: 302, ...redirect },
      request,
      port,
      prefix('/p'),
    );
  t.equal(location({}), 'http://a:9080/p/x?q');
  t.equal(location({ host: 'b' }), 'http://b:9080/p/x?q');
  t.equal(location({ scheme: 'https' }), 'https://a/p/x?q');
  t.equal(location({ port: 80 }), 'http://a/p/x?q');
  t.equal(location({ scheme: 'https', port: 8443 }), 'https://a:8443/p/x?q');
  t.equal(location({ path: { kind: 'prefix', value: '/n' } }), 'http://a:9080/n/x?q');
});

t.test('headers are set, then added, then removed; framing is out of reach', async (t) => {
  const change = {
    set: [
      ['X-A', 'new'],
      ['content-length', '0'],
      ['Host', 'other'],
    ] as const,
    add: [['x-b', '2']] as const,
    remove: ['X-C', 'connection'],
  };
  t.same(applyHeaderChange(['x-a', '1', 'x-b', '1', 'x-c', '1'], change), ['x-a', 'new', 'x-b', '1', 'x-b', '2']);
  t.equal(changedHost(change), 'other');
});

t.test('weights share traffic in proportion, zero gets none', async (t) => {
  const backend = (weight: number): RouteBackend => ({
    service: `ns/${weight}`,
    port: 80,
    weight,
    requestHeaders: undefined,
    responseHeaders: undefined,
  });
  let draw = 0;
  const hundred = { next: () => (draw++ % 100) / 100 + 0.001 };
  const counts = new Map<string | undefined, number>();
  for (let i = 0; i < 100; i++) {
    const choice = chooseBackend([backend(90), backend(0), backend(10)], hundred);
    const key = choice.kind === 'backend' ? choice.backend.service : undefined;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  t.same([...counts].sort(), [
    ['ns/10', 10],
    ['ns/90', 90],
  ]);
  t.same(chooseBackend([backend(0)], hundred), { kind: 'none' });
  t.same(chooseBackend([], hundred), { kind: 'none' });
});

t.test('by default only what was not processed is tried again, twice', async (t) => {
  t.ok(shouldRetry(defaultRetryPolicy, 0, { kind: 'connect-failure' }));
  t.ok(shouldRetry(defaultRetryPolicy, 1, { kind: 'refused-stream' }));
  t.notOk(shouldRetry(defaultRetryPolicy, 2, { kind: 'connect-failure' }));
  t.notOk(shouldRetry(defaultRetryPolicy, 0, { kind: 'reset' }));
  t.notOk(shouldRetry(defaultRetryPolicy, 0, { kind: 'status', status: 503 }));
});

t.test('a status is retried when a condition covers it', async () => {
  const fields = {
    onConnectFailure: fc.boolean(),
    onRefusedStream: fc.boolean(),
    onReset: fc.boolean(),
    on5xx: fc.boolean(),
    onGatewayError: fc.boolean(),
    onRetriable4xx: fc.boolean(),
  };
  fc.assert(
    fc.property(
      fc.record(fields),
      fc.uniqueArray(fc.integer({ min: 400, max: 599 })),
      fc.integer({ min: 100, max: 599 }),
      (flags, codes, status) => {
        const policy: RetryPolicy = { ...defaultRetryPolicy, ...flags, statusCodes: new Set(codes) };
        const oracle =
          codes.includes(status) ||
          (flags.on5xx && status > 499) ||
          (flags.onGatewayError && [502, 503, 504].includes(status)) ||
          (flags.onRetriable4xx && status === 409);
        return shouldRetry(policy, 0, { kind: 'status', status }) === oracle;
      },
    ),
  );
});

t.test('waits grow, with jitter, up to ten times the base', async (t) => {
  const most = { next: () => 0.999 };
  const waits = [0, 1, 2, 3, 4, 5].map((n) =>
    Math.round(retryDelayMs({ ...defaultRetryPolicy, backoffMs: 100 }, n, most)),
  );
  t.same(waits, [100, 200, 400, 799, 999, 999]);
});
