/** TrafficProtection through real tunnels, from the YAML a user writes to what clients, logs and metrics are told. */
import type { RequestListener, ServerResponse } from 'node:http';
import t, { type Test } from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { type Answer, http1, http2 } from './client.ts';
import { createHarness, type Harness, type HarnessOptions, notSleepId, sleepId } from './harness.ts';
import { addRateLimitService, hello, onProductpage, protectedBy } from './protected.ts';

/** The object's spec without its target, which is the Service. */
const protect = (t: Test, spec: string, options: Partial<HarnessOptions> & { dryRun?: boolean } = {}) =>
  protectedBy(t, onProductpage(spec, options.dryRun), options);

async function get(
  harness: Harness,
  headers: Record<string, string> = {},
  identity = sleepId,
  path = '/',
): Promise<Answer> {
  return await http1(await harness.tunnel(undefined, identity), { path, headers });
}

const lastLine = async (harness: Harness, requests: number) => {
  await eventually('the report', () => harness.requests.length >= requests);
  return harness.lines.findLast((line) => line.get('response_code_details') !== undefined);
};

t.test('a rate for each client is kept by its certificate, and said so', async (t) => {
  const harness = await protect(
    t,
    'rateLimitHeaders: Draft03, localRateLimits: [{name: client, requests: 2, interval: 1h, key: [{from: ClientIdentity}]}]',
  );
  const first = await get(harness);
  t.match(first, {
    status: 200,
    headers: {
      'x-ratelimit-limit': '2, 2;w=3600;name="client"',
      'x-ratelimit-remaining': '1',
    },
  });
  t.equal((await get(harness)).headers['x-ratelimit-remaining'], '0');
  const refused = await get(harness);
  t.match(refused, { status: 429, body: 'local_rate_limited', headers: { 'x-ratelimit-remaining': '0' } });
  t.ok(Number(refused.headers['retry-after']) > 1700, 'a token comes every half an hour');
  t.equal((await get(harness, {}, notSleepId)).status, 200, 'another client has its own');
  const line = harness.lines.find((one) => one.get('response_code') === 429);
  t.equal(line?.get('response_flags'), 'RL');
  t.equal(line?.get('response_code_details'), 'local_rate_limited{default/limits/client}');
  t.equal(harness.counters('ambit_limited_requests_total')['default/limits/client local_rate_limit true'], 1);
});

t.test('a rate for each value of a header, for some requests only; without the header is a value, too', async (t) => {
  const harness = await protect(
    t,
    'localRateLimits: [{name: tenant, requests: 1, interval: 1h, key: [{header: X-Tenant}], matches: [{path: {value: /api}}]}]',
  );
  const status = async (tenant: string | undefined, path: string) =>
    (await get(harness, tenant === undefined ? {} : { 'x-tenant': tenant }, sleepId, path)).status;
  t.same(
    [
      await status('a', '/api/1'),
      await status('a', '/api/2'),
      await status('b', '/api'),
      await status(undefined, '/api'),
    ],
    [200, 429, 200, 200],
  );
  t.equal(await status(undefined, '/api'), 429);
  t.equal(await status('a', '/apis'), 200, 'not for this path');
});

t.test('who is refused by one limit uses up nothing of the others', async (t) => {
  const harness = await protect(
    t,
    `localRateLimits: [{name: all, requests: 2, interval: 1h}, {name: client, requests: 1, interval: 1h, key: [{from: ClientIdentity}]}]`,
  );
  t.same([(await get(harness)).status, (await get(harness)).status], [200, 429]);
  t.same([(await get(harness, {}, notSleepId)).status, (await get(harness, {}, notSleepId)).status], [200, 429]);
});

t.test('a gRPC client is told RESOURCE_EXHAUSTED, or UNAVAILABLE by choice', async (t) => {
  for (const [choice, code] of [
    ['ResourceExhausted', '8'],
    ['Unavailable', '14'],
  ] as const) {
    const harness = await protect(
      t,
      `grpcStatus: ${choice}, localRateLimits: [{name: all, requests: 1, interval: 1h}]`,
    );
    await get(harness);
    const { headers } = await http2(await harness.tunnel(), { 'content-type': 'application/grpc' }, 'x');
    t.match(headers, { ':status': 200, 'grpc-status': code, 'grpc-message': 'local_rate_limited' });
  }
});

t.test('a dry run counts and logs, and refuses nothing', async (t) => {
  const harness = await protect(
    t,
    `localRateLimits: [{name: all, requests: 1, interval: 1h}], requestSize: {maxHeaders: 1}`,
    { dryRun: true },
  );
  const two = { 'x-a': '1', 'x-b': '2' };
  t.same([(await get(harness, two)).status, (await get(harness, two)).status], [200, 200]);
  t.equal(harness.counters('ambit_limited_requests_total')['default/limits/all local_rate_limit false'], 1);
  await lastLine(harness, 2);
  const audited = harness.lines.findLast((line) => line.get('audit') !== undefined);
  t.equal(audited?.get('audit'), 'TrafficProtection default/limits,TrafficProtection default/limits/all');
});

t.test('sizes: 431 for headers, 413 for a body, by its length or where it turns out too long', async (t) => {
  let arrived = 0;
  const reading: RequestListener = (request, response) => {
    request.on('data', (chunk: Buffer) => {
      arrived += chunk.length;
    });
    request.on('error', () => {});
    request.once('end', () => response.end('read'));
  };
  const harness = await protect(t, 'requestSize: {maxBodyBytes: 1000, maxHeaderBytes: 400}', { pods: [reading] });
  t.equal((await get(harness, { 'x-large': 'a'.repeat(400) })).status, 431);
  const post = async (body: string, headers: Record<string, string>) =>
    await http1(await harness.tunnel(), { method: 'POST', body, headers });
  t.equal((await post('a'.repeat(1000), { 'content-length': '1000' })).status, 200);
  arrived = 0;
  t.match(await post('a'.repeat(1001), { 'content-length': '1001' }), { status: 413, body: 'Payload Too Large' });
  t.equal(arrived, 0, 'nothing of it was forwarded');
  t.match(await post('a'.repeat(5000), { 'transfer-encoding': 'chunked' }), { status: 413, body: 'Payload Too Large' });
  t.ok(arrived <= 1000);
  t.equal((await post('a'.repeat(1000), { 'transfer-encoding': 'chunked' })).status, 200);
  const long = await http2(await harness.tunnel(), {}, 'a'.repeat(5000));
  t.equal(long.headers[':status'], 413, 'HTTP/2 as well');
});

/** Requests wait at the pod until they are let go. */
function holding(): { readonly listener: RequestListener; readonly held: ServerResponse[]; release(): void } {
  const held: ServerResponse[] = [];
  return {
    held,
    listener: (_request, response) => void held.push(response),
    release() {
      for (const response of held.splice(0)) response.end('done');
    },
  };
}

t.test(
  'so many at a time; others wait for their turn, in rotation of clients, or are told to come again',
  async (t) => {
    const pod = holding();
    const harness = await protect(
      t,
      'concurrencyLimits: [{name: few, maxRequests: 1, maxQueued: 2, queueTimeout: 1h}]',
      {
        pods: [pod.listener],
      },
    );
    const begin = async (identity = sleepId) => {
      const stream = await harness.tunnel(undefined, identity);
      const answer = http1(stream);
      return { stream, answer: within('an answer', answer) };
    };
    const first = await begin();
    await eventually('the first to arrive', () => pod.held.length === 1);
    const second = await begin();
    const third = await begin();
    const turnstile = harness.waypoint.services.protections.turnstile(
      harness.model.protections?.services.values().next().value?.[0]?.concurrency[0] as never,
    );
    await eventually('both to wait', () => turnstile.waiting('') === 2);
    t.match(await (await begin()).answer, {
      status: 503,
      headers: { 'retry-after': '1', 'x-envoy-overloaded': 'true' },
    });
    const other = await begin(notSleepId);
    t.equal((await third.answer).status, 503, 'who waits with two gives way to who has none');
    pod.release();
    t.equal((await first.answer).status, 200);
    await eventually('the next to have its turn', () => pod.held.length === 1 && turnstile.waiting('') === 1);
    second.stream.destroy();
    await second.answer.catch(() => {});
    await eventually('its place to be handed on', () => pod.held.length === 2);
    pod.release();
    t.equal((await other.answer).status, 200);
    await eventually('all places to be given back', () => turnstile.keys === 0);
    const line = harness.lines.find((one) => one.get('response_code') === 503);
    t.match(line?.get('response_code_details'), /^concurrency_limit(_waited)?\{default\/limits\/few\}$/);
    t.equal(line?.get('response_flags'), 'UO');
  },
);

t.test('near the limit of the waypoint no client gets more than its share', async (t) => {
  const pod = holding();
  const harness = await createHarness(t, { pods: [pod.listener], overload: { maxRequests: 10 } });
  const begin = async (identity: typeof sleepId) =>
    within('an answer', http1(await harness.tunnel(undefined, identity)));
  const greedy = await Promise.all(Array.from({ length: 7 }, async () => ({ answer: begin(sleepId) })));
  await eventually('them to arrive', () => pod.held.length === 7);
  const modest = [{ answer: begin(notSleepId) }];
  await eventually('another client to get in', () => pod.held.length === 8);
  const refused = await begin(sleepId);
  t.match(refused, { status: 503, body: 'overloaded: client_share', headers: { 'retry-after': '1' } });
  modest.push({ answer: begin(notSleepId) });
  await eventually('it to get in still', () => pod.held.length === 9);
  t.equal(harness.waypoint.services.admission.requests, 9);
  pod.release();
  for (const { answer } of [...greedy, ...modest]) t.equal((await answer).status, 200);
  await eventually('none to be counted', () => harness.waypoint.services.admission.requests === 0);
  const line = harness.lines.find((one) => one.get('response_code') === 503);
  t.equal(line?.get('response_code_details'), 'overload{client_share}');
  t.equal(line?.get('response_flags'), 'OM');
  t.equal(harness.counters('ambit_shed_total').client_share, 1);
});

t.test('tunnels are shared in the same way', async (t) => {
  const harness = await createHarness(t, { pods: [hello], overload: { maxTunnels: 5 } });
  for (let i = 0; i < 4; i++) await harness.tunnel();
  await harness.tunnel(undefined, notSleepId);
  t.match(await harness.connect('10.96.179.71:9080'), { kind: 'refused', status: 503 });
});

/** With a rate limit service in the mesh. */
async function withService(t: Test, fields: string, spec = '') {
  const harness = await protect(
    t,
    `${spec} globalRateLimits: [{name: shop, domain: shop, service: {name: ratelimit, port: 80}, ${fields},
      descriptors: [{entries: [{key: client, from: ClientIdentity}, {key: user, header: x-user}]}, {entries: [{key: path, from: Path}]}]}]`,
  );
  const server = await addRateLimitService(t, harness);
  return { server, harness };
}

t.test('a rate limit service is asked with descriptors of the request, and heeded', async (t) => {
  const { server, harness } = await withService(t, 'timeout: 2s, hitsAddend: 2', 'rateLimitHeaders: Draft03,');
  const status = (code: number, limitRemaining: number) => ({
    code,
    currentLimit: { requestsPerUnit: 5, unit: 2, name: 'users' },
    limitRemaining,
    durationUntilReset: { seconds: 30n },
  });
  server.decide = () => ({
    overallCode: 1,
    statuses: [status(1, 4)],
    requestHeadersToAdd: [
      { key: 'X-Plan', value: 'gold' },
      { key: 'content-length', value: '1' },
    ],
    responseHeadersToAdd: [{ key: 'x-served', value: 'by limits' }],
  });
  const passed = await get(harness, { 'x-user': 'ada', 'x-plan': 'mine' }, sleepId, '/cart?id=1');
  t.match(passed, {
    status: 200,
    headers: {
      'x-ratelimit-limit': '5, 5;w=60;name="users"',
      'x-ratelimit-remaining': '4',
      'x-ratelimit-reset': '30',
      'x-served': 'by limits',
    },
  });
  t.equal(JSON.parse(String(passed.headers['x-seen']))['x-plan'], 'gold');
  t.match(server.questions[0], {
    domain: 'shop',
    hitsAddend: 2,
    descriptors: [
      {
        entries: [
          { key: 'client', value: sleepId },
          { key: 'user', value: 'ada' },
        ],
      },
      { entries: [{ key: 'path', value: '/cart' }] },
    ],
  });
  await get(harness);
  t.equal(server.questions[1]?.descriptors.length, 1, 'a descriptor without its header is left out');
  server.decide = () => ({ overallCode: 2, statuses: [status(2, 0)], rawBody: Buffer.from('too often') });
  t.match(await get(harness), {
    status: 429,
    body: 'too often',
    headers: { 'retry-after': '30', 'x-envoy-ratelimited': 'true', 'x-ratelimit-remaining': '0' },
  });
  const line = await lastLine(harness, 3);
  t.equal(line?.get('response_flags'), 'RL');
  t.equal(line?.get('response_code_details'), 'request_rate_limited{default/limits/shop}');
});

t.test('without a good answer a request is refused, or passes where the limit says so', async (t) => {
  const answers = {
    silence: () => 'silence' as const,
    'no message': () => Buffer.from([0xff, 0xff]),
    'no code': () => ({}),
    'too much': () => ({ overallCode: 1, rawBody: Buffer.alloc(100_000) }),
  };
  for (const [name, decide] of Object.entries(answers)) {
    for (const failOpen of [false, true]) {
      const { server, harness } = await withService(
        t,
        `timeout: ${name === 'silence' ? '100ms' : '2s'}, failOpen: ${failOpen}`,
      );
      server.decide = decide;
      t.equal((await get(harness)).status, failOpen ? 200 : 503, `${name}, failOpen ${failOpen}`);
      const line = await lastLine(harness, 1);
      if (!failOpen) t.equal(line?.get('response_flags'), 'RLSE', name);
    }
  }
});

t.test('a client that leaves while the service is asked is logged, and nothing is forwarded', async (t) => {
  const { server, harness } = await withService(t, 'timeout: 1h');
  server.decide = () => 'silence';
  const stream = await harness.tunnel();
  const answer = http1(stream).catch(() => 'left');
  await eventually('the question', () => server.questions.length === 1);
  stream.destroy();
  t.equal(await answer, 'left');
  const line = await lastLine(harness, 1);
  t.equal(line?.get('response_flags'), 'DC');
  t.equal(harness.arrived.length, 0);
});
