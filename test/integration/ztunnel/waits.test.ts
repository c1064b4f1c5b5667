/** Waits and refusals on real sockets that would otherwise take seconds: an unknown pod, a blocked port, a revoked neighbour. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import { legacyPreset, modernPreset } from '../../../src/config/preset.ts';
import { createRelay } from '../../../src/hbone/relay.ts';
import { Revocation } from '../../../src/identity/revocation.ts';
import { readRevocationLists } from '../../../src/identity/revocation-list.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import type { Place } from '../../../src/ztunnel/context.ts';
import { DecisionWaiter } from '../../../src/ztunnel/decision-waiter.ts';
import { startInbound } from '../../../src/ztunnel/inbound.ts';
import { startInboundPassthrough } from '../../../src/ztunnel/inbound-passthrough.ts';
import { startOutbound } from '../../../src/ztunnel/outbound.ts';
import { defaultPorts } from '../../../src/ztunnel/settings.ts';
import { deafListener } from '../../support/deaf-listener.ts';
import { eventually, within } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { TestSecretStore } from '../../support/test-ca.ts';
import { makeTwoNodes, reviewsVip, type TwoNodes, vip } from './two-nodes.ts';
import { freePort } from './ztunnel-program.ts';

const complete = (nodes: TwoNodes) => nodes.lines.filter((line) => line.event === 'complete');

/** A refusal may be a reset. */
function closed(socket: Socket): Promise<void> {
  const end = new Promise<void>((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())));
  return within('the end', end);
}

/** Listeners of productpage's own pod, which the mesh does not know yet. */
async function startUnknownPod(t: Parameters<typeof makeTwoNodes>[0]) {
  const nodes = await makeTwoNodes(t, modernPreset);
  const { workloads, ...rest } = nodes.records(false);
  nodes.mesh.apply({ ...rest, workloads: workloads.filter(({ uid }) => uid !== nodes.productpage.uid) });
  const find = () => nodes.mesh.workload(nodes.productpage.uid);
  const name = 'default/productpage-v1';
  const place: Place = { name, namespace: undefined, ip: '127.2.0.5', sole: find, sourceAt: find, workloadAt: find };
  const clock = new FakeClock();
  const waiter = new DecisionWaiter(nodes.mesh, clock);
  const services = { ...nodes.b.ztunnel.services, waiter };
  t.equal(services.settings.unknownSourceWaitMs, 5000);
  const waits = () => eventually('it waits', () => waiter.waiting === 1);
  return { nodes, place, services, clock, waiter, waits, appears: () => nodes.mesh.apply(nodes.records(false)) };
}

t.test('a tunnel to a pod that the mesh does not know yet waits up to 5 s for it', async (t) => {
  const { nodes, place, services, clock, waiter, waits, appears } = await startUnknownPod(t);
  const listener = await startInbound(services, place);
  t.teardown(() => listener.destroy());
  const client = createRelay({
    secrets: new TestSecretStore([await nodes.ca.issue(nodes.sleep.identity)]),
    logger: silentLogger,
    clock: systemClock,
  });
  t.teardown(() => client.close());
  const [, appPort] = [...nodes.productpage.services.values()][0]?.entries().next().value ?? [];
  const open = () =>
    client.open({
      target: {
        peer: { ip: '127.2.0.5', port: listener.address.port },
        sourceIdentity: nodes.sleep.identity,
        expectedIdentities: [nodes.productpage.identity],
        socket: { ...plainSocket, source: '127.1.0.4' },
      },
      authority: `127.2.0.5:${appPort}`,
      headers: [],
    });
  const late = open();
  await waits();
  clock.advance(4999);
  t.equal(waiter.waiting, 1);
  clock.advance(1);
  t.match(await within('the refusal', late), { kind: 'failed' });
  const opening = open();
  await waits();
  appears();
  const outcome = await within('the tunnel', opening);
  t.equal(outcome.kind, 'open');
  if (outcome.kind === 'open') outcome.stream.destroy();
});

t.test('so does a connection in clear', async (t) => {
  const { nodes, place, services, clock, waiter, waits, appears } = await startUnknownPod(t);
  const listener = await startInboundPassthrough(services, place);
  t.teardown(() => listener.destroy());
  const dial = () => {
    const socket = connect({ host: '127.2.0.5', port: listener.address.port, localAddress: '127.1.0.4' });
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    socket.write('hello');
    return socket;
  };
  const refused = dial();
  refused.resume();
  await waits();
  clock.advance(4999);
  t.equal(waiter.waiting, 1);
  clock.advance(1);
  await closed(refused);
  t.equal(refused.bytesRead, 0);
  const served = dial();
  await waits();
  appears();
  const [echo] = await within('the echo', once(served, 'data'));
  t.equal(String(echo), 'hello');
  served.destroy();
  await eventually('its line', () => complete(nodes).length === 1);
});

t.test('a connection made to the outbound listener itself goes nowhere', async (t) => {
  for (const preset of [legacyPreset, modernPreset]) {
    const outbound = await freePort();
    const ports = { ...defaultPorts, outbound, inbound: 0, inboundPlaintext: 0 };
    const nodes = await makeTwoNodes(t, preset, { ports, unknownSource: 'passthrough' });
    nodes.mesh.apply(nodes.records(false));
    const at = (ip: string) => nodes.mesh.workloadByAddress('', ip);
    const place: Place = { name: 'own', namespace: undefined, ip: '127.1.0.10', sourceAt: at, workloadAt: at };
    const listener = await startOutbound({ ...nodes.a.ztunnel.services, relay: nodes.a.relay }, place);
    t.teardown(() => listener.destroy());
    const socket = connect({ host: place.ip, port: outbound, localAddress: '127.1.0.4' });
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    socket.resume();
    await closed(socket);
    t.equal(socket.bytesRead, 0);
    const lines = await eventually('its line', () => nodes.lines.length > 0 && nodes.lines);
    t.match(lines, [{ event: 'denied', fields: { direction: 'outbound', 'dst.addr': `127.1.0.10:${outbound}` } }]);
    t.same(nodes.metrics, [], 'least of all to itself');
  }
});

t.test('what arrives in clear is logged and counted with the service of its port', async (t) => {
  const nodes = await makeTwoNodes(t, modernPreset);
  nodes.mesh.apply(nodes.records(false));
  const socket = await nodes.dialPlaintext();
  socket.end('hello');
  t.equal(await within('the echo', text(socket)), 'hello');
  const line = await eventually('its line', () => complete(nodes)[0]);
  t.match(line.fields, {
    direction: 'inbound',
    'src.workload': 'sleep',
    'dst.workload': 'productpage-v1',
    'dst.service': 'productpage.default.svc.cluster.local',
  });
  t.equal(line.fields['src.identity'], undefined);
  t.match(nodes.metrics[0]?.labels, {
    destinationService: 'productpage.default.svc.cluster.local',
    destinationServiceName: 'productpage',
    connectionSecurityPolicy: 'unknown',
  });
});

t.test('a tunnel port that never answers is said to be blocked, in the access log and in the metric', async (t) => {
  const deaf = await deafListener(t);
  const relayClock = new FakeClock(Date.now());
  const ports = { ...defaultPorts, inbound: 0, inboundPlaintext: 0, hbone: deaf.port };
  const nodes = await makeTwoNodes(t, modernPreset, { ports }, { relayClock });
  const { workloads, ...rest } = nodes.records(false);
  const moved = { ...nodes.productpage, addresses: [deaf.ip] };
  nodes.mesh.apply({ ...rest, workloads: workloads.map((each) => (each.uid === moved.uid ? moved : each)) });
  const before = relayClock.pending;
  const socket = await nodes.dial(vip);
  socket.resume();
  await eventually('it dials', () => relayClock.pending > before);
  await eventually('the end', async () => {
    await relayClock.advanceAsync(1000);
    return socket.closed;
  });
  const line = await eventually('its line', () => complete(nodes)[0]);
  const words = `connection timed out, maybe a NetworkPolicy is blocking HBONE port ${deaf.port}: `;
  t.equal(String(line.fields.error).slice(0, words.length), words);
  t.equal(line.fields['dst.workload'], 'productpage-v1');
  t.match(
    nodes.metrics.filter(({ event }) => event === 'closed').map(({ detail }) => detail),
    ['NETWORK_POLICY'],
  );
});

t.test('delivery in process is held to revocation lists, also those that come later', async (t) => {
  const revocation = new Revocation({ required: false, logger: silentLogger, metrics: unscrapedMetrics });
  const nodes = await makeTwoNodes(t, modernPreset, {}, { revocation });
  nodes.mesh.apply(nodes.records(false));
  const live = await nodes.dial(reviewsVip);
  live.write('x');
  await within('the echo', once(live, 'data'));
  const serial = nodes.a.ztunnel.services.secrets.current(nodes.reviews.identity)?.serialNumber ?? '';
  const read = await readRevocationLists(await nodes.ca.list([serial]));
  if (read.kind === 'bad') throw new Error(read.reason);
  revocation.replace(read.lists);
  await closed(live);
  const ended = await eventually('both its lines', () => complete(nodes).length === 2 && complete(nodes));
  for (const { fields } of ended) t.match(fields.error, /^connection closed: .*sa\/bookinfo-reviews: .*was revoked/);
  const fresh = await nodes.dial(reviewsVip);
  fresh.resume();
  await closed(fresh);
  t.equal(fresh.bytesRead, 0);
  const refused = await eventually('its line', () => complete(nodes)[2]);
  t.match(refused.fields, { direction: 'outbound', error: /sa\/bookinfo-reviews: .*was revoked/ });
  const flags = nodes.metrics.filter(({ event }) => event === 'closed').map(({ detail }) => detail);
  t.strictSame(flags, ['CERT_REVOKED', 'CERT_REVOKED', 'CERT_REVOKED']);
  const other = await nodes.dial(vip);
  other.end('hello');
  t.equal(await within('the echo', text(other)), 'hello', 'others go on');
});
