/** Decisions carried out on real sockets, TLS and HTTP/2: the article's path, direct tunnels, delivery on one node. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { legacyPreset, modernPreset } from '../../../src/config/preset.ts';
import { eventually, within } from '../../support/eventually.ts';
import { makeChange, makeMatch, makePolicy } from '../../support/mesh-records.ts';
import { makeTwoNodes, reviewsVip, type TwoNodes, vip } from './two-nodes.ts';

/** Sends, ends, and gives back everything that came until the other side ended. */
async function exchange(socket: Socket, sent: string): Promise<string> {
  socket.end(sent);
  return await within('the echo', text(socket));
}

function closed(socket: Socket): Promise<void> {
  const end = new Promise<void>((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())));
  return within('the end', end);
}

/** Whether the connection was ended without a byte. */
async function isRefused(socket: Socket): Promise<boolean> {
  socket.resume();
  await closed(socket);
  return socket.bytesRead === 0;
}

const complete = (nodes: TwoNodes) => nodes.lines.filter((line) => line.event === 'complete');

t.test('legacy: sleep’s request crosses both ztunnels and the waypoint, logged at each hop', async (t) => {
  const nodes = await makeTwoNodes(t, legacyPreset);
  nodes.mesh.apply(nodes.records(true));
  t.equal(await exchange(await nodes.dial(vip), 'GET /productpage'), 'GET /productpage');
  const [request] = nodes.connects;
  t.equal(request?.authority, `${vip}:${nodes.port}`);
  t.equal(request?.peerIdentity, nodes.sleep.identity);
  t.equal(request?.header('x-envoy-original-dst-host'), `${vip}:${nodes.port}`);
  await eventually('two lines', () => complete(nodes).length === 2);
  const [outbound] = complete(nodes).filter((line) => line.node === 'node-a');
  t.match(outbound?.fields, {
    'src.workload': 'sleep',
    'src.identity': nodes.sleep.identity,
    'dst.addr': /^127\.1\.0\.8:/,
    'dst.hbone_addr': `${vip}:${nodes.port}`,
    'dst.service': 'productpage.default.svc.cluster.local',
    direction: 'outbound',
    bytes_sent: 16,
    bytes_recv: 16,
    hop: 'capture outbound (to server waypoint proxy)',
  });
  t.notOk(outbound?.fields.error);
  const [inbound] = complete(nodes).filter((line) => line.node === 'node-b');
  t.match(inbound?.fields, {
    'src.identity': 'spiffe://cluster.local/ns/default/sa/bookinfo-productpage',
    'src.workload': 'waypoint',
    'dst.workload': 'productpage-v1',
    direction: 'inbound',
    hop: 'inbound hcm',
  });
});

t.test('modern: without a waypoint the tunnel goes straight to the other ztunnel', async (t) => {
  const nodes = await makeTwoNodes(t, modernPreset);
  nodes.mesh.apply(nodes.records(false));
  t.equal(await exchange(await nodes.dial(vip), 'hello'), 'hello');
  t.equal(nodes.connects.length, 0);
  await eventually('two lines', () => complete(nodes).length === 2);
  t.match(complete(nodes).find((line) => line.node === 'node-b')?.fields, {
    // Known by `forwarded`, because the workload of that address owns the proven identity.
    'src.workload': 'sleep',
    'src.identity': nodes.sleep.identity,
    'dst.service': 'productpage.default.svc.cluster.local',
    bytes_sent: 5,
    bytes_recv: 5,
  });
  const events = (node: string) => nodes.metrics.filter((each) => each.node === node).map((each) => each.event);
  t.strictSame(events('node-a'), ['opened', 'bytes', 'closed']);
  t.strictSame(events('node-b'), ['opened', 'bytes', 'closed']);
  t.match(nodes.metrics[0]?.labels, {
    reporter: 'source',
    source: { workload: 'sleep', principal: nodes.sleep.identity },
    destination: { workload: 'productpage-v1' },
    destinationServiceName: 'productpage',
    connectionSecurityPolicy: 'mutual_tls',
  });
});

t.test('on one node both hops are logged although nothing went over the network', async (t) => {
  const nodes = await makeTwoNodes(t, modernPreset);
  nodes.mesh.apply(nodes.records(false));
  t.equal(await exchange(await nodes.dial(reviewsVip), 'hello'), 'hello');
  await eventually('two lines', () => complete(nodes).length === 2);
  t.strictSame(
    complete(nodes).map((line) => [
      line.node,
      line.fields.direction,
      line.fields['src.workload'],
      line.fields['dst.workload'],
    ]),
    [
      ['node-a', 'inbound', 'sleep', 'reviews-v1'],
      ['node-a', 'outbound', 'sleep', 'reviews-v1'],
    ],
  );
  t.match(complete(nodes)[1]?.fields['dst.addr'], /^127\.1\.0\.9:/);
  t.equal(nodes.a.relay.stats().sessions, 0);
});

t.test('a policy refuses on either way in, and says so at both ends', async (t) => {
  const nodes = await makeTwoNodes(t, modernPreset);
  const denySleep = makePolicy({
    name: 'deny-sleep',
    scope: 'namespace',
    action: 'deny',
    rules: [[[makeMatch({ principals: [{ kind: 'suffix', value: '/sa/sleep' }] })]]],
  });
  nodes.mesh.apply({ ...nodes.records(false), policies: [denySleep] });
  for (const ip of [vip, reviewsVip]) {
    t.ok(await isRefused(await nodes.dial(ip)), ip);
    await eventually('two lines', () => complete(nodes).length === 2);
    const [inbound] = nodes.lines.filter((line) => line.fields.direction === 'inbound');
    t.equal(
      inbound?.fields.error,
      'connection closed due to policy rejection: explicitly denied by: default/deny-sleep rule 0',
    );
    const [outbound] = nodes.lines.filter((line) => line.fields.direction === 'outbound');
    t.match(outbound?.fields.error, /401/);
    nodes.lines.length = 0;
  }
  t.ok(nodes.metrics.some((each) => each.event === 'closed' && each.detail === 'DENY'));
});

t.test('a change of policy ends the connections it no longer allows, and only those', async (t) => {
  const nodes = await makeTwoNodes(t, modernPreset);
  nodes.mesh.apply(nodes.records(false));
  const remote = await nodes.dial(vip);
  const local = await nodes.dial(reviewsVip);
  for (const socket of [remote, local]) {
    socket.write('x');
    await within('the echo', once(socket, 'data'));
  }
  const guard = makePolicy({ name: 'guard', action: 'deny', rules: [[]] });
  const guarded = { ...nodes.productpage, authorizationPolicies: [guard.key] };
  nodes.mesh.apply(makeChange({ workloads: [guarded], policies: [guard] }));
  await closed(remote);
  const line = await eventually('its line', () => complete(nodes).find((each) => each.fields.direction === 'inbound'));
  t.match(line.fields.error, /closed due to policy change: explicitly denied by: default\/guard/);
  local.write('y');
  const [chunk] = await within('the echo', once(local, 'data'));
  t.equal(String(chunk), 'y');
  nodes.mesh.apply(makeChange({ removedWorkloads: [nodes.reviews.uid] }));
  await closed(local);
});

t.test('a change of policy ends live connections on every way in: tunnel, in process and plaintext', async (t) => {
  const nodes = await makeTwoNodes(t, modernPreset);
  nodes.mesh.apply(nodes.records(false));
  const ways = {
    tunnel: await nodes.dial(vip),
    'in process': await nodes.dial(reviewsVip),
    plaintext: await nodes.dialPlaintext(),
  };
  for (const [way, socket] of Object.entries(ways)) {
    socket.write('x');
    await within(`the echo: ${way}`, once(socket, 'data'));
  }
  const late = makePolicy({ name: 'late', namespace: 'istio-system', scope: 'global', action: 'deny', rules: [[]] });
  nodes.mesh.apply(makeChange({ policies: [late] }));
  for (const socket of Object.values(ways)) await closed(socket);
  const inbound = await eventually('three lines', () => {
    const lines = complete(nodes).filter((line) => line.fields.direction === 'inbound');
    return lines.length === 3 && lines;
  });
  for (const { fields } of inbound) {
    t.equal(fields.error, 'connection closed due to policy change: explicitly denied by: istio-system/late rule 0');
  }
  const closings = nodes.metrics.filter((each) => each.event === 'closed' && each.labels.reporter === 'destination');
  t.strictSame(
    closings.map((each) => each.detail),
    ['DENY', 'DENY', 'DENY'],
  );
});

t.test('a plaintext connection is refused by a strict policy, and the line says so', async (t) => {
  const nodes = await makeTwoNodes(t, modernPreset);
  const strict = makePolicy({
    name: 'istio_converted_static_strict',
    namespace: 'istio-system',
    action: 'deny',
    rules: [[[makeMatch({ notPrincipals: [{ kind: 'presence' }] })]]],
  });
  const { workloads, ...rest } = nodes.records(false);
  const strictly = workloads.map((each) => ({ ...each, authorizationPolicies: [strict.key] }));
  nodes.mesh.apply({ ...rest, workloads: strictly, policies: [strict] });
  t.equal(await exchange(await nodes.dial(vip), 'hello'), 'hello', 'with mTLS it goes through');
  await eventually('its lines', () => complete(nodes).length === 2);
  nodes.lines.length = 0;
  t.ok(await isRefused(await nodes.dialPlaintext()));
  const line = await eventually('its line', () => complete(nodes)[0]);
  t.match(
    line.fields.error,
    /istio_converted_static_strict rule 0: strict mutual TLS, and the connection came in clear$/,
  );
});

t.test('an unknown source waits until it is known', async (t) => {
  const nodes = await makeTwoNodes(t, modernPreset);
  const records = nodes.records(false);
  nodes.mesh.apply({ ...records, workloads: records.workloads.filter((each) => each.uid !== nodes.sleep.uid) });
  const socket = await nodes.dial(vip);
  const answer = exchange(socket, 'hello');
  await eventually('it waits', () => nodes.a.ztunnel.services.waiter.waiting === 1);
  nodes.mesh.apply(makeChange({ workloads: [nodes.sleep] }));
  t.equal(await answer, 'hello');
});

t.test('an unknown source is refused when its time is over, and an absent waypoint at once', async (t) => {
  const nodes = await makeTwoNodes(t, modernPreset, { unknownSourceWaitMs: 20 });
  const records = nodes.records(true);
  nodes.mesh.apply({ ...records, workloads: records.workloads.filter((each) => each.name !== 'waypoint') });
  t.ok(await isRefused(await nodes.dial(vip, '127.1.0.99')));
  t.ok(await isRefused(await nodes.dial(vip)));
  const denied = nodes.lines.filter((line) => line.event === 'denied');
  t.match(denied[0]?.fields, { error: 'source address is of no known workload', direction: 'outbound' });
  t.match(denied[1]?.fields.error, /waypoint \/127\.1\.0\.8 cannot be reached/);
  t.same(nodes.metrics, [], 'what never became a connection is in no traffic metric');
});

t.test('live connections can be dumped and counted', async (t) => {
  const nodes = await makeTwoNodes(t, modernPreset);
  nodes.mesh.apply(nodes.records(false));
  const socket = await nodes.dial(vip);
  socket.write('hello');
  await within('the echo', once(socket, 'data'));
  const { registry } = nodes.a.ztunnel.services;
  t.match(registry.dump(nodes.sleep.uid), {
    inbound: [],
    outbound: [
      { src: /^127\.1\.0\.4:/, originalDst: `${vip}:${nodes.port}`, actualDst: /^127\.2\.0\.5:/, protocol: 'HBONE' },
    ],
  });
  for (const _ of nodes.a.ztunnel.flushing());
  t.ok(nodes.metrics.some((each) => each.event === 'bytes' && each.detail === '5/5'));
  nodes.a.ztunnel.services.registry.stopAll('over');
  await closed(socket);
  t.equal(registry.size, 0);
});

t.test('on demand a connection waits for what it needs, and is refused when nobody says what that is', async (t) => {
  const asked: (readonly string[])[] = [];
  let answer: (outcome: 'answered' | 'late') => void = () => {};
  const demand = {
    need: (names: readonly string[]) => {
      asked.push(names);
      return new Promise<'answered' | 'late'>((resolve) => {
        answer = resolve;
      });
    },
  };
  const nodes = await makeTwoNodes(t, modernPreset, {}, { demand });
  const { workloads, services } = nodes.records(false);
  nodes.mesh.apply(makeChange({ workloads: [nodes.sleep] }));
  const got = exchange(await nodes.dial(vip), 'hello');
  await eventually('it was asked for', () => asked.length === 1);
  t.same(asked, [[`/${vip}`]]);
  // In clear it would get through to whatever listens there: known now, it takes the tunnel.
  nodes.mesh.apply(makeChange({ workloads, services }));
  answer('answered');
  t.equal(await got, 'hello');
  await eventually('two lines', () => complete(nodes).length === 2);
  t.match(complete(nodes)[1]?.fields['dst.addr'] ?? '', /^127\.2\.0\.5:/);
  const unanswered = await nodes.dial('127.96.0.99');
  await eventually('it was asked for', () => asked.length === 2);
  answer('late');
  t.ok(await isRefused(unanswered));
  t.match(nodes.lines.at(-1)?.fields.error, /did not say within 5000 ms what \/127\.96\.0\.99 is/);
});

t.test('no listener exists before the mesh is known', async (t) => {
  const { startProxy } = await import('../../../src/ztunnel/proxy.ts');
  const nodes = await makeTwoNodes(t, modernPreset);
  const { services } = nodes.a.ztunnel;
  const incomplete = Object.assign(Object.create(services), { mesh: { ...services.mesh, complete: false } });
  await t.rejects(
    startProxy(incomplete, {
      name: 'x',
      namespace: undefined,
      ip: '127.0.0.1',
      sourceAt: () => undefined,
      workloadAt: () => undefined,
    }),
    {
      code: 'ZTUNNEL_MESH_INCOMPLETE',
    },
  );
});
