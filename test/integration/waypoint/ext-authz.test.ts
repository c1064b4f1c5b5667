/** AuthorizationPolicy with action CUSTOM: providers over HTTP and gRPC, asked through real tunnels. */
import { once } from 'node:events';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import { connect } from 'node:http2';
import { createServer as createTcpServer, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { emptyDestinationPolicy } from '../../../src/route/destination.ts';
import type { GrpcExtAuthz, HttpExtAuthz } from '../../../src/route/mesh-config.ts';
import { emptyL7Model, type L7Policy } from '../../../src/route/model.ts';
import { buildWaypointViews } from '../../../src/waypoint/view.ts';
import { plainPool } from '../../support/connection-pool.ts';
import { eventually } from '../../support/eventually.ts';
import { createExtAuthz, type ExtAuthzServer } from '../../support/ext-authz.ts';
import { makeChange, makePort, makeService, makeWorkload } from '../../support/mesh-records.ts';
import { http1, http2 } from './client.ts';
import { createHarness, type Harness, notSleepId, podIp, productId, serviceKey, sleepId, vip } from './harness.ts';

t.setTimeout(60_000);

const authzHost = 'authz.default.svc.cluster.local';

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: string;
}

const common = {
  name: 'authz',
  target: { hostname: authzHost, namespace: undefined, port: 9080 },
  timeoutMs: 5_000,
  failOpen: false,
  statusOnError: 403,
  body: undefined,
  clearRouteCache: false,
} as const;

const grpcProvider: GrpcExtAuthz = { kind: 'ext-authz-grpc', ...common };
const httpProvider: HttpExtAuthz = {
  kind: 'ext-authz-http',
  ...common,
  pathPrefix: '',
  includeRequestHeaders: [],
  additionalHeaders: [],
  headersToUpstreamOnAllow: [],
  headersToDownstreamOnDeny: [],
  headersToDownstreamOnAllow: [],
};

const everything: L7Policy['rules'] = [{ clauses: [] }];
const pathRule = (value: string): L7Policy['rules'] => [
  { clauses: [[[{ kind: 'path', values: [{ kind: 'prefix', value, ignoreCase: false }], notValues: [] }]]] },
];

function policy(rules: L7Policy['rules'], dryRun = false, name = 'ask'): L7Policy {
  return { source: { kind: 'AuthorizationPolicy', namespace: 'default', name }, action: 'deny', dryRun, rules };
}

interface Asking {
  readonly provider: GrpcExtAuthz | HttpExtAuthz | undefined;
  readonly rules?: L7Policy['rules'];
  readonly dryRun?: boolean;
}

function setCustom(harness: Harness, ...askings: readonly Asking[]): void {
  const authorizations = askings.map(({ provider, rules = everything, dryRun }, i) => ({
    providerName: provider?.name ?? `nobody-${i}`,
    provider,
    policies: [policy(rules, dryRun)],
  }));
  harness.model = {
    ...emptyL7Model,
    customAuthorizations: { services: new Map([[serviceKey, authorizations]]), gateways: new Map() },
  };
}

/** Pod 1 leaves the service and becomes the provider's only one. */
function splitAuthz(harness: Harness, appProtocol: 'http11' | 'grpc'): void {
  harness.mesh.apply(
    makeChange({
      services: [makeService({ name: 'authz', ports: new Map([[9080, makePort(9080, 0, { appProtocol })]]) })],
      workloads: [
        makeWorkload({
          name: 'productpage-1',
          serviceAccount: 'bookinfo-productpage',
          addresses: [podIp(1)],
          services: new Map([[`default/${authzHost}`, new Map([[9080, harness.podPort]])]]),
          tunnelProtocol: 'hbone',
        }),
      ],
    }),
  );
}

const app: RequestListener = (request, response) => {
  void text(request).then(
    (body) => {
      const { method = '', url = '', headers } = request;
      response.setHeader('x-app', 'yes');
      response.end(JSON.stringify({ method, url, headers, body } satisfies Seen));
    },
    () => {},
  );
};

const seenBy = (body: string): Seen => JSON.parse(body) as Seen;

async function grpcWorld(t: Test, answer: ExtAuthzServer['answer'], options: { readonly bodyTimeoutMs?: number } = {}) {
  const authz = createExtAuthz(t, answer);
  const servers = [createServer(app), authz.server];
  const harness = await createHarness(t, { pods: [app, () => {}], servers, ...options });
  splitAuthz(harness, 'grpc');
  setCustom(harness, { provider: grpcProvider });
  return { authz, harness };
}

async function httpWorld(t: Test, answer: (seen: Seen, response: ServerResponse) => void) {
  const checks: Seen[] = [];
  const provider: RequestListener = (request, response) => {
    void text(request).then(
      (body) => {
        const { method = '', url = '', headers } = request;
        checks.push({ method, url, headers, body });
        answer({ method, url, headers, body }, response);
      },
      () => {},
    );
  };
  const harness = await createHarness(t, { pods: [app, provider] });
  splitAuthz(harness, 'http11');
  setCustom(harness, { provider: httpProvider });
  return { checks, harness };
}

t.test('gRPC: the provider is told who asks for what, through its tunnel, and what it allows passes', async (t) => {
  const { authz, harness } = await grpcWorld(t, () => ({ status: { code: 0 } }));
  const headers = { 'X-A': '1', 'x-b': ['2', '3'], 'x-forwarded-client-cert': 'forged' };
  const answer = await http1(await harness.tunnel(), { method: 'POST', path: '/a/../b?q=1', headers, body: 'hello' });
  t.equal(answer.status, 200);
  t.match(seenBy(answer.body), { method: 'POST', url: '/b?q=1', body: 'hello' });
  const attributes = authz.checks[0]?.attributes;
  t.equal(attributes?.source?.principal, sleepId);
  t.equal(attributes?.destination?.principal, productId);
  t.match(attributes?.source?.address?.socketAddress, { address: '127.0.0.1' });
  t.match(attributes?.destination?.address?.socketAddress, { address: vip, portValue: 9080 });
  const http = attributes?.request?.http;
  t.match(http, { method: 'POST', path: '/b?q=1', host: 'productpage:9080', scheme: 'http', protocol: 'HTTP/1.1' });
  t.equal(http?.size, 5n);
  t.equal(http?.body, '');
  t.match(http?.headers, {
    ':authority': 'productpage:9080',
    ':method': 'POST',
    ':path': '/b?q=1',
    'x-a': '1',
    'x-b': '2,3',
    'x-forwarded-proto': 'http',
    'x-request-id': http?.id,
  });
  t.notOk('x-forwarded-client-cert' in (http?.headers ?? {}), 'what the client forges is not shown');
  t.ok(
    harness.arrived.some(({ authority }) => authority === `${podIp(1)}:${harness.podPort}`),
    'asked through a tunnel',
  );
});

t.test('gRPC: what the provider changes of a request and of its response', async (t) => {
  const set = (key: string, value: string, more = {}) => ({ header: { key, value }, ...more });
  const { harness } = await grpcWorld(t, () => ({
    status: { code: 0 },
    httpResponse: {
      case: 'okResponse',
      value: {
        headers: [
          set('x-user', 'alice'),
          set('x-list', 'b', { append: { value: true } }),
          set('x-none', 'b', { append: { value: true } }),
          set('x-absent', 'new', { appendAction: 1 }),
          set('x-here', 'no', { appendAction: 1 }),
          set('host', 'evil'),
          set('content-length', '0'),
          set(':path', '/evil'),
          set('transfer-encoding', 'chunked'),
        ],
        headersToRemove: ['x-secret', 'Host', ':method'],
        responseHeadersToAdd: [set('x-checked', 'yes')],
        queryParametersToSet: [{ key: 'user', value: 'a b' }],
        queryParametersToRemove: ['token'],
      },
    },
  }));
  const headers = { 'x-user': 'forged', 'x-list': 'a', 'x-here': 'old', 'x-secret': 's' };
  const answer = await http1(await harness.tunnel(), { path: '/p?token=t&q=%2F', headers });
  const seen = seenBy(answer.body);
  t.match(seen.headers, {
    host: 'productpage:9080',
    'x-user': 'alice',
    'x-list': 'a,b',
    'x-absent': 'new',
    'x-here': 'old',
  });
  t.notOk('x-none' in seen.headers);
  t.notOk('x-secret' in seen.headers);
  t.notOk('transfer-encoding' in seen.headers);
  t.equal(seen.url, '/p?q=%2F&user=a%20b');
  t.match(answer.headers, { 'x-app': 'yes', 'x-checked': 'yes' });
});

t.test('gRPC: a denial is answered as the provider says, 403 unless it does', async (t) => {
  const { authz, harness } = await grpcWorld(t, () => ({ status: { code: 7 } }));
  const plain = await http1(await harness.tunnel());
  t.equal(plain.status, 403);
  await eventually('the line', () => harness.lines.length > 0);
  t.match(
    harness.lines[0],
    new Map([
      ['response_flags', 'UAEX'],
      ['response_code_details', 'ext_authz_denied'],
    ]),
  );
  authz.answer = () => ({
    status: { code: 16 },
    httpResponse: {
      case: 'deniedResponse',
      value: {
        status: { code: 302 },
        headers: [
          { header: { key: 'location', value: 'https://login' } },
          { header: { key: 'content-type', value: 'text/html' } },
        ],
        body: 'go <b>there</b>',
      },
    },
  });
  const told = await http1(await harness.tunnel());
  t.equal(told.status, 302);
  t.equal(told.body, 'go <b>there</b>');
  t.match(told.headers, { location: 'https://login', 'content-type': 'text/html' });
  const grpc = await http2(await harness.tunnel(), { 'content-type': 'application/grpc', te: 'trailers' });
  t.equal(grpc.headers[':status'], 200, 'a gRPC client is told in its own way');
});

t.test('only what the rules match is asked about; a dry run asks nobody and is noted', async (t) => {
  const { authz, harness } = await grpcWorld(t, () => ({ status: { code: 7 } }));
  setCustom(harness, { provider: grpcProvider, rules: pathRule('/admin') });
  t.equal((await http1(await harness.tunnel(), { path: '/open' })).status, 200);
  t.equal((await http1(await harness.tunnel(), { path: '/admin' })).status, 403);
  t.equal(authz.checks.length, 1);
  setCustom(harness, { provider: grpcProvider, dryRun: true });
  t.equal((await http1(await harness.tunnel(), { path: '/admin' })).status, 200);
  t.equal(authz.checks.length, 1);
  await eventually('the line', () => harness.lines.some((line) => line.get('audit') !== undefined));
});

t.test('a provider that is missing denies what the rules match, and nothing else', async (t) => {
  const harness = await createHarness(t, { pods: [app] });
  setCustom(harness, { provider: undefined, rules: pathRule('/admin') });
  const denied = await http1(await harness.tunnel(), { path: '/admin' });
  t.equal(denied.status, 403);
  t.equal(denied.body, 'RBAC: access denied');
  t.equal((await http1(await harness.tunnel(), { path: '/open' })).status, 200);
});

t.test('no answer, a late one and a broken one: statusOnError, or passing where failOpen is set', async (t) => {
  const { authz, harness } = await grpcWorld(t, () => 'unavailable');
  const failing = { ...grpcProvider, timeoutMs: 200, statusOnError: 503 };
  const ask = async (provider: GrpcExtAuthz) => {
    setCustom(harness, { provider });
    return (await http1(await harness.tunnel())).status;
  };
  t.equal(await ask(grpcProvider), 403, 'UNAVAILABLE');
  t.equal(await ask(failing), 503);
  t.equal(await ask({ ...failing, failOpen: true }), 200);
  authz.answer = () => 'never';
  t.equal(await ask(failing), 503, 'late');
  t.equal(await ask({ ...failing, failOpen: true }), 200);
  authz.answer = () => ({});
  t.equal(await ask(failing), 503, 'no status');
  const crlf = { header: { key: 'x-a', value: 'b\r\nx-evil: 1' } };
  authz.answer = () => ({ status: { code: 0 }, httpResponse: { case: 'okResponse', value: { headers: [crlf] } } });
  t.equal(await ask(failing), 503, 'a header that can stand in no message');
  authz.answer = () => ({
    status: { code: 2 },
    httpResponse: { case: 'errorResponse', value: { body: 'database is down' } },
  });
  t.equal(await ask(failing), 503, 'the provider says that it failed');
  const nowhere = { hostname: 'nobody.default.svc.cluster.local', namespace: undefined, port: 1 };
  t.equal(await ask({ ...failing, target: nowhere }), 503, 'no such service');
  await eventually('the line', () =>
    harness.lines.some((line) => line.get('response_code_details') === 'ext_authz_error'),
  );
});

t.test('one client that does not send its bodies takes no memory for those of others', async (t) => {
  const { harness } = await grpcWorld(t, () => ({ status: { code: 0 } }));
  const maxBytes = 8 * 1024 * 1024;
  setCustom(harness, { provider: { ...grpcProvider, body: { maxBytes, allowPartial: true, asBytes: false } } });
  const stalled = await Promise.all(
    Array.from({ length: 9 }, async () => {
      const stream = await harness.tunnel();
      stream.on('error', () => {});
      stream.resume().write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${maxBytes}\r\n\r\n`);
      return stream;
    }),
  );
  const { checks } = harness.waypoint.services;
  await eventually('the refusals of those that are too many', () => harness.requests.length === 7);
  t.equal(checks.held.bytes, 2 * maxBytes, 'a quarter of all');
  const other = await http1(await harness.tunnel(undefined, notSleepId), { method: 'POST', body: 'hello' });
  t.match(other, { status: 200 });
  const small = await Promise.all(
    Array.from({ length: 3 }, async () =>
      http1(await harness.tunnel(undefined, notSleepId), { method: 'POST', body: 'x' }),
    ),
  );
  t.same(
    small.map(({ status }) => status),
    [200, 200, 200],
    'a short body takes no more than it is long',
  );
  for (const stream of stalled) stream.destroy();
  await eventually('the memory to be given back', () => checks.held.bytes === 0);
});

t.test('a body that does not come in time is answered with 408, and nothing of it is held', async (t) => {
  const { authz, harness } = await grpcWorld(t, () => ({ status: { code: 0 } }), { bodyTimeoutMs: 50 });
  setCustom(harness, { provider: { ...grpcProvider, body: { maxBytes: 1000, allowPartial: true, asBytes: false } } });
  const late = () =>
    harness.lines.filter((line) => line.get('response_code_details') === 'request_body_timeout').length;
  const stream = await harness.tunnel();
  let answer = '';
  stream.on('data', (chunk: Buffer) => {
    answer += chunk.toString();
  });
  stream.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nslow');
  await eventually('the line and the answer', () => late() === 1 && /\r\n\r\nRequest Timeout$/.test(answer));
  t.match(answer, /^HTTP\/1\.1 408 /);
  t.match(answer, /connection: close/i);
  const h2Stream = await harness.tunnel();
  const session = connect('http://a', { createConnection: () => h2Stream as never });
  t.teardown(() => session.destroy());
  const request = session.request({ ':method': 'POST', ':path': '/' });
  request.write('slow');
  const [head] = (await once(request, 'response')) as [Record<string, unknown>];
  t.equal(head[':status'], 408);
  t.equal(harness.waypoint.services.checks.held.bytes, 0);
  t.equal(authz.checks.length, 0, 'nobody was asked');
});

t.test('the body is shown to the provider within its bounds, and forwarded whole', async (t) => {
  const { authz, harness } = await grpcWorld(t, () => ({ status: { code: 0 } }));
  const withBody = (allowPartial: boolean, asBytes = false) =>
    setCustom(harness, { provider: { ...grpcProvider, body: { maxBytes: 1000, allowPartial, asBytes } } });
  const post = async (body: string, headers = {}) => http1(await harness.tunnel(), { method: 'POST', body, headers });
  withBody(false);
  const short = 'x'.repeat(1000);
  t.equal(seenBy((await post(short)).body).body, short);
  t.equal(authz.checks[0]?.attributes?.request?.http?.body, short);
  t.equal(authz.checks[0]?.attributes?.request?.http?.headers['x-envoy-auth-partial-body'], 'false');
  const long = 'y'.repeat(300_000);
  const refused = await post(long);
  t.equal(refused.status, 413);
  t.equal(authz.checks.length, 1, 'nobody was asked');
  withBody(true, true);
  t.equal(seenBy((await post(long)).body).body, long, 'the whole body arrives');
  const http = authz.checks[1]?.attributes?.request?.http;
  t.equal(Buffer.from(http?.rawBody ?? []).toString(), long.slice(0, 1000));
  t.equal(http?.headers['x-envoy-auth-partial-body'], 'true');
  const waited = await http2(await harness.tunnel(), { 'content-type': 'text/plain' }, long);
  t.equal(seenBy(waited.body).body, long, 'over HTTP/2, too');
  await eventually('the memory to be given back', () => harness.waypoint.services.checks.held.bytes === 0);
});

t.test('a client that leaves while a provider thinks is reported as gone, and holds nothing', async (t) => {
  const { authz, harness } = await grpcWorld(t, () => 'never');
  setCustom(harness, { provider: { ...grpcProvider, body: { maxBytes: 1000, allowPartial: true, asBytes: false } } });
  const stream = await harness.tunnel();
  const asked = http1(stream, { method: 'POST', body: 'z' });
  await eventually('the question', () => authz.checks.length === 1);
  stream.destroy();
  await t.rejects(asked);
  await eventually('the line', () => harness.lines.some((line) => line.get('response_flags') === 'DC'));
  await eventually('the memory to be given back', () => harness.waypoint.services.checks.held.bytes === 0);
});

t.test('HTTP: the question has the request’s method and path, and the headers that were chosen', async (t) => {
  const { checks, harness } = await httpWorld(t, (_seen, response) => response.end('ignored'));
  setCustom(harness, {
    provider: {
      ...httpProvider,
      pathPrefix: '/check',
      includeRequestHeaders: [
        { kind: 'exact', value: 'x-one' },
        { kind: 'prefix', value: 'x-pre' },
      ],
      additionalHeaders: [
        ['X-From', 'waypoint'],
        ['x-one', 'replaced'],
      ],
    },
  });
  const headers = { authorization: 'Bearer t', 'x-one': '1', 'x-pre-a': '2', 'x-other': '3', 'x-from': 'client' };
  const answer = await http1(await harness.tunnel(), { method: 'DELETE', path: '/a?q=1', headers });
  t.equal(answer.status, 200);
  t.match(checks[0], { method: 'DELETE', url: '/check/a?q=1', body: '' });
  const asked = checks[0]?.headers ?? {};
  t.match(asked, {
    host: 'productpage:9080',
    authorization: 'Bearer t',
    'x-one': 'replaced',
    'x-pre-a': '2',
    'x-from': 'waypoint',
  });
  t.notOk('x-other' in asked);
  t.equal(seenBy(answer.body).headers['x-from'], 'client', 'the request itself is as it was');
});

t.test('HTTP: an answer of 200 allows, with the headers that were chosen', async (t) => {
  const { checks, harness } = await httpWorld(t, (_seen, response) => {
    response.setHeader('x-user', ['alice', 'admin']);
    response.setHeader('x-hidden', 'h');
    response.setHeader('x-why', 'because');
    response.setHeader('set-cookie', ['a=1', 'b=2']);
    response.setHeader('x-envoy-auth-headers-to-remove', 'authorization, Host');
    response.end();
  });
  setCustom(harness, {
    provider: {
      ...httpProvider,
      body: { maxBytes: 100, allowPartial: false, asBytes: false },
      headersToUpstreamOnAllow: [{ kind: 'exact', value: 'x-user' }],
      headersToDownstreamOnAllow: [
        { kind: 'suffix', value: '-why' },
        { kind: 'exact', value: 'set-cookie' },
      ],
    },
  });
  const headers = { 'x-user': 'forged', authorization: 'Bearer t' };
  const answer = await http1(await harness.tunnel(), { method: 'PUT', headers, body: 'content' });
  t.equal(checks[0]?.body, 'content');
  const seen = seenBy(answer.body);
  t.equal(seen.body, 'content');
  t.equal(seen.headers['x-user'], 'alice, admin');
  t.notOk('x-hidden' in seen.headers);
  t.notOk('authorization' in seen.headers);
  t.match(answer.headers, { 'x-why': 'because', 'x-app': 'yes', 'set-cookie': ['a=1', 'b=2'] });
});

t.test('HTTP: any other answer is the client’s; a 5xx is no decision', async (t) => {
  let status = 401;
  const { harness } = await httpWorld(t, (_seen, response) => {
    response.writeHead(status, {
      'www-authenticate': 'Basic',
      'x-why': 'no',
      'x-more': 'm',
      'content-type': 'text/html',
    });
    response.end('denied here');
  });
  const all = await http1(await harness.tunnel());
  t.equal(all.status, 401);
  t.equal(all.body, 'denied here');
  t.match(all.headers, { 'www-authenticate': 'Basic', 'x-why': 'no', 'x-more': 'm', 'content-type': 'text/html' });
  setCustom(harness, {
    provider: { ...httpProvider, headersToDownstreamOnDeny: [{ kind: 'exact', value: 'x-why' }], statusOnError: 504 },
  });
  const chosen = await http1(await harness.tunnel());
  t.match(chosen.headers, { 'www-authenticate': 'Basic', 'x-why': 'no', 'content-type': 'text/html' });
  t.notOk('x-more' in chosen.headers);
  status = 500;
  t.equal((await http1(await harness.tunnel())).status, 504);
});

t.test('several providers: each is asked once, all must allow', async (t) => {
  const { authz, harness } = await grpcWorld(t, () => ({ status: { code: 0 } }));
  const second = { ...grpcProvider, name: 'b-second' };
  const first = { ...grpcProvider, name: 'a-first', body: { maxBytes: 10, allowPartial: true, asBytes: false } };
  setCustom(harness, { provider: second }, { provider: first }, { provider: first, rules: pathRule('/') });
  const answer = await http1(await harness.tunnel(), { method: 'POST', body: '0123456789abcdef' });
  t.equal(seenBy(answer.body).body, '0123456789abcdef');
  t.equal(authz.checks.length, 2);
  t.equal(authz.checks[0]?.attributes?.request?.http?.body, '0123456789', 'in order of their names');
  t.equal(authz.checks[1]?.attributes?.request?.http?.body, '', 'who asks for no body sees none');
  let asked = 0;
  authz.answer = () => ({ status: { code: asked++ === 0 ? 0 : 7 } });
  t.equal((await http1(await harness.tunnel(), { method: 'POST', body: 'x' })).status, 403);
});

t.test('routes see a provider’s headers only where clearRouteCache says so', async (t) => {
  const { harness } = await grpcWorld(t, () => ({
    status: { code: 0 },
    httpResponse: { case: 'okResponse', value: { headers: [{ header: { key: 'x-tenant', value: 'gold' } }] } },
  }));
  const route = (name: string, status: number, value?: string) => ({
    name,
    source: undefined,
    match:
      value === undefined
        ? undefined
        : {
            path: undefined,
            method: undefined,
            authority: undefined,
            scheme: undefined,
            headers: [{ name: 'x-tenant', match: { kind: 'exact' as const, value, ignoreCase: false }, negate: false }],
            queryParams: [],
          },
    action: { kind: 'respond' as const, status, body: '' },
    requestHeaders: undefined,
    responseHeaders: undefined,
    rewritePath: undefined,
    rewriteHost: undefined,
    timeoutMs: undefined,
    retry: undefined,
  });
  const routes = [route('gold', 201, 'gold'), route('silver', 202, 'silver'), route('rest', 204)];
  const ask = async (clearRouteCache: boolean, headers = {}) => {
    setCustom(harness, { provider: { ...grpcProvider, clearRouteCache } });
    const ports = { service: serviceKey, port: 9080, appProtocol: 'http11', routes, streams: [] } as const;
    harness.model = { ...harness.model, ports: new Map([[`${serviceKey}:9080`, ports]]) };
    return (await http1(await harness.tunnel(), { headers })).status;
  };
  t.equal(await ask(false), 204);
  t.equal(await ask(false, { 'x-tenant': 'silver' }), 202, 'as the client sent it');
  t.equal(await ask(true), 201);
});

t.test('TCP: a connection is asked about once, before anything is connected', async (t) => {
  const authz = createExtAuthz(t, () => ({ status: { code: 0 } }));
  const echo = (socket: Socket) => void socket.pipe(socket);
  const harness = await createHarness(t, {
    pods: [echo, () => {}],
    servers: [createTcpServer(echo), authz.server],
    appProtocol: 'tcp',
  });
  splitAuthz(harness, 'grpc');
  setCustom(harness, { provider: grpcProvider });
  const echoes = async () => {
    const stream = await harness.tunnel();
    stream.on('error', () => {});
    const answer = new Promise<string>((resolve) => {
      stream.once('data', (chunk: Buffer) => resolve(chunk.toString()));
      stream.once('close', () => resolve('closed'));
    });
    stream.write('hello');
    return { stream, answer: await answer };
  };
  const open = await echoes();
  t.equal(open.answer, 'hello');
  const attributes = authz.checks[0]?.attributes;
  t.equal(attributes?.source?.principal, sleepId);
  t.equal(attributes?.request, undefined);
  t.equal(authz.checks.length, 1);
  authz.answer = () => ({ status: { code: 7 } });
  t.equal((await echoes()).answer, 'closed', 'denied');
  authz.answer = () => 'unavailable';
  t.equal((await echoes()).answer, 'closed', 'no answer');
  setCustom(harness, { provider: { ...grpcProvider, failOpen: true } });
  t.equal((await echoes()).answer, 'hello', 'failOpen');
  setCustom(harness, { provider: undefined });
  t.equal((await echoes()).answer, 'closed', 'no provider');
  setCustom(harness, { provider: { ...httpProvider, failOpen: true } });
  t.equal((await echoes()).answer, 'closed', 'a provider over HTTP cannot judge it');
  t.equal(open.stream.destroyed, false);
  setCustom(harness, { provider: { ...grpcProvider, name: 'later' } });
  harness.waypoint.modelChanged();
  await eventually('a connection nobody was asked about to end', () => open.stream.destroyed);
});

t.test('an answer without end, or too long, is no answer', async (t) => {
  let dripping: NodeJS.Timeout | undefined;
  t.teardown(() => clearInterval(dripping));
  const { checks, harness } = await httpWorld(t, ({ url }, response) => {
    response.writeHead(200);
    if (url === '/long') response.end('x'.repeat(2 * 1024 * 1024));
    else dripping = setInterval(() => response.write('x'), 10);
  });
  setCustom(harness, { provider: { ...httpProvider, timeoutMs: 300, statusOnError: 503 } });
  t.equal((await http1(await harness.tunnel(), { path: '/drip' })).status, 503);
  setCustom(harness, { provider: { ...httpProvider, statusOnError: 503 } });
  t.equal((await http1(await harness.tunnel(), { path: '/long' })).status, 503);
  t.equal(checks.length, 2);
});

t.test('who is asked is shown with the policies of the service', async (t) => {
  const harness = await createHarness(t, { pods: [app] });
  setCustom(harness, { provider: grpcProvider }, { provider: undefined });
  const { listeners } = buildWaypointViews(harness.waypoint.services, '-', 100);
  const shown = listeners.flatMap(({ policies }) => policies);
  t.same(shown, [
    'custom default/ask asks authz (authz.default.svc.cluster.local:9080)',
    'custom default/ask asks nobody-1 (nobody, denies)',
  ]);
});

t.test('questions count against the limits of the provider’s DestinationRule', async (t) => {
  const held: ServerResponse[] = [];
  const { checks, harness } = await httpWorld(t, (_seen, response) => void held.push(response));
  const ask = async (failOpen: boolean) => {
    setCustom(harness, { provider: { ...httpProvider, failOpen, statusOnError: 503 } });
    const connectionPool = { ...plainPool, maxRequests: 1 };
    const policies = { otherwise: { ...emptyDestinationPolicy, connectionPool }, ports: new Map() };
    const destination = { otherwise: { sources: [], policies, subsets: new Map() }, ofNamespace: new Map() };
    harness.model = { ...harness.model, destinations: new Map([[`default/${authzHost}`, destination]]) };
    return await http1(await harness.tunnel());
  };
  const first = ask(false);
  await eventually('the provider to be asked', () => held.length === 1);
  t.equal((await ask(false)).status, 503, 'statusOnError');
  t.equal((await ask(true)).status, 200, 'failOpen');
  t.equal(checks.length, 1);
  held[0]?.end();
  t.equal((await first).status, 200);
});
