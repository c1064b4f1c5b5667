/**
 * Envoy's rate limit filter and our waypoint ask the same rate limit service about the same requests: the questions are the
 * same, and so is what clients are told of the answers.
 */
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import type { SocketAddress } from '../../src/base/address.ts';
import { http1 } from '../integration/waypoint/client.ts';
import { addRateLimitService, onProductpage, protectedBy } from '../integration/waypoint/protected.ts';
import { missingEnvoy, startEnvoy } from '../support/envoy.ts';
import type { Question, RateLimitServer } from '../support/rate-limit-server.ts';

const spec = `rateLimitHeaders: Draft03, globalRateLimits: [{name: shop, domain: shop, timeout: 5s,
  service: {name: ratelimit, port: 80}, descriptors: [
    {entries: [{key: api, value: v1}, {key: user, header: x-user}]},
    {entries: [{key: path, from: Path}, {key: method, from: Method}]},
    {entries: [{key: plan, header: x-plan}]}]}]`;

/** The same for Envoy. */
const actions = [
  { actions: [{ generic_key: { descriptor_key: 'api', descriptor_value: 'v1' } }, header('user', 'x-user')] },
  { actions: [header('path', ':path'), header('method', ':method')] },
  { actions: [header('plan', 'x-plan')] },
];

function header(key: string, name: string) {
  return { request_headers: { header_name: name, descriptor_key: key } };
}

t.test('questions and answers are those of Envoy', { skip: await missingEnvoy() }, async (t) => {
  const harness = await protectedBy(t, onProductpage(spec));
  const server = await addRateLimitService(t, harness);
  const envoy = await envoyWithLimits(t, server.port);
  const both = async (headers: Record<string, string>) => {
    const from = server.questions.length;
    const ours = await http1(await harness.tunnel(), { path: '/cart', headers });
    const theirs = await ask(envoy, headers);
    return { ours, theirs, questions: server.questions.slice(from) };
  };

  await t.test('a request within its limit', async (t) => {
    answer(server, 1, 4);
    const { ours, theirs, questions } = await both({ 'x-user': 'ada', 'x-plan': 'gold' });
    t.same([ours.status, theirs.status], [200, 200]);
    t.same(plain(questions[0]), plain(questions[1]), 'the same question');
    t.equal(questions[0]?.descriptors.length, 3);
    t.same(limitHeaders(ours.headers), limitHeaders(theirs.headers), 'the same x-ratelimit-*');
    t.ok(limitHeaders(ours.headers).every((value) => value !== undefined));
  });

  await t.test('a header that is not there takes its descriptor with it', async (t) => {
    const { questions } = await both({ 'x-user': 'ada' });
    t.same(plain(questions[0]), plain(questions[1]));
    t.equal(questions[0]?.descriptors.length, 2);
  });

  await t.test('a request over its limit', async (t) => {
    answer(server, 2, 0);
    const { ours, theirs } = await both({ 'x-user': 'ada' });
    t.same([ours.status, theirs.status], [429, 429]);
    t.same(limitHeaders(ours.headers), limitHeaders(theirs.headers));
    t.equal(ours.headers['x-envoy-ratelimited'], theirs.headers['x-envoy-ratelimited']);
  });

  await t.test('a service that fails: Envoy lets the request pass unless told otherwise, we refuse it', async (t) => {
    server.decide = () => Buffer.from([0xff]);
    const { ours, theirs } = await both({ 'x-user': 'ada' });
    t.same([ours.status, theirs.status], [503, 200]);
  });
});

function answer(server: RateLimitServer, code: number, limitRemaining: number): void {
  const status = (requestsPerUnit: number, unit: number, name: string) => ({
    code,
    currentLimit: { requestsPerUnit, unit, name },
    limitRemaining,
    durationUntilReset: { seconds: 30n },
  });
  server.decide = () => ({ overallCode: code, statuses: [status(5, 2, 'users'), status(9, 3, '')] });
}

/** Without `hits_addend`: Envoy leaves it out where it is 1, which is what services take it for. */
function plain(question: Question | undefined) {
  return {
    domain: question?.domain,
    descriptors: question?.descriptors.map(({ entries }) => entries.map(({ key, value }) => [key, value])),
  };
}

function limitHeaders(headers: Readonly<Record<string, unknown>>) {
  return ['limit', 'remaining', 'reset'].map((name) => headers[`x-ratelimit-${name}`]);
}

function ask(address: SocketAddress, headers: Record<string, string>) {
  return new Promise<{ status: number; headers: Record<string, unknown> }>((resolve, reject) => {
    const outgoing = request(
      { host: address.ip, port: address.port, path: '/cart', agent: false, headers },
      (response) => {
        text(response).then(() => resolve({ status: response.statusCode ?? 0, headers: response.headers }), reject);
      },
    );
    outgoing.on('error', reject).end();
  });
}

async function envoyWithLimits(t: Test, port: number): Promise<SocketAddress> {
  const typed = (type: string, fields: object) => ({ '@type': `type.googleapis.com/${type}`, ...fields });
  const limits = typed('envoy.extensions.filters.http.ratelimit.v3.RateLimit', {
    domain: 'shop',
    timeout: '5s',
    enable_x_ratelimit_headers: 'DRAFT_VERSION_03',
    rate_limit_service: {
      transport_api_version: 'V3',
      grpc_service: { envoy_grpc: { cluster_name: 'limits' } },
    },
  });
  const manager = typed('envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
    stat_prefix: 'entry',
    http_filters: [
      { name: 'envoy.filters.http.ratelimit', typed_config: limits },
      { name: 'envoy.filters.http.router', typed_config: typed('envoy.extensions.filters.http.router.v3.Router', {}) },
    ],
    route_config: {
      virtual_hosts: [
        {
          name: 'all',
          domains: ['*'],
          rate_limits: actions,
          routes: [{ match: { prefix: '/' }, route: { cluster: 'app' } }],
        },
      ],
    },
  });
  const clusterTo = (name: string, address: string, port_value: number, options = {}) => ({
    name,
    type: 'STATIC',
    connect_timeout: '5s',
    ...options,
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address, port_value } } } }] }],
    },
  });
  const http2 = typed('envoy.extensions.upstreams.http.v3.HttpProtocolOptions', {
    explicit_http_config: { http2_protocol_options: {} },
  });
  const clusters = [
    clusterTo('app', '127.0.0.1', await startApplication(t)),
    clusterTo('limits', '127.0.0.9', port, {
      typed_extension_protocol_options: { 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': http2 },
    }),
  ];
  const listener = {
    name: 'entry',
    address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
    filter_chains: [{ filters: [{ name: 'http', typed_config: manager }] }],
  };
  const envoy = await startEnvoy(t, { static_resources: { listeners: [listener], clusters } });
  return envoy.listener('entry');
}

async function startApplication(t: Test): Promise<number> {
  const server = createServer((_request, response) => response.end('ok'));
  t.teardown(() => server.close().closeAllConnections());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}
