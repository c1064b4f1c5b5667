/** TLS, PROXY protocol, limits and retries towards pods, through a waypoint on real tunnels and real TLS servers. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { createServer as createHttp2, createSecureServer } from 'node:http2';
import { createServer as createHttps } from 'node:https';
import { createServer as createTcp, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { SecretText } from '../../../src/base/secret-text.ts';
import { type DestinationPolicy, type Destinations, emptyDestinationPolicy } from '../../../src/route/destination.ts';
import { emptyL7Model, type L7Model } from '../../../src/route/model.ts';
import type { BackendPolicies } from '../../../src/route/upstream-tls.ts';
import { noBackendPolicies } from '../../../src/route/upstream-tls.ts';
import { plainPool } from '../../support/connection-pool.ts';
import { eventually, within } from '../../support/eventually.ts';
import { makeChange, makeWorkload } from '../../support/mesh-records.ts';
import { TestCa } from '../../support/test-ca.ts';
import { http1, http2 } from './client.ts';
import { createHarness, type Harness, podIp, podUid, serviceKey } from './harness.ts';

const ca = await TestCa.create('Backend authority');
const backend = await ca.issuePem([], { dnsNames: ['backend.example.com'] });
const hello: RequestListener = (_request, response) => void response.end('hello');

const simpleTls = {
  mode: 'simple',
  clientCertificate: undefined,
  privateKey: undefined,
  caCertificates: undefined,
  caCrl: undefined,
  credentialName: 'backend',
  subjectAltNames: [],
  sni: 'backend.example.com',
  insecureSkipVerify: false,
} as const;

function modelOf(policy: Partial<DestinationPolicy>, backends: Partial<BackendPolicies> = {}): L7Model {
  const policies = { otherwise: { ...emptyDestinationPolicy, ...policy }, ports: new Map() };
  const destination = { sources: [], policies, subsets: new Map() };
  const destinations: Destinations = new Map([[serviceKey, { otherwise: destination, ofNamespace: new Map() }]]);
  return { ...emptyL7Model, destinations, backends: { ...noBackendPolicies, ...backends } };
}

function credential(fields: { certPem?: string; keyPem?: string; authorities?: string }) {
  const { certPem, keyPem, authorities } = fields;
  const key = keyPem === undefined ? undefined : new SecretText(keyPem);
  const made = { certificate: certPem, key, authorities, revocations: undefined };
  return { credentials: new Map([['default/backend', made]]) };
}

const trusted = credential({ authorities: ca.rootPem });
const serverTls = { cert: backend.certPem, key: backend.keyPem };

async function withServer(t: Test, server: Server, fields: object = {}): Promise<Harness> {
  return await createHarness(t, { pods: [hello], servers: [server], ...fields });
}

async function answer(harness: Harness, options?: Parameters<typeof http1>[1]) {
  return await http1(await harness.tunnel(), options);
}

/** What the log says since it was asked last. */
async function lastFailure(harness: Harness): Promise<string> {
  await eventually('a report', () => harness.lines.length > 0);
  return harness.lines
    .splice(0)
    .map((line) => [...line.values()].join(' '))
    .join('\n');
}

t.test('TLS to a pod, inside the tunnel: authority and name are checked', async (t) => {
  let asked: string | false | null = null;
  const server = createHttps(serverTls, (request, response) => {
    asked = (request.socket as TLSSocket).servername ?? null;
    response.end('over TLS');
  });
  const harness = await withServer(t, server);
  harness.model = modelOf({ tls: simpleTls }, trusted);
  t.match(await answer(harness), { status: 200, body: 'over TLS' });
  t.equal(asked, 'backend.example.com');

  harness.model = modelOf({ tls: { ...simpleTls, sni: 'other.example.com' } }, trusted);
  t.match(await answer(harness), { status: 503 }, 'another name is not that server');
  t.match(await lastFailure(harness), /not for other\.example\.com .*backend\.example\.com/);
  harness.model = modelOf({ tls: { ...simpleTls, subjectAltNames: ['backend.example.com'], sni: 'x.y' } }, trusted);
  t.match(await answer(harness), { status: 200 }, 'names that are listed count instead');
  const foreign = await TestCa.create('Somebody else');
  harness.model = modelOf({ tls: simpleTls }, credential({ authorities: foreign.rootPem }));
  t.match(await answer(harness), { status: 503 });
  t.match(await lastFailure(harness), /UF .*UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO/);
  harness.model = modelOf(
    { tls: { ...simpleTls, insecureSkipVerify: true } },
    credential({ authorities: foreign.rootPem }),
  );
  t.match(await answer(harness), { status: 200 }, 'unless nothing is to be checked');
  harness.model = modelOf({ tls: simpleTls });
  t.match(await answer(harness), { status: 503 }, 'no credential: nothing is sent');
  t.match(await lastFailure(harness), /there is no Secret default\/backend/);
});

t.test('MUTUAL TLS shows our certificate', async (t) => {
  const own = await ca.issuePem(['spiffe://cluster.local/ns/default/sa/waypoint']);
  const server = createHttps({ ...serverTls, ca: ca.rootPem, requestCert: true }, (request, response) => {
    response.end((request.socket as TLSSocket).getPeerX509Certificate()?.subjectAltName ?? 'nobody');
  });
  const harness = await withServer(t, server);
  harness.model = modelOf({ tls: { ...simpleTls, mode: 'mutual' } }, credential({ ...own, authorities: ca.rootPem }));
  t.match(await answer(harness), { body: /sa\/waypoint/ });
  harness.model = modelOf({ tls: { ...simpleTls, mode: 'mutual' } }, trusted);
  t.match(await answer(harness), { status: 503 }, 'without a key there is no MUTUAL');
});

t.test('certificates in files are read again when they change; bad ones change nothing', async (t) => {
  const directory = await mkdtemp(path.join(tmpdir(), 'ambit-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const file = path.join(directory, 'ca.pem');
  await writeFile(file, (await TestCa.create('Somebody else')).rootPem);
  const harness = await withServer(t, createHttps(serverTls, hello));
  const tls = { ...simpleTls, credentialName: undefined, caCertificates: file };
  harness.model = modelOf({ tls });
  t.match(await answer(harness), { status: 503 });
  await writeFile(file, ca.rootPem);
  // Another policy looks at once, as every policy does when it has no good context.
  harness.model = modelOf({ tls: { ...tls, subjectAltNames: ['backend.example.com'] } });
  t.match(await answer(harness), { status: 200 });
});

t.test('a BackendTLSPolicy is TLS as well, and one that is broken is no way around', async (t) => {
  const harness = await withServer(t, createHttps(serverTls, hello));
  const source = { kind: 'BackendTLSPolicy', namespace: 'default', name: 'p' };
  const tls = { source, kind: 'tls', hostname: 'backend.example.com', names: [], authorities: ca.rootPem } as const;
  const forService = (otherwise: typeof tls | { source: typeof source; kind: 'invalid'; reason: string }) =>
    new Map([[serviceKey, { otherwise, ports: new Map() }]]);
  harness.model = { ...emptyL7Model, backends: { ...noBackendPolicies, tls: forService(tls) } };
  t.match(await answer(harness), { status: 200 });
  const invalid = forService({ source, kind: 'invalid', reason: 'there is no ConfigMap default/ca' });
  harness.model = { ...emptyL7Model, backends: { ...noBackendPolicies, tls: invalid } };
  t.match(await answer(harness), { status: 503 });
  t.match(await lastFailure(harness), /there is no ConfigMap/);
});

t.test('HTTP/2 is agreed on by ALPN, and missed where it is not spoken', async (t) => {
  const server = createSecureServer({ ...serverTls, allowHTTP1: true }, (request, response) => {
    response.end(`${request.httpVersion} ${(request.socket as TLSSocket).alpnProtocol}`);
  });
  const harness = await withServer(t, server as unknown as Server, { appProtocol: 'http2' });
  harness.model = modelOf({ tls: simpleTls }, trusted);
  const told = await http2(await harness.tunnel(), { ':method': 'GET' });
  t.match(told, { headers: { ':status': 200 }, body: '2.0 h2' });
  const upgraded = await withServer(t, createHttps(serverTls, hello));
  upgraded.model = modelOf({ tls: simpleTls, connectionPool: { ...plainPool, h2Upgrade: 'always' } }, trusted);
  t.match(await answer(upgraded), { status: 503 });
  t.match(await lastFailure(upgraded), /does not speak HTTP\/2|NO_APPLICATION_PROTOCOL/i);
});

t.test('the PROXY protocol comes first, inside the tunnel, and its connections are one client’s alone', async (t) => {
  const heads: string[] = [];
  const echo = (socket: Socket) => {
    let bytes = '';
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.toString('latin1');
      if (!bytes.includes('\r\n\r\n', 16)) return;
      heads.push(bytes);
      bytes = '';
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
    });
  };
  const harness = await createHarness(t, { pods: [echo], servers: [createTcp(echo)] });
  harness.model = modelOf({ proxyProtocol: 'v1' });
  t.match(await answer(harness), { body: 'ok' });
  t.match(await answer(harness), { body: 'ok' });
  t.match(heads[0], /^PROXY TCP4 127\.0\.0\.1 10\.96\.179\.71 \d+ 9080\r\nGET \/ HTTP\/1\.1\r\n/);
  harness.model = modelOf({ proxyProtocol: 'v2' });
  t.match(await answer(harness), { body: 'ok' });
  t.ok(heads.at(-1)?.startsWith('\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x7f\0\0\x01\x0a\x60\xb3\x47'));
});

t.test('limits: a request more than may wait is refused with 503 UO, those that wait are served', async (t) => {
  const waiting: (() => void)[] = [];
  const slow: RequestListener = (_request, response) => void waiting.push(() => response.end('served'));
  const harness = await createHarness(t, { pods: [slow] });
  harness.model = modelOf({ connectionPool: { ...plainPool, maxConnections: 1, maxPendingRequests: 2 } });
  const first = answer(harness);
  await eventually('one request at the pod', () => waiting.length === 1);
  const answers = [first, answer(harness), answer(harness)];
  await eventually('two that wait', () => pendingOf(harness) === 2);
  const refused = await answer(harness);
  t.match(refused, { status: 503, headers: { 'x-envoy-overloaded': 'true' }, body: /reset reason: overflow/ });
  for (let served = 0; served < 3; served++) {
    await eventually('the next one', () => waiting.length > 0);
    for (const serve of waiting.splice(0)) serve();
  }
  for (const each of await Promise.all(answers)) t.match(each, { status: 200, body: 'served' });
  t.equal(harness.arrived.length, 1, 'on one connection');
  t.equal(pendingOf(harness), 0);
  await eventually('the reports', () => harness.requests.length === 4);
  t.match(harness.requests.map(({ request }) => request.responseFlags).sort(), ['-', '-', '-', 'UO']);
  t.match(harness.counters('ambit_upstream_overflows_total'), { [`${hostOf(serviceKey)} pending`]: 1 });
});

function hostOf(key: string): string {
  return key.slice(key.indexOf('/') + 1);
}

function upstreamOf(harness: Harness) {
  const { services } = harness.waypoint;
  const service = services.mesh.service(serviceKey);
  if (service === undefined) throw new Error('no service');
  return services.upstreams.of(harness.model, 'default', service, 9080, undefined);
}

function pendingOf(harness: Harness): number {
  return upstreamOf(harness).circuit.pending;
}

t.test('limits: requests under way, and what a connection may serve', async (t) => {
  let release: (() => void) | undefined;
  const held: RequestListener = (request, response) => {
    if (request.url === '/held') release = () => void response.end();
    else response.end(request.headers.connection ?? '');
  };
  const harness = await createHarness(t, { pods: [held] });
  harness.model = modelOf({ connectionPool: { ...plainPool, maxRequests: 1, maxRequestsPerConnection: 2 } });
  const first = answer(harness, { path: '/held' });
  await eventually('the first request', () => release !== undefined);
  t.match(await answer(harness), { status: 503, headers: { 'x-envoy-overloaded': 'true' } });
  release?.();
  await first;
  for (let i = 0; i < 5; i++) t.match(await answer(harness), { status: 200 });
  t.equal(harness.arrived.length, 3, 'six requests, two a connection');
  t.equal(upstreamOf(harness).circuit.requests, 0);
});

t.test('retries are bounded by the budget of the rule, POST is not sent twice', async (t) => {
  let calls = 0;
  const failing: RequestListener = (request, response) => {
    calls++;
    request.resume().on('end', () => response.writeHead(500).end());
  };
  const harness = await createHarness(t, { pods: [failing] });
  const retry = {
    attempts: 3,
    perTryTimeoutMs: undefined,
    onConnectFailure: true,
    onRefusedStream: true,
    onReset: true,
    on5xx: true,
    onGatewayError: false,
    onRetriable4xx: false,
    statusCodes: new Set<number>(),
    backoffMs: 1,
  };
  const withRetries = (model: L7Model): L7Model => {
    const action = {
      kind: 'forward',
      backends: [{ service: serviceKey, port: 9080, weight: 1, requestHeaders: undefined, responseHeaders: undefined }],
    } as const;
    const route = {
      name: 'r',
      source: undefined,
      match: undefined,
      action,
      requestHeaders: undefined,
      responseHeaders: undefined,
      rewritePath: undefined,
      rewriteHost: undefined,
      timeoutMs: undefined,
      retry,
    };
    const port = { ...emptyPort, routes: [route] };
    return { ...model, ports: new Map([[`${serviceKey}:9080`, port]]) };
  };
  harness.model = withRetries(emptyL7Model);
  t.match(await answer(harness), { status: 500 });
  t.equal(calls, 4, 'one try and three retries');
  calls = 0;
  t.match(await answer(harness, { method: 'POST', body: 'x' }), { status: 500 });
  t.equal(calls, 1);
  t.match(await answer(harness, { method: 'POST', body: 'x', headers: { 'idempotency-key': 'k' } }), { status: 500 });
  t.equal(calls, 5, 'the client says that it may be repeated');
  calls = 0;
  harness.model = withRetries(modelOf({ retryBudget: { percent: 0, minRetryConcurrency: 0 } }));
  t.match(await answer(harness), { status: 500 });
  t.equal(calls, 1);
  t.match(harness.requests.at(-1)?.request.responseFlags, 'UO');
});

const emptyPort = { service: serviceKey, port: 9080, appProtocol: 'http11', routes: [], streams: [] } as const;

t.test('a gRPC status that came without a message is tried again, by the mesh’s own default', async (t) => {
  let calls = 0;
  const server = createHttp2((_request, response) => {
    calls++;
    response.writeHead(200, { 'content-type': 'application/grpc', 'grpc-status': calls === 1 ? '14' : '0' });
    response.end();
  });
  const harness = await withServer(t, server as unknown as Server, { appProtocol: 'grpc' });
  const told = await http2(await harness.tunnel(), { 'content-type': 'application/grpc', te: 'trailers' });
  t.match(told.headers, { 'grpc-status': '0' });
  t.equal(calls, 2);
});

t.test('a kept connection that its server closes costs no GET; a POST is told', async (t) => {
  const sockets = new Map<Socket, number>();
  let breaks = 0;
  const closing = (socket: Socket) => {
    socket.on('data', () => {
      const served = (sockets.get(socket) ?? 0) + 1;
      sockets.set(socket, served);
      if (served === 1) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
      else {
        breaks++;
        socket.end();
      }
    });
  };
  const harness = await createHarness(t, { pods: [closing], servers: [createTcp(closing)] });
  for (let i = 0; i < 4; i++) t.match(await answer(harness), { status: 200, body: 'ok' });
  t.equal(breaks, 3, 'every one but the first met a connection that was closed');
  t.match(await answer(harness, { method: 'POST', body: 'x' }), { status: 503 });
});

for (const appProtocol of ['http11', 'http2'] as const) {
  t.test(`a pod’s ztunnel that drains is not held by idle connections (${appProtocol})`, async (t) => {
    const server =
      appProtocol === 'http2' ? (createHttp2((_q, r) => void r.end('hello')) as unknown as Server) : undefined;
    const harness = await createHarness(t, { pods: [hello], servers: server && [server], appProtocol });
    t.match(await answer(harness), { status: 200 });
    await within('the drain', harness.drainPods(), 2000);
  });
}

t.test('no request fails while endpoints come and go under sixteen connections', async (t) => {
  const pods = Array.from({ length: 4 }, () => hello);
  const harness = await createHarness(t, { pods });
  const records = pods.map((_, i) => harness.mesh.workload(podUid(i)));
  let done = false;
  let requests = 0;
  const failures: string[] = [];
  const clients = Array.from({ length: 16 }, async () => {
    const stream = await harness.tunnel();
    const client = keepAlive(stream);
    while (!done) {
      const status = await client();
      requests++;
      if (status !== 200) failures.push(String(status));
    }
  });
  for (let swap = 0; swap < 30; swap++) {
    const index = swap % pods.length;
    const gone = records[index];
    if (gone === undefined) throw new Error('no pod');
    harness.mesh.apply(makeChange({ removedWorkloads: [gone.uid] }));
    const before = requests;
    await eventually('requests meanwhile', () => requests > before + 16);
    harness.mesh.apply(makeChange({ workloads: [makeWorkload({ ...gone, addresses: [podIp(index)] })] }));
  }
  done = true;
  await Promise.all(clients);
  t.same(failures, []);
  t.ok(requests > 30 * 16, `${requests} requests`);
});

/** Requests one after the other on one connection; each answers with its status. */
function keepAlive(stream: import('node:stream').Duplex): () => Promise<number> {
  let text = '';
  let waiter: (status: number) => void = () => {};
  stream.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    const end = text.indexOf('hello');
    if (end < 0) return;
    const status = Number(text.slice(9, 12));
    text = '';
    waiter(status);
  });
  stream.on('close', () => waiter(0));
  return () =>
    new Promise((resolve) => {
      waiter = resolve;
      stream.write('GET / HTTP/1.1\r\nhost: productpage\r\n\r\n');
    });
}
