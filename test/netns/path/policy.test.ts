/**
 * The acceptance scenario of the 2022 announcement (R43) and what policies do to what is under way: at the waypoint to
 * the next request, at ztunnel to the connection itself.
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import t, { type Test } from 'tap';
import type { HttpAnswer } from '../../../src/lab/request.ts';
import { connectFrom, listenIn } from '../../../src/lab/sockets.ts';
import { eventually, within } from '../../support/eventually.ts';
import { insideLab } from '../lab/inside.ts';
import {
  askHttp,
  field,
  get,
  metricSum,
  productpageUrl,
  productpageWaypoint,
  reviewsWaypoint,
  spiffe,
  startPathMesh,
  statusOf,
  untilAnswer,
  vip,
  writeConfig,
} from './path-mesh.ts';

t.setTimeout(240_000);

const bareVip = '10.96.36.40';
/** Ports of reviews whose protocol is TCP, and that nobody has declared. */
const bareService = `
apiVersion: v1
kind: Service
metadata: {name: reviews-bare, namespace: default}
spec:
  clusterIP: ${bareVip}
  selector: {app: reviews, version: v1}
  ports:
    - {name: tcp-echo, port: 7000, targetPort: 7000}
    - {name: whatever, port: 7001, targetPort: 7001}
`;
const viewerMay = (methods: string) => `
apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: {name: productpage-deleter, namespace: default}
spec:
  selector: {matchLabels: {app: productpage}}
  rules:
    - from: [{source: {principals: [cluster.local/ns/default/sa/sleep]}}]
      to: [{operation: {methods: [${methods}]}}]
`;
const noNotsleep = `
apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: {name: no-notsleep, namespace: default}
spec:
  selector: {matchLabels: {app: details}}
  action: DENY
  rules:
    - from: [{source: {principals: [cluster.local/ns/default/sa/notsleep]}}]
`;

if (await insideLab()) {
  const mesh = await startPathMesh(t, { preset: 'legacy', files: { 'bare.yaml': bareService } });
  const { lab } = mesh;
  const detailsUrl = `http://${vip.details}:9080/details/0`;
  const reviewsUrl = `http://${vip.reviews}:9080/reviews/0`;

  t.test('sleep may GET productpage; DELETE and notsleep are answered 403', async (t) => {
    t.match(await askHttp(mesh, 'sleep', get(productpageUrl)), { status: 200 });
    const denial = { status: 403, body: 'RBAC: access denied', end: 'fin' };
    t.match(await askHttp(mesh, 'sleep', { kind: 'http', url: productpageUrl, method: 'DELETE' }), denial);
    t.match(await askHttp(mesh, 'notsleep', get(productpageUrl)), denial);
    const requests = mesh.output.of('productpage').filter((line) => /^(DELETE|GET) \/productpage/.test(line));
    t.equal(requests.length, 1, 'the application saw the allowed one alone');
  });

  t.test('the denials are counted with who, to whom and how', async (t) => {
    for (const account of ['sleep', 'notsleep']) {
      const count = await metricSum(mesh, productpageWaypoint, 'istio_requests_total', {
        response_code: '403',
        reporter: 'waypoint',
        source_principal: spiffe(account),
        destination_principal: spiffe('bookinfo-productpage'),
        destination_service: 'productpage.default.svc.cluster.local',
        connection_security_policy: 'mutual_tls',
      });
      t.equal(count, 1, account);
    }
  });

  t.test('reviews is split 90 to 10 between its versions', async (t) => {
    const count = 300;
    const answers = await lab.requestMany('sleep', {
      requests: Array.from({ length: count }, () => get(reviewsUrl)),
      concurrency: 8,
      keepAlive: true,
    });
    const of = (version: string) =>
      answers.filter((answer) => answer.kind === 'http' && answer.headers['x-app-version'] === version).length;
    t.ok(answers.every((answer) => statusOf(answer) === 200));
    t.equal(of('v1') + of('v2'), count, 'v3 has no share');
    // Four standard deviations of a binomial share: a right split fails here once in some 15 000 runs.
    t.ok(Math.abs(of('v2') - count * 0.1) <= 4 * Math.sqrt(count * 0.1 * 0.9), `v2 got ${of('v2')} of ${count}`);
  });

  t.test('the route sets a header on the request', async (t) => {
    const { body } = await askHttp(mesh, 'sleep', get(`http://${vip.reviews}:9080/headers`));
    const { headers } = JSON.parse(body) as { headers: Record<string, string> };
    t.equal(headers['x-waypoint'], 'reviews');
  });

  t.test('retries hide a replica’s failures', async (t) => {
    const failed = () => mesh.output.of('reviews-v1').filter((line) => / 503 /.test(line)).length;
    const before = failed();
    const fail = { kind: 'http', url: 'http://127.0.0.1:9080/admin/fail?count=3', method: 'POST' } as const;
    t.match(await lab.request('reviews-v1', fail), { status: 200 });
    const answers = await lab.requestMany('sleep', { requests: Array.from({ length: 20 }, () => get(reviewsUrl)) });
    t.same(new Set(answers.map(statusOf)), new Set([200]));
    t.equal(failed() - before, 3);
  });

  t.test('a change of policy at the waypoint is in force for the next request of a live connection', async (t) => {
    const socket = await holdConnection(t, 'sleep', vip.productpage);
    t.match(await exchange(socket, 'DELETE', '/productpage'), /^HTTP\/1\.1 403 /);
    writeConfig(mesh, 'deleter.yaml', viewerMay('DELETE'));
    await untilAnswer(
      mesh,
      'sleep',
      { kind: 'http', url: productpageUrl, method: 'DELETE' },
      (answer) => statusOf(answer) === 200,
    );
    t.match(await exchange(socket, 'DELETE', '/productpage'), /^HTTP\/1\.1 200 /);
    writeConfig(mesh, 'deleter.yaml', undefined);
    await untilAnswer(
      mesh,
      'sleep',
      { kind: 'http', url: productpageUrl, method: 'DELETE' },
      (answer) => statusOf(answer) === 403,
    );
    t.match(await exchange(socket, 'DELETE', '/productpage'), /^HTTP\/1\.1 403 /);
  });

  t.test('a new DENY at ztunnel ends the connections it concerns, and those alone, and resets new ones', async (t) => {
    const denied = await holdConnection(t, 'notsleep', vip.details);
    const kept = await holdConnection(t, 'sleep', vip.details);
    for (const socket of [denied, kept]) t.match(await exchange(socket, 'GET', '/details/0'), /^HTTP\/1\.1 200 /);
    const reset = new Promise((resolve) => denied.once('error', (error: NodeJS.ErrnoException) => resolve(error.code)));
    const mark = mesh.access.mark('ztunnel-node-b');
    writeConfig(mesh, 'no-notsleep.yaml', noNotsleep);
    t.equal(await within('the end of the denied connection', reset, 15_000), 'ECONNRESET');
    const stopped = await mesh.waitForAccess('ztunnel-node-b', field('src.identity', spiffe('notsleep')), mark);
    t.match(stopped.fields, { error: /policy/, 'dst.workload': 'details' });
    t.match(await lab.request('notsleep', get(detailsUrl)), { kind: 'failed', end: 'reset' });
    const line = await mesh.waitForAccess('ztunnel-node-b', field('error', /no-notsleep/), mark);
    t.match(line.fields, { 'src.identity': spiffe('notsleep'), direction: 'inbound' });
    t.match(await exchange(kept, 'GET', '/details/0'), /^HTTP\/1\.1 200 /);
    t.match(await askHttp(mesh, 'sleep', get(detailsUrl)), { status: 200 });
    writeConfig(mesh, 'no-notsleep.yaml', undefined);
    await untilAnswer(mesh, 'notsleep', get(detailsUrl), (answer) => statusOf(answer) === 200);
  });

  t.test('a policy file that is broken keeps the last good one in force', async (t) => {
    writeConfig(mesh, 'no-notsleep.yaml', noNotsleep);
    await untilAnswer(mesh, 'notsleep', get(detailsUrl), (answer) => answer.kind === 'failed');
    writeConfig(mesh, 'no-notsleep.yaml', `${noNotsleep}\n  - this: [is no YAML`);
    await eventually('the broken file was read', () =>
      mesh.output.of('ztunnel-node-b').some((line) => line.includes('no-notsleep.yaml')),
    );
    t.match(await lab.request('notsleep', get(detailsUrl)), { kind: 'failed' });
    writeConfig(mesh, 'no-notsleep.yaml', undefined);
    await untilAnswer(mesh, 'notsleep', get(detailsUrl), (answer) => statusOf(answer) === 200);
  });

  t.test(
    'a port declared TCP passes HTTP unread, and an undeclared one is recognised by its first bytes',
    async (t) => {
      await echoIn(t, 7000);
      await echoIn(t, 7001);
      const request = 'GET /as-it-is HTTP/1.1\r\nHost: Any Case\r\n\r\n';
      const send = (port: number, text: string) =>
        lab.request('sleep', { kind: 'tcp', host: bareVip, port, send: text, halfClose: true });
      const mark = mesh.access.mark(reviewsWaypoint);
      t.match(await send(7000, request), { end: 'fin', body: request });
      const tcp = await mesh.waitForAccess(reviewsWaypoint, field('stage', 'inbound_CONNECT_terminate'), mark);
      t.notOk(
        mesh.access.since(reviewsWaypoint, mark).some(({ fields }) => fields.method === 'GET'),
        'not read as HTTP',
      );
      t.match(tcp.fields, { authority: `${bareVip}:7000`, downstream_remote_address: /^10\.244\.1\.4:/ });
      t.match(await send(7001, 'hello\n'), { end: 'fin', body: 'hello\n' }, 'undeclared, and no HTTP');
      const http: HttpAnswer = await askHttp(mesh, 'sleep', get(`http://${bareVip}:7001/sniffed`));
      t.match(http, { status: 200, body: 'read' });
      const line = await mesh.waitForAccess(reviewsWaypoint, field('path', '/sniffed'), mark);
      t.match(line.fields, { method: 'GET', response_code: 200 });
    },
  );

  async function holdConnection(t: Test, place: string, host: string): Promise<Socket> {
    const socket = await connectFrom(lab.namespace(place), { host, port: 9080 });
    t.teardown(() => socket.destroy());
    return socket;
  }

  /** An echo that answers HTTP as HTTP. */
  async function echoIn(t: Test, port: number): Promise<void> {
    const { server } = await listenIn(lab.namespace('reviews-v1'), { port }, (socket) => {
      socket.once('data', (first) => {
        if (first.toString().startsWith('GET /sniffed')) {
          socket.end('HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nread');
          return;
        }
        socket.write(first);
        socket.pipe(socket);
      });
    });
    t.teardown(() => server.close());
  }
}

/** One request on a kept connection; resolves with the answer's head. */
async function exchange(socket: Socket, method: string, path: string): Promise<string> {
  socket.write(`${method} ${path} HTTP/1.1\r\nhost: app\r\n\r\n`);
  let text = '';
  const whole = (async () => {
    for (;;) {
      const [chunk] = (await once(socket, 'data')) as [Buffer];
      text += chunk.toString('latin1');
      const head = text.indexOf('\r\n\r\n');
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (head >= 0 && text.length >= head + 4 + length) return text.slice(0, head);
    }
  })();
  return await within(`an answer to ${method} ${path}`, whole, 10_000);
}
