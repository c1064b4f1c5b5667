/** Hosts outside the mesh: names looked up, TLS originated, wildcards, and addresses that are not called. */
import { readFile } from 'node:fs/promises';
import { createServer as createHttp, type Server } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { createServer as createTcp, Socket } from 'node:net';
import { connect as connectTls, createServer as createTls } from 'node:tls';
import t, { type Test } from 'tap';
import type { NameSource } from '../../../src/net/name-resolver.ts';
import { emptyL7Model, type L7Model } from '../../../src/route/model.ts';
import { compileText, documents } from '../../support/compile-text.ts';
import { eventually } from '../../support/eventually.ts';
import { makeChange } from '../../support/mesh-records.ts';
import { TestCa } from '../../support/test-ca.ts';
import { http1 } from './client.ts';
import { createHarness, type Harness } from './harness.ts';

const ca = await TestCa.create('Outside authority');
const outside = await ca.issuePem([], { dnsNames: ['*.example.com'] });
const tls = { cert: outside.certPem, key: outside.keyPem };

async function listen(t: Test, server: Server | ReturnType<typeof createTcp>, ip = '127.0.0.1'): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => void sockets.add(socket.on('error', () => {})));
  await new Promise<void>((resolve) => server.listen(0, ip, resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as { port: number }).port;
}

/** What the YAML says, beside the harness's own service; bound to its waypoint. */
async function world(t: Test, yaml: string, options: { nameSource?: NameSource; egressAddresses?: readonly string[] }) {
  const harness = await createHarness(t, { pods: [], ...options });
  const compilation = compileText(documents(yaml));
  const own = harness.mesh.service('default/productpage.default.svc.cluster.local');
  const services = [...compilation.services.values()].map((service) => ({ ...service, waypoint: own?.waypoint }));
  harness.mesh.apply(makeChange({ services, workloads: [...compilation.workloads.values()] }));
  harness.model = { ...emptyL7Model, ...compilation.l7 } satisfies L7Model;
  return harness;
}

function names(table: Readonly<Record<string, readonly string[] | 'fails'>>): NameSource {
  return async (hostname, family) => {
    const found = table[hostname];
    if (found === 'fails') throw Object.assign(new Error('no answer'), { code: 'ETIMEOUT' });
    if (found === undefined || family === 6) throw Object.assign(new Error('none'), { code: 'ENOTFOUND' });
    return found.map((address) => ({ address, ttlSeconds: 1 }));
  };
}

function entry(spec: string): string {
  return `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: out, namespace: default}
spec: {addresses: [240.1.1.1], ${spec}}
`;
}

const vip = '240.1.1.1:80';
const local = { egressAddresses: ['127.0.0.0/8'] };
const caSecret = `
apiVersion: v1
kind: Secret
metadata: {name: outside, namespace: default}
stringData: {ca.crt: ${JSON.stringify(ca.rootPem)}}
`;
const originate = `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: out, namespace: default}
spec: {host: "HOST", trafficPolicy: {tls: {mode: SIMPLE, credentialName: outside}}}
`;

async function logged(t: Test, harness: Harness, pattern: RegExp): Promise<void> {
  const text = () => harness.lines.map((line) => [...line.values()].join(' ')).join('\n');
  await t.resolves(
    eventually(String(pattern), () => pattern.test(text())),
    String(pattern),
  );
}

t.test('a name is looked up, and another of its addresses is used when one does not answer', async (t) => {
  const port = await listen(
    t,
    createHttp((request, response) => response.end(request.headers.host)),
    '127.0.0.9',
  );
  const yaml = entry(
    `hosts: [api.example.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP, targetPort: ${port}}]`,
  );
  const nameSource = names({ 'api.example.com': ['127.0.0.8', '127.0.0.9'] });
  const harness = await world(t, yaml, { ...local, nameSource });
  for (let i = 0; i < 4; i++) {
    t.match(await http1(await harness.tunnel(vip), { headers: { host: 'api.example.com' } }), {
      status: 200,
      body: 'api.example.com',
    });
  }
  t.match(harness.requests[0]?.labels, { destinationService: 'api.example.com' });
});

t.test('TLS is originated to the name of the entry, HTTP to HTTPS', async (t) => {
  const port = await listen(
    t,
    createHttps(tls, (_request, response) => response.end('over TLS')),
  );
  const yaml = documents(
    entry(
      `hosts: [api.example.com], resolution: DNS_ROUND_ROBIN, ports: [{number: 80, name: http, protocol: HTTP, targetPort: ${port}}]`,
    ),
    originate.replace('HOST', 'api.example.com'),
    caSecret,
  );
  const harness = await world(t, yaml, { ...local, nameSource: names({ 'api.example.com': ['127.0.0.1'] }) });
  t.match(await http1(await harness.tunnel(vip)), { status: 200, body: 'over TLS' });
});

t.test('a name that leads to this machine, or to a pod, is not called', async (t) => {
  const port = await listen(
    t,
    createHttp((_request, response) => response.end('never')),
  );
  const ports = `ports: [{number: 80, name: http, protocol: HTTP, targetPort: ${port}}]`;
  const nameSource = names({ 'api.example.com': ['127.0.0.1', '169.254.169.254', '10.244.9.9'] });
  for (const spec of [
    `hosts: [api.example.com], resolution: DNS, ${ports}`,
    `hosts: [static.example.com], resolution: STATIC, ${ports}, endpoints: [{address: 127.0.0.1}]`,
  ]) {
    const harness = await world(t, entry(spec), { nameSource });
    t.match(await http1(await harness.tunnel(vip)), { status: 503 });
    await logged(t, harness, /not called: .*this machine/);
  }
  const harness = await world(t, entry(`hosts: [api.example.com], resolution: DNS, ${ports}`), {
    ...local,
    nameSource: names({ 'api.example.com': ['10.244.9.9'] }),
  });
  t.match(await http1(await harness.tunnel(vip)), { status: 503 });
  await logged(t, harness, /10\.244\.9\.9 belongs to the mesh/);
});

t.test('an endpoint that somebody wrote down does not lead to this machine, however it is written', async (t) => {
  let reached = 0;
  const port = await listen(
    t,
    createHttp((_request, response) => response.end(`call ${++reached}`)),
  );
  const slice = (ip: string) => `
apiVersion: v1
kind: Service
metadata: {name: out, namespace: default}
spec: {clusterIP: 240.1.1.1, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: out-1, namespace: default, labels: {kubernetes.io/service-name: out}}
addressType: IPv4
endpoints: [{addresses: [${ip}]}]
ports: [{name: http, port: ${port}}]
`;
  const ports = `ports: [{number: 80, name: http, protocol: HTTP, targetPort: ${port}}]`;
  const selecting = `hosts: [machine.example], resolution: STATIC, location: MESH_INTERNAL, ${ports}, workloadSelector: {labels: {app: machine}}`;
  const machine = (ip: string, labels: string) => `
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: machine, namespace: default}
spec: {address: ${ip}, labels: {app: machine${labels}}}
`;
  const tunnel = ', networking.istio.io/tunnel: http';
  for (const ip of ['127.0.0.1', '169.254.169.254']) {
    for (const yaml of [
      slice(ip),
      documents(entry(selecting), machine(ip, '')),
      documents(entry(selecting), machine(ip, tunnel)),
      entry(
        `hosts: [tunnel.example], resolution: STATIC, ${ports}, endpoints: [{address: ${ip}, labels: {networking.istio.io/tunnel: http}}]`,
      ),
    ]) {
      const harness = await world(t, yaml, {});
      t.match(await http1(await harness.tunnel(vip)), { status: 503 }, yaml);
      await logged(t, harness, /not called: .*this machine or its link/);
    }
  }
  t.equal(reached, 0);
  const harness = await world(t, slice('127.0.0.1'), local);
  t.match(await http1(await harness.tunnel(vip)), { status: 200, body: 'call 1' }, 'an operator may allow it');
});

t.test('a wildcard is served by the name that the request gives, and no other', async (t) => {
  const port = await listen(
    t,
    createHttps(tls, (request, response) => response.end(request.headers.host)),
  );
  const yaml = documents(
    entry(
      `hosts: ["*.example.com"], resolution: DYNAMIC_DNS, ports: [{number: 80, name: http, protocol: HTTP, targetPort: ${port}}]`,
    ),
    originate.replace('HOST', '*.example.com'),
    caSecret,
  );
  const table = { 'a.example.com': ['127.0.0.1'], 'b.example.com': ['127.0.0.1'], 'evil.com': ['127.0.0.1'] };
  const harness = await world(t, yaml, { ...local, nameSource: names(table) });
  const ask = async (host: string) => await http1(await harness.tunnel(vip), { headers: { host } });
  t.match(await ask('a.example.com'), { status: 200, body: 'a.example.com' });
  t.match(await ask('B.example.com:80'), { status: 200 });
  for (const host of ['evil.com', 'example.com', '127.0.0.1', 'x.example.com.evil.com', 'a/b.example.com'])
    t.match(await ask(host), { status: host.includes('/') ? 400 : 404 }, host);
  t.match(await ask('unknown.example.com'), { status: 503 });
  await logged(t, harness, /unknown\.example\.com was not resolved/);
});

t.test('TLS to a name of a wildcard that leads to this machine is tried a few times, and ends', async (t) => {
  const harness = await world(
    t,
    entry(
      'hosts: ["*.example.com"], resolution: DYNAMIC_DNS, ports: [{number: 80, name: tls, protocol: TLS, targetPort: 9}]',
    ),
    { nameSource: names({ 'bad.example.com': ['127.0.0.1'] }) },
  );
  const stream = await harness.tunnel(vip);
  stream.on('error', () => {});
  connectTls({ socket: stream, servername: 'bad.example.com' }).on('error', () => {});
  await logged(t, harness, /upstream_connect_failure/);
});

t.test('TLS to a wildcard goes where its server name says', async (t) => {
  const port = await listen(
    t,
    createTls(tls, (socket) => void socket.end(String(socket.servername))),
  );
  const yaml = entry(
    `hosts: ["*.example.com"], resolution: DYNAMIC_DNS, ports: [{number: 80, name: tls, protocol: TLS, targetPort: ${port}}]`,
  );
  const nameSource = names({ 'a.example.com': ['127.0.0.1'], 'evil.com': ['127.0.0.1'] });
  const harness = await world(t, yaml, { ...local, nameSource });
  const ask = (servername: string) =>
    new Promise<string>((resolve) => {
      void harness.tunnel(vip).then((stream) => {
        const socket = connectTls({ socket: stream, servername, ca: ca.rootPem });
        socket.once('data', (chunk: Buffer) => resolve(chunk.toString()));
        socket.once('error', (error) => resolve(error.message));
        socket.once('close', () => resolve('closed'));
      });
    });
  t.equal(await ask('a.example.com'), 'a.example.com');
  t.not(await ask('evil.com'), 'evil.com');
  await logged(t, harness, /host_not_within_wildcard/);
});

t.test('the last addresses are used while nobody answers', async (t) => {
  const port = await listen(
    t,
    createHttp((_request, response) => response.setHeader('connection', 'close').end('still here')),
  );
  const yaml = entry(
    `hosts: [api.example.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP, targetPort: ${port}}]`,
  );
  const table: Record<string, readonly string[] | 'fails'> = { 'api.example.com': ['127.0.0.1'] };
  let asked = 0;
  const source = names(table);
  const nameSource: NameSource = (hostname, family) => {
    asked++;
    return source(hostname, family);
  };
  const harness = await world(t, yaml, { ...local, nameSource });
  t.match(await http1(await harness.tunnel(vip)), { body: 'still here' });
  table['api.example.com'] = 'fails';
  await eventually('another question', async () => {
    await http1(await harness.tunnel(vip));
    return asked > 2;
  });
  t.match(await http1(await harness.tunnel(vip)), { body: 'still here' });
});

t.test('the example of docs/egress.md does what the page says', async (t) => {
  const port = await listen(
    t,
    createHttps(tls, (request, response) => response.end(`${request.url} over TLS`)),
  );
  const page = await readFile(new URL('../../../docs/egress.md', import.meta.url), 'utf8');
  const example = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  const yaml = documents(
    example
      .replace('targetPort: 443', `targetPort: ${port}`)
      .replace('hosts: [api.example.com]', 'hosts: [api.example.com]\n  addresses: [240.1.1.1]')
      // Its own authority instead of the Internet's.
      .replace('mode: SIMPLE', 'mode: SIMPLE, credentialName: outside'),
    caSecret,
  );
  const harness = await world(t, yaml, { ...local, nameSource: names({ 'api.example.com': ['127.0.0.1'] }) });
  t.match(await http1(await harness.tunnel(vip), { path: '/v1/x' }), { status: 200, body: '/v1/x over TLS' });
  t.match(await http1(await harness.tunnel(vip), { path: '/v2/x' }), { status: 403 });
});
