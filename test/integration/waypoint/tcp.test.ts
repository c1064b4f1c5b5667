/** TCP through a waypoint: declared, sniffed, server-first, denied, half-closed and reset. */
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { emptyL7Model } from '../../../src/route/model.ts';
import { eventually, within } from '../../support/eventually.ts';
import { http1 } from './client.ts';
import { createHarness, host, notSleepId, onlySleep, podIp, podUid, serviceKey } from './harness.ts';

const echo = (socket: Socket) => void socket.pipe(socket);
const greet = (socket: Socket) => {
  socket.write('220 ready\r\n');
  socket.pipe(socket);
};

t.test('a port declared TCP passes bytes and half-close both ways', async (t) => {
  const harness = await createHarness(t, { pods: [echo], podKind: 'tcp', appProtocol: 'tcp' });
  const stream = await harness.tunnel();
  stream.end('GET / HTTP/1.1\r\n\r\n');
  t.equal(await within('the echo', text(stream)), 'GET / HTTP/1.1\r\n\r\n', 'HTTP is not looked at');
  await eventually('the connection to be reported', () => harness.tcp.closed.length === 1);
  t.match(harness.tcp, { opened: 1, closed: ['-'], received: 18, sent: 18 });
  t.same(
    harness.lines.map((line) => line.get('upstream_cluster')),
    [
      `inbound-pod|${harness.podPort}||${podIp(0)}`,
      `inbound-vip|9080|tcp|${host}`,
      `inbound-vip|9080|internal|${host}`,
    ],
  );
});

t.test('where the server speaks first, a declared port does not wait, an undeclared one waits a moment', async (t) => {
  for (const appProtocol of ['tcp', 'unknown'] as const) {
    const harness = await createHarness(t, { pods: [greet], podKind: 'tcp', appProtocol, sniffTimeoutMs: 30 });
    const stream = await harness.tunnel();
    const first = await within('the greeting', new Promise((resolve) => stream.once('data', resolve)));
    t.equal(String(first), '220 ready\r\n', appProtocol);
  }
});

t.test('on an undeclared port the first bytes tell what it is', async (t) => {
  const bytes = await createHarness(t, {
    pods: [echo],
    podKind: 'tcp',
    appProtocol: 'unknown',
    sniffTimeoutMs: 10_000,
  });
  const stream = await bytes.tunnel();
  stream.end('*1\r\n$4\r\nPING\r\n');
  t.equal(await within('the echo', text(stream)), '*1\r\n$4\r\nPING\r\n');
  const web = await createHarness(t, {
    pods: [(_request, response) => void response.end('web')],
    appProtocol: 'unknown',
  });
  t.match(await http1(await web.tunnel()), { status: 200, body: 'web' });
});

t.test('what is no HTTP on a port declared HTTP is answered 400', async (t) => {
  const harness = await createHarness(t, { pods: [(_request, response) => void response.end()] });
  const stream = await harness.tunnel();
  stream.end('*1\r\n$4\r\nPING\r\n');
  t.match(await within('the answer', text(stream)), /^HTTP\/1.1 400/);
});

t.test('a denied connection is reset', async (t) => {
  const harness = await createHarness(t, { pods: [echo], podKind: 'tcp', appProtocol: 'tcp' });
  harness.model = { ...emptyL7Model, workloadPolicies: new Map([[podUid(0), [onlySleep]]]) };
  const allowed = await harness.tunnel();
  allowed.end('x');
  t.equal(await within('the echo', text(allowed)), 'x');
  const denied = await harness.tunnel(undefined, notSleepId);
  await within('the reset', t.rejects(text(denied)));
  t.equal(harness.arrived.length, 1);
  await eventually('the denial to be reported', () => harness.tcp.closed.includes('RBAC'));
});

t.test('an open connection is reset once a policy of the pod or the service forbids it; others go on', async (t) => {
  for (const changed of ['workloadPolicies', 'servicePolicies'] as const) {
    const harness = await createHarness(t, { pods: [echo], podKind: 'tcp', appProtocol: 'tcp' });
    const [kept, cut] = [await harness.tunnel(), await harness.tunnel(undefined, notSleepId)];
    for (const stream of [kept, cut]) {
      stream.write('x');
      await within('the echo', new Promise((resolve) => stream.once('data', resolve)));
    }
    const reset = within('the reset', t.rejects(text(cut), changed));
    const key = changed === 'workloadPolicies' ? podUid(0) : serviceKey;
    harness.model = { ...emptyL7Model, [changed]: new Map([[key, [onlySleep]]]) };
    harness.waypoint.modelChanged();
    await reset;
    await eventually('the end to be reported', () => harness.tcp.closed.length === 1);
    t.same(harness.tcp.closed, ['RBAC']);
    t.ok(harness.lines.some((line) => line.get('response_flags') === 'RBAC'));
    kept.end('y');
    t.equal(await within('the echo', text(kept)), 'y');
  }
});

t.test('a reset by the application arrives as a reset', async (t) => {
  const reset = (socket: Socket) => void socket.once('data', () => socket.resetAndDestroy());
  const harness = await createHarness(t, { pods: [reset], podKind: 'tcp', appProtocol: 'tcp' });
  const stream = await harness.tunnel();
  stream.write('x');
  await within('the reset', t.rejects(text(stream)));
});

t.test('a dead pod is passed over; with no pod left the connection is reset', async (t) => {
  const harness = await createHarness(t, { pods: [echo, 'down'], podKind: 'tcp', appProtocol: 'tcp' });
  for (let i = 0; i < 5; i++) {
    const stream = await harness.tunnel();
    stream.end('x');
    t.equal(await within('the echo', text(stream)), 'x');
  }
  const service = harness.mesh.service(serviceKey);
  if (service === undefined) throw new Error('service');
  harness.model = {
    ...emptyL7Model,
    ports: new Map([
      [
        `${serviceKey}:9080`,
        {
          service: serviceKey,
          port: 9080,
          appProtocol: 'tcp',
          routes: [],
          streams: [
            {
              name: 'default/nowhere/0/0',
              source: undefined,
              serverNames: undefined,
              sourceNamespace: undefined,
              sourceLabels: [],
              destinations: undefined,
              backends: [
                { service: undefined, port: 1, weight: 1, requestHeaders: undefined, responseHeaders: undefined },
              ],
            },
          ],
        },
      ],
    ]),
  };
  await t.rejects(text(await harness.tunnel()));
  await eventually('the failure to be reported', () => harness.tcp.closed.includes('UH'));
});
