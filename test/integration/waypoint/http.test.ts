/** HTTP through a waypoint on real tunnels: the eight stages of the article and the short path of today. */
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { modernPreset } from '../../../src/config/preset.ts';
import type { L7Policy } from '../../../src/route/model.ts';
import { emptyL7Model, type Route, type RouteBackend } from '../../../src/route/model.ts';
import { defaultRetryPolicy } from '../../../src/route/retry.ts';
import { eventually, within } from '../../support/eventually.ts';
import { makeChange, makePort, makeService } from '../../support/mesh-records.ts';
import { http1, http2 } from './client.ts';
import {
  createHarness,
  type Harness,
  host,
  notSleepId,
  podIp,
  podUid,
  productId,
  serviceKey,
  sleepId,
  vip,
} from './harness.ts';

const hello: RequestListener = (request, response) => {
  response.setHeader('x-seen', JSON.stringify(request.headers));
  response.end(`hello ${request.method} ${request.url} ${request.headers.host}`);
};

function policy(action: L7Policy['action'], methods: readonly string[]): L7Policy {
  return {
    source: { kind: 'AuthorizationPolicy', namespace: 'default', name: 'productpage-viewer' },
    action,
    dryRun: false,
    rules: [
      {
        clauses: [
          [
            [
              {
                kind: 'principal',
                values: [{ kind: 'exact', value: sleepId.slice('spiffe://'.length) }],
                notValues: [],
              },
            ],
          ],
          [
            [
              {
                kind: 'method',
                values: methods.map((value) => ({ kind: 'exact', value, ignoreCase: false })),
                notValues: [],
              },
            ],
          ],
        ],
      },
    ],
  };
}

function route(fields: Partial<Route>): Route {
  return {
    name: 'default/route/0/0',
    source: undefined,
    match: undefined,
    action: { kind: 'forward', backends: [backend(serviceKey)] },
    requestHeaders: undefined,
    responseHeaders: undefined,
    rewritePath: undefined,
    rewriteHost: undefined,
    timeoutMs: undefined,
    retry: undefined,
    ...fields,
  };
}

function backend(service: string | undefined, weight = 1, port = 9080): RouteBackend {
  return { service, port, weight, requestHeaders: undefined, responseHeaders: undefined };
}

function setRoutes(harness: Harness, ...routes: Route[]): void {
  const ports = { service: serviceKey, port: 9080, appProtocol: 'http11', routes, streams: [] } as const;
  harness.model = { ...emptyL7Model, ports: new Map([[`${serviceKey}:9080`, ports]]) };
}

const done = (harness: Harness, n: number) =>
  eventually('the requests to be reported', () => harness.requests.length >= n);

t.test('a request to the VIP reaches a pod by its own tunnel and leaves three lines', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  const answer = await http1(await harness.tunnel(), { path: '/a/../productpage?u=1', headers: { 'x-Case': 'kept' } });
  t.equal(answer.status, 200);
  t.equal(answer.body, 'hello GET /productpage?u=1 productpage:9080');
  const [arrived] = harness.arrived;
  const target = `${podIp(0)}:${harness.podPort}`;
  t.match(arrived, { peerIdentity: productId, authority: target }, 'with the identity of the waypoint');
  t.equal(arrived?.header('x-envoy-original-dst-host'), target);
  await done(harness, 1);
  t.match(harness.requests[0], {
    labels: {
      reporter: 'waypoint',
      source: { workload: 'sleep', principal: sleepId },
      destination: { workload: 'productpage', principal: productId },
      destinationService: host,
      connectionSecurityPolicy: 'mutual_tls',
    },
    request: { requestProtocol: 'http', responseCode: 200, responseFlags: '-' },
  });
  t.same(
    harness.lines.map((line) => [line.get('stage'), line.get('upstream_cluster')]),
    [
      [`inbound-pod|${harness.podPort}||${podIp(0)}`, `inbound-pod|${harness.podPort}||${podIp(0)}`],
      [`inbound-vip|9080||${host}`, `inbound-vip|9080|http|${host}`],
      ['inbound_CONNECT_terminate', `inbound-vip|9080|internal|${host}`],
    ],
  );
  t.equal(harness.lines[1]?.get('downstream_local_address'), `${vip}:9080`);
  t.match(harness.lines[2]?.get('upstream_host'), new RegExp(`^${podIp(0)}:`));
});

t.test('privileged headers of the client are replaced, its identity is told', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  const { headers } = await http1(await harness.tunnel(), {
    headers: {
      'x-forwarded-client-cert': 'By=evil',
      'x-envoy-retry-on': '5xx',
      'x-istio-attributes': 'a',
      baggage: 'app=1',
      'x-forwarded-for': '1.2.3.4',
    },
  });
  const seen = JSON.parse(String(headers['x-seen']));
  t.equal(seen['x-forwarded-client-cert'], `By=${productId};URI=${sleepId}`);
  t.notOk('x-envoy-retry-on' in seen || 'x-istio-attributes' in seen);
  t.match(seen, { baggage: 'app=1', 'x-forwarded-for': '1.2.3.4', 'x-forwarded-proto': 'http' });
  t.match(seen['x-request-id'], /^[0-9a-f-]{36}$/);
});

t.test('pod policies decide by client identity and method, and say so', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  harness.model = { ...emptyL7Model, workloadPolicies: new Map([[podUid(0), [policy('allow', ['GET'])]]]) };
  t.match(await http1(await harness.tunnel()), { status: 200 });
  t.match(await http1(await harness.tunnel(), { method: 'DELETE' }), { status: 403, body: 'RBAC: access denied' });
  t.match(await http1(await harness.tunnel(undefined, notSleepId)), { status: 403, body: 'RBAC: access denied' });
  t.equal(harness.arrived.length, 1, 'what is denied never leaves the waypoint');
  await done(harness, 3);
  t.match(harness.requests[1], {
    labels: { source: { principal: sleepId }, destination: { principal: productId } },
    request: { responseCode: 403 },
  });
  t.match(harness.lines.at(-2)?.get('response_code_details'), 'rbac_access_denied_matched_policy[none]');
});

t.test('in the world of today gateway and service policies come before routing', async (t) => {
  const harness = await createHarness(t, { pods: [hello], preset: modernPreset });
  harness.model = { ...emptyL7Model, servicePolicies: new Map([[serviceKey, [policy('deny', ['PUT'])]]]) };
  t.match(await http1(await harness.tunnel()), { status: 200 });
  t.match(await http1(await harness.tunnel(), { method: 'PUT', body: 'x' }), { status: 403 });
  harness.model = { ...emptyL7Model, gatewayPolicies: new Map([['default/productpage', [policy('allow', ['PUT'])]]]) };
  t.match(await http1(await harness.tunnel()), { status: 403 });
  t.equal(harness.arrived[0]?.header('x-envoy-original-dst-host'), undefined);
  await done(harness, 3);
  t.equal(harness.lines.length, 3, 'one line a request');
});

t.test('unknown authorities are refused on CONNECT, never dialled', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  for (const authority of [
    `${vip}:81`,
    '10.96.0.1:9080',
    '10.244.9.9:80',
    '127.0.0.1:15000',
    `${host}:81`,
    'nobody.example:80',
    'nonsense',
  ]) {
    t.match(await harness.connect(authority), { kind: 'refused', status: 404 }, authority);
  }
  t.same(harness.arrived, []);
});

t.test('before the mesh is complete, every tunnel is refused', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  Object.defineProperty(harness.mesh, 'complete', { value: false });
  t.match(await harness.connect(`${vip}:9080`), { kind: 'refused', status: 503 });
});

t.test('an authority of a pod goes straight to that pod', async (t) => {
  const harness = await createHarness(t, { pods: [hello, hello] });
  const authority = `${podIp(1)}:${harness.podPort}`;
  t.match(await http1(await harness.tunnel(authority)), { status: 200 });
  t.same(
    harness.arrived.map((request) => request.authority),
    [authority],
  );
  await done(harness, 1);
  t.equal(harness.requests[0]?.labels.destinationService, 'unknown');
});

t.test('a connection is kept for several requests, also of HEAD', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  const stream = await harness.tunnel();
  let got = '';
  stream.on('data', (chunk) => {
    got += chunk;
  });
  for (const [i, method] of ['HEAD', 'HEAD', 'GET'].entries()) {
    stream.write(`${method} / HTTP/1.1\r\nHost: a\r\n\r\n`);
    await eventually('the response', () => got.match(/HTTP\/1.1 200/g)?.length === i + 1);
    await done(harness, i + 1);
  }
  t.equal(harness.arrived.length, 1, 'one tunnel to the pod');
});

t.test('bodies stream both ways without being held', async (t) => {
  const size = 3 * 1024 * 1024;
  const harness = await createHarness(t, { pods: [(request, response) => void request.pipe(response)] });
  const answer = await http1(await harness.tunnel(), { method: 'POST', body: 'x'.repeat(size) });
  t.equal(answer.body.length, size);
});

t.test('routes choose, change headers, rewrite, redirect and answer', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  const prefix = (value: string) => ({
    path: { kind: 'path-prefix', value } as const,
    method: undefined,
    authority: undefined,
    scheme: undefined,
    headers: [],
    queryParams: [],
  });
  const change = (name: string) => ({ set: [[name, 'set']] as const, add: [], remove: ['x-drop'] });
  setRoutes(
    harness,
    route({
      match: prefix('/old'),
      rewritePath: { kind: 'prefix', value: '/new' },
      rewriteHost: 'rewritten',
      requestHeaders: change('x-to-app'),
      responseHeaders: change('x-to-client'),
    }),
    route({
      match: prefix('/away'),
      action: {
        kind: 'redirect',
        redirect: { scheme: undefined, host: 'b', port: undefined, path: undefined, status: 301 },
      },
    }),
    route({ match: prefix('/teapot'), action: { kind: 'respond', status: 418, body: 'short' } }),
    route({ match: prefix('/none'), action: { kind: 'forward', backends: [backend(serviceKey, 0)] } }),
    route({ match: prefix('/invalid'), action: { kind: 'forward', backends: [backend(undefined)] } }),
    route({ match: prefix('/gone'), action: { kind: 'forward', backends: [backend('default/gone')] } }),
  );
  const get = async (path: string) => http1(await harness.tunnel(), { path, headers: { 'x-drop': '1' } });
  const rewritten = await get('/old/x?q');
  t.equal(rewritten.body, 'hello GET /new/x?q rewritten');
  t.match(JSON.parse(String(rewritten.headers['x-seen'])), { 'x-to-app': 'set' });
  t.notMatch(rewritten.headers['x-seen'], 'x-drop');
  t.equal(rewritten.headers['x-to-client'], 'set');
  t.match(await get('/away?q'), { status: 301, headers: { location: 'http://b:9080/away?q' } });
  t.match(await get('/teapot'), { status: 418, body: 'short' });
  for (const path of ['/none', '/invalid', '/gone']) t.match(await get(path), { status: 500 }, path);
  t.match(await get('/unmatched'), { status: 404 });
});

t.test('a weighted route shares requests among services', async (t) => {
  const harness = await createHarness(t, {
    pods: [(_request, response) => void response.end('v1'), (_request, response) => void response.end('v2')],
  });
  const version = (index: number) => {
    const service = makeService({
      name: `v${index + 1}`,
      ports: new Map([[9080, makePort(9080, 0, { appProtocol: 'http11' })]]),
    });
    const workload = harness.mesh.workload(podUid(index));
    if (workload === undefined) throw new Error('no such pod');
    const services = new Map([...workload.services, [service.key, new Map([[9080, harness.podPort]])]]);
    harness.mesh.apply(makeChange({ services: [service], workloads: [{ ...workload, services }] }));
    return service.key;
  };
  setRoutes(
    harness,
    route({ action: { kind: 'forward', backends: [backend(version(0), 90), backend(version(1), 10)] } }),
  );
  let draw = 0;
  Object.assign(harness.waypoint.services.random, { next: () => (draw++ % 11) / 11 });
  const bodies: string[] = [];
  for (let i = 0; i < 11; i++) bodies.push((await http1(await harness.tunnel())).body);
  t.ok(bodies.includes('v1') && bodies.includes('v2'), bodies.join(' '));
});

t.test('no healthy endpoint is 503 UH, a dead one 503 UF after retries', async (t) => {
  const harness = await createHarness(t, { pods: [hello, 'down'] });
  const [alive, dead] = [0, 1].map((i) => harness.mesh.workload(podUid(i)));
  if (alive === undefined || dead === undefined) throw new Error('pods');
  harness.mesh.apply(makeChange({ removedWorkloads: [alive.uid] }));
  const refused = await http1(await harness.tunnel());
  t.equal(refused.status, 503);
  t.match(refused.body, 'upstream connect error');
  harness.mesh.apply(makeChange({ removedWorkloads: [dead.uid] }));
  t.match(await http1(await harness.tunnel()), { status: 503, body: 'no healthy upstream' });
  await done(harness, 2);
  t.same(
    harness.requests.map(({ request }) => request.responseFlags),
    ['URX,UF', 'UH'],
  );
});

t.test('a connect failure is tried again on another pod, body and all', async (t) => {
  const echo: RequestListener = (request, response) => void request.pipe(response);
  const harness = await createHarness(t, { pods: [echo, 'down'] });
  for (let i = 0; i < 6; i++) {
    t.match(await http1(await harness.tunnel(), { method: 'POST', body: `body ${i}` }), {
      status: 200,
      body: `body ${i}`,
    });
  }
});

t.test('a status is retried as the route says, and a pod chosen again is authorized again', async (t) => {
  let calls = 0;
  const flaky: RequestListener = (_request, response) => {
    calls++;
    response.writeHead(calls < 3 ? 503 : 200).end(`call ${calls}`);
  };
  const harness = await createHarness(t, { pods: [flaky] });
  const retry = { ...defaultRetryPolicy, attempts: 3, statusCodes: new Set([503]), backoffMs: 1 };
  setRoutes(harness, route({ retry: { ...retry, nonIdempotent: true } }));
  t.match(await http1(await harness.tunnel(), { method: 'POST', body: 'again' }), { status: 200, body: 'call 3' });
  calls = -5;
  t.match(await http1(await harness.tunnel()), { status: 503, body: 'call -1' }, 'the last answer when tries run out');
  await done(harness, 2);
  t.equal(harness.requests[1]?.request.responseFlags, 'URX');
});

t.test('a body too long to keep is forwarded but not sent twice', async (t) => {
  let calls = 0;
  const failing: RequestListener = (request, response) => {
    calls++;
    request.resume().on('end', () => response.writeHead(503).end());
  };
  const harness = await createHarness(t, { pods: [failing] });
  setRoutes(harness, route({ retry: { ...defaultRetryPolicy, statusCodes: new Set([503]), backoffMs: 1 } }));
  t.match(await http1(await harness.tunnel(), { method: 'PUT', body: 'x'.repeat(200_000) }), { status: 503 });
  t.equal(calls, 1);
  t.match(await http1(await harness.tunnel(), { method: 'PUT', body: 'short' }), { status: 503 });
  t.equal(calls, 4);
});

t.test('a request that takes too long is answered 504', async (t) => {
  const harness = await createHarness(t, { pods: [() => {}] });
  setRoutes(harness, route({ timeoutMs: 50 }));
  t.match(await http1(await harness.tunnel()), { status: 504, body: 'upstream request timeout' });
  setRoutes(harness, route({ retry: { ...defaultRetryPolicy, attempts: 1, perTryTimeoutMs: 30, backoffMs: 1 } }));
  t.match(await http1(await harness.tunnel()), { status: 504 });
  await done(harness, 2);
  t.same(
    harness.requests.map(({ request }) => request.responseFlags),
    ['UT', 'URX,UT'],
  );
});

t.test('an application that breaks off breaks the response, and it is told', async (t) => {
  const breaking: RequestListener = (_request, response) => {
    response.write('part');
    setImmediate(() => response.socket?.resetAndDestroy());
  };
  const harness = await createHarness(t, { pods: [breaking] });
  await t.rejects(http1(await harness.tunnel()));
  await done(harness, 1);
  t.equal(harness.requests[0]?.request.responseFlags, 'UC');
});

t.test('a client that leaves ends the request upstream', async (t) => {
  let started: (request: IncomingMessage) => void = () => {};
  const handling = new Promise<IncomingMessage>((resolve) => {
    started = resolve;
  });
  const harness = await createHarness(t, { pods: [(request: IncomingMessage) => started(request)] });
  const stream = await harness.tunnel();
  stream.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  const { socket } = await handling;
  const gone = new Promise((resolve) => socket.once('close', resolve));
  stream.destroy();
  await within('the upstream connection to close', gone);
  await done(harness, 1);
  t.match(harness.requests[0]?.request, { responseFlags: 'DC', responseCode: 0 });
});

t.test('WebSocket goes through, and a refusal of it comes back', async (t) => {
  const server = createServer((_request, response) => void response.writeHead(403).end('no'));
  server.on('upgrade', (request, socket, head) => {
    if (request.url === '/no') return void socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno');
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n',
    );
    socket.write(head);
    socket.pipe(socket);
  });
  const harness = await createHarness(t, { pods: [hello], servers: [server] });
  const upgrade = 'Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n';
  const stream = await harness.tunnel();
  stream.write(`GET /yes HTTP/1.1\r\n${upgrade}`);
  let got = '';
  stream.on('data', (chunk) => {
    got += chunk;
    if (got.endsWith('\r\n\r\n')) stream.end('frames');
  });
  await within('the echo', new Promise((resolve) => stream.once('end', resolve)));
  t.match(got, /^HTTP\/1.1 101 [\s\S]*Sec-WebSocket-Accept: x\r\n[\s\S]*frames$/);
  await done(harness, 1);
  t.match(harness.requests[0]?.request, { responseCode: 101 });
  const refused = await harness.tunnel();
  refused.write(`GET /no HTTP/1.1\r\n${upgrade}`);
  t.match(await within('the refusal', text(refused)), /^HTTP\/1.1 403 [\s\S]*no$/);
});

t.test('gRPC keeps its trailers, and errors without a body stay a head alone', async (t) => {
  const server = createHttp2Server((request, response) => {
    if (request.url === '/s/fail') {
      request.stream.respond(
        { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '5' },
        { endStream: true },
      );
      return;
    }
    response.setHeader('content-type', 'application/grpc');
    request.pipe(response);
    response.addTrailers({ 'grpc-status': '0' });
  });
  server.on('session', (session) => session.on('error', () => {}));
  const harness = await createHarness(t, { pods: [hello], servers: [server as never], appProtocol: 'grpc' });
  const call = async (path: string) =>
    await http2(
      await harness.tunnel(),
      { ':path': path, 'content-type': 'application/grpc', te: 'trailers' },
      'message',
    );
  t.match(await call('/s/echo'), { body: 'message', trailers: { 'grpc-status': '0' } });
  t.match(await call('/s/fail'), { headers: { 'grpc-status': '5' }, body: '' });
  await done(harness, 2);
  t.same(
    harness.requests.map(({ request }) => [request.requestProtocol, request.grpcStatus]),
    [
      ['grpc', '0'],
      ['grpc', '5'],
    ],
  );
  harness.model = { ...emptyL7Model, workloadPolicies: new Map([[podUid(0), [policy('deny', ['POST'])]]]) };
  t.match(await call('/s/echo'), {
    headers: { ':status': 200, 'grpc-status': '7', 'grpc-message': 'RBAC: access denied' },
  });
});

t.test('h2c clients of an HTTP/1.1 application are served', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  t.match(await http2(await harness.tunnel(), { ':method': 'GET', ':path': '/x' }), {
    headers: { ':status': 200 },
    body: /^hello GET \/x/,
  });
});

t.test('an endpoint without a tunnel is reached plainly', async (t) => {
  const harness = await createHarness(t, { pods: [hello], tunnelProtocol: 'none' });
  t.match(await http1(await harness.tunnel()), { status: 200 });
  t.same(harness.arrived, []);
});

t.test('an endpoint that proves another identity gets nothing', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  const workload = harness.mesh.workload(podUid(0));
  if (workload === undefined) throw new Error('pod');
  harness.mesh.apply(makeChange({ workloads: [{ ...workload, identity: sleepId }] }));
  t.match(await http1(await harness.tunnel()), { status: 503 });
  t.same(harness.arrived, []);
});

t.test('a drain finishes what is under way and lets no new tunnel in', async (t) => {
  let started: (response: ServerResponse) => void = () => {};
  const handling = new Promise<ServerResponse>((resolve) => {
    started = resolve;
  });
  const harness = await createHarness(t, { pods: [(_request, response) => started(response)] });
  const stream = await harness.tunnel();
  stream.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  const got = text(stream);
  const response = await handling;
  const drained = harness.waypoint.drain();
  response.end('finished');
  t.match(await within('the response', got), /connection: close[\s\S]*finished$/i);
  stream.end();
  await within('the drain', drained);
  t.match(await harness.connect(`${vip}:9080`), { kind: 'failed' });
});

t.test('policies of the pod see what a route makes of the request; a DENY, what was asked as well', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  const about = (action: L7Policy['action'], kind: 'path' | 'host', value: string): L7Policy => ({
    source: { kind: 'AuthorizationPolicy', namespace: 'default', name: `${action}-${kind}` },
    action,
    dryRun: false,
    rules: [{ clauses: [[[{ kind, values: [{ kind: 'prefix', value, ignoreCase: false }], notValues: [] }]]] }],
  });
  const nothing = { method: undefined, authority: undefined, scheme: undefined, headers: [], queryParams: [] };
  const shop = { path: { kind: 'path-prefix', value: '/shop' }, ...nothing } as const;
  const rewriting = [
    route({
      match: shop,
      rewritePath: { kind: 'prefix', value: '/admin' },
      rewriteHost: 'inner:1',
      requestHeaders: { set: [['x-role', 'guest']], add: [], remove: [] },
    }),
    route({}),
  ];
  const ask = async (path: string, ...policies: L7Policy[]) => {
    setRoutes(harness, ...rewriting);
    harness.model = { ...harness.model, workloadPolicies: new Map([[podUid(0), policies]]) };
    return (await http1(await harness.tunnel(), { path })).status;
  };
  t.equal(await ask('/shop/users'), 200);
  t.equal(await ask('/shop/users', about('deny', 'path', '/admin/')), 403, 'a rewrite leads to nothing that is closed');
  t.equal(await ask('/shop/users', about('deny', 'path', '/shop/')), 403, 'nor around what was closed');
  t.equal(await ask('/shop/users', about('allow', 'path', '/shop/')), 403, 'what is allowed is what arrives');
  t.equal(await ask('/shop/users', about('allow', 'path', '/admin/')), 200);
  t.equal(await ask('/admin/users', about('allow', 'path', '/admin/')), 200, 'without a rewrite');
  t.equal(await ask('/shop/users', about('allow', 'host', 'inner')), 200);
  t.equal(await ask('/shop/users', about('deny', 'host', 'inner')), 403);
  const values = [{ kind: 'exact', value: 'guest', ignoreCase: false }] as const;
  const guest = { kind: 'header', name: 'x-role', values, notValues: [] } as const;
  const ofGuests: L7Policy = { ...about('deny', 'path', ''), rules: [{ clauses: [[[guest]]] }] };
  t.equal(await ask('/shop/users', ofGuests), 403, 'headers too');
  t.equal(await ask('/else', ofGuests), 200);
});
