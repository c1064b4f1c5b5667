/** Retry conditions, their words, what is never sent twice, and budgets. */
import t from 'tap';
import { readRetryOn } from '../../../src/compile/retry-on.ts';
import { defaultRetryPolicy, mayRepeat, shouldRetry, statusResult, type TryResult } from '../../../src/route/retry.ts';
import type { RetryPolicy } from '../../../src/route/retry-policy.ts';
import { Circuit, defaultBudget, noLimits } from '../../../src/upstream/circuit.ts';

const none: RetryPolicy = {
  ...defaultRetryPolicy,
  onConnectFailure: false,
  onRefusedStream: false,
  grpcStatuses: new Set(),
};

function policyOf(retryOn: string): RetryPolicy {
  return { ...none, ...readRetryOn(retryOn).conditions };
}

const results: Readonly<Record<string, TryResult>> = {
  connect: { kind: 'connect-failure' },
  refused: { kind: 'refused-stream' },
  reset: { kind: 'reset' },
  500: { kind: 'status', status: 500 },
  503: { kind: 'status', status: 503 },
  409: { kind: 'status', status: 409 },
  418: { kind: 'status', status: 418 },
  unavailable: { kind: 'status', status: 200, grpcStatus: 14 },
  internal: { kind: 'status', status: 200, grpcStatus: 13 },
  limited: { kind: 'status', status: 503, rateLimited: true },
  overflow: { kind: 'overflow' },
};

/** Envoy's documentation of x-envoy-retry-on and x-envoy-retry-grpc-on, condition by condition. */
const covers: Readonly<Record<string, readonly string[]>> = {
  '5xx': ['connect', 'refused', 'reset', '500', '503'],
  'gateway-error': ['connect', 'refused', 'reset', '503'],
  reset: ['connect', 'refused', 'reset'],
  'reset-before-request': ['connect', 'refused'],
  'connect-failure': ['connect'],
  'refused-stream': ['refused'],
  'retriable-4xx': ['409'],
  '418': ['418'],
  'retriable-status-codes,503': ['503'],
  unavailable: ['unavailable'],
  internal: ['internal'],
  'envoy-ratelimited': ['limited'],
  '': ['connect', 'refused', 'unavailable'],
};

for (const [words, covered] of Object.entries(covers)) {
  t.test(`retryOn "${words}" covers what Envoy says`, async (t) => {
    const retried = Object.entries(results).filter(([, result]) => shouldRetry(policyOf(words), 0, result));
    t.same(retried.map(([name]) => name).sort(), [...covered].sort());
  });
}

t.test('words that say nothing are told', async (t) => {
  t.same(readRetryOn('5xx,retriable-headers, nonsense,503').unknown, ['retriable-headers', 'nonsense']);
});

t.test(
  'what may change something goes out again only when it was not acted upon, whatever the answers that are named',
  async (t) => {
    const policy = policyOf('5xx,gateway-error,reset,retriable-4xx,connect-failure,refused-stream,418,unavailable');
    const retried = (own: RetryPolicy) =>
      Object.entries(results)
        .filter(([, result]) => shouldRetry(own, 0, result, false))
        .map(([name]) => name)
        .sort();
    t.same(retried(policy), ['connect', 'refused', 'unavailable']);
    const named = policyOf('421,425,429,408,503');
    const again = [421, 425, 429, 408, 503].filter((status) =>
      shouldRetry(named, 0, { kind: 'status', status }, false),
    );
    t.same(again, [421, 425, 429], 'a server that says so did nothing');
    t.notOk(shouldRetry(policy, 0, { kind: 'status', status: 429 }, false), 'only where it is asked for');
    t.notOk(shouldRetry(policy, 0, { kind: 'per-try-timeout' }, false));
    t.same(retried({ ...policy, nonIdempotent: true }), [
      '409',
      '418',
      '500',
      '503',
      'connect',
      'refused',
      'reset',
      'unavailable',
    ]);
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']) t.ok(mayRepeat(method, []), method);
    for (const method of ['POST', 'PATCH', 'LOCK', 'get']) t.notOk(mayRepeat(method, []), method);
    t.ok(mayRepeat('POST', ['Idempotency-Key', '"8e03978e"']), 'the client says that it may be repeated');
  },
);

t.test(
  'a kept connection that broke before anything came back is as good as none, for what may be repeated',
  async (t) => {
    const stale = { kind: 'reset', stale: true } as const;
    t.ok(shouldRetry(defaultRetryPolicy, 0, stale));
    t.notOk(shouldRetry(defaultRetryPolicy, 0, stale, false));
    t.notOk(shouldRetry(none, 0, stale));
    t.notOk(shouldRetry(defaultRetryPolicy, 0, { kind: 'reset' }));
  },
);

t.test('a gRPC status counts where it came without a message', async (t) => {
  t.match(statusResult(200, ['grpc-status', '14']), { grpcStatus: 14 });
  t.match(statusResult(503, ['x-envoy-ratelimited', 'true']), { rateLimited: true, grpcStatus: undefined });
});

t.test('retries that cost the application something are a share of what is under way', async (t) => {
  const circuit = new Circuit();
  for (let i = 0; i < 200; i++) t.ok(circuit.enterRequest());
  let entered = 0;
  while (circuit.enterRetry(false)) entered++;
  t.equal(entered, (200 * defaultBudget.percent) / 100);
  t.ok(circuit.enterRetry(true), 'those that never arrived are not counted against it');
  for (let i = 0; i < 31; i++) circuit.leaveRetry();
  for (let i = 0; i < 195; i++) circuit.leaveRequest();
  entered = 0;
  while (circuit.enterRetry(false)) entered++;
  t.equal(entered, 0, 'ten are still under way');
  circuit.leaveRetry();
  t.ok(circuit.enterRetry(false), 'few requests may all be tried again');
});

t.test('a budget that was set counts every retry, a plain limit those alone that are under way', async (t) => {
  const refused: string[] = [];
  const counted = (resource: string) => {
    refused.push(resource);
    return { value: 0 };
  };
  const budgeted = new Circuit({ ...noLimits, budget: { percent: 50, minRetryConcurrency: 1 } }, counted);
  for (let i = 0; i < 4; i++) budgeted.enterRequest();
  t.same(
    [true, true, true].map((unsent) => budgeted.enterRetry(unsent)),
    [true, true, false],
  );
  const limited = new Circuit({ ...noLimits, maxRetries: 1, maxRequests: 1 }, counted);
  t.same([limited.enterRequest(), limited.enterRequest()], [true, false]);
  t.same([limited.enterRetry(true), limited.enterRetry(true)], [true, false]);
  t.same(refused, ['retries', 'requests', 'retries']);
});
