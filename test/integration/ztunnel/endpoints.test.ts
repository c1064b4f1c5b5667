/** Choosing again on real sockets: endpoints that cannot be reached, and waypoints by weight. */
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { modernPreset } from '../../../src/config/preset.ts';
import type { GatewayAddress, MeshChange, Workload } from '../../../src/mesh/model.ts';
import { eventually, within } from '../../support/eventually.ts';
import { makeWorkload } from '../../support/mesh-records.ts';
import { makeTwoNodes, type TwoNodes, vip } from './two-nodes.ts';

async function exchange(socket: Socket, sent: string): Promise<string> {
  socket.end(sent);
  return await within('the echo', text(socket));
}

async function isRefused(socket: Socket): Promise<boolean> {
  socket.resume();
  await within(
    'the end',
    new Promise<void>((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve()))),
  );
  return socket.bytesRead === 0;
}

/** An endpoint of productpage that nothing listens at, and that is nearly always chosen first. */
const dead = (nodes: TwoNodes, fields: Partial<Workload> = {}) =>
  makeWorkload({
    name: 'dead',
    addresses: ['127.2.0.66'],
    node: 'node-b',
    capacity: 1_000_000_000,
    services: new Map([...nodes.productpage.services.keys()].map((key) => [key, new Map([[nodes.port, 9]])])),
    ...fields,
  });

const retries = (nodes: TwoNodes) => nodes.a.ztunnel.services.endpointRetries.value;

t.test('an endpoint that cannot be reached makes way for another, in tunnels and in clear', async (t) => {
  for (const tunnelProtocol of ['hbone', 'none'] as const) {
    const nodes = await makeTwoNodes(t, modernPreset);
    const change = nodes.records(false);
    nodes.mesh.apply({ ...change, workloads: [...change.workloads, dead(nodes, { tunnelProtocol })] });
    t.equal(await exchange(await nodes.dial(vip), 'hello'), 'hello');
    t.equal(retries(nodes), 1);
    const outbound = () => nodes.lines.filter(({ node }) => node === 'node-a');
    await eventually('both attempts are logged', () => outbound().length === 2);
    t.match(outbound()[0]?.fields, { 'dst.workload': 'dead', error: /ECONNREFUSED\); another endpoint is tried$/ });
    t.match(outbound()[1]?.fields, { 'dst.workload': 'productpage-v1', bytes_sent: 5, bytes_recv: 5 });
    t.notOk(outbound()[1]?.fields.error);
    t.same(
      nodes.metrics
        .filter(({ node, event }) => node === 'node-a' && event !== 'bytes')
        .map(({ event, detail }) => event + detail),
      ['opened', 'closedCONNECT', 'opened', 'closed-'],
    );
    t.equal(nodes.a.ztunnel.services.registry.size, 0);
  }
});

t.test('who keeps packets from a tunnel’s port does not get its bytes in clear, from another endpoint', async (t) => {
  const nodes = await makeTwoNodes(t, modernPreset);
  const { workloads, ...change } = nodes.records(false);
  const inClear = workloads.map((each) =>
    each.node === 'node-b' ? { ...each, tunnelProtocol: 'none' as const } : each,
  );
  nodes.mesh.apply({ ...change, workloads: [...inClear, dead(nodes)] });
  t.ok(await isRefused(await nodes.dial(vip)));
  t.equal(retries(nodes), 0);
});

t.test('it is tried once more and not for ever, and not when that is turned off', async (t) => {
  const two = await makeTwoNodes(t, modernPreset);
  const change = two.records(false);
  const alsoDead = dead(two, { name: 'dead-2', uid: 'dead-2', addresses: ['127.2.0.67'] });
  two.mesh.apply({ ...change, workloads: [...change.workloads, dead(two), alsoDead] });
  t.ok(await isRefused(await two.dial(vip)));
  t.equal(retries(two), 1);
  const off = await makeTwoNodes(t, modernPreset, { endpointRetries: 0 });
  off.mesh.apply({ ...off.records(false), workloads: [...off.records(false).workloads, dead(off)] });
  t.ok(await isRefused(await off.dial(vip)));
  t.equal(retries(off), 0);
});

t.test('a pod that was addressed itself is never exchanged for another', async (t) => {
  const nodes = await makeTwoNodes(t, modernPreset);
  const change = nodes.records(false);
  nodes.mesh.apply({ ...change, workloads: [...change.workloads, dead(nodes)] });
  t.ok(await isRefused(await nodes.dial('127.2.0.66')));
  t.equal(retries(nodes), 0);
});

t.test('weighted waypoints: one that is gone makes way for another, and none is ever bypassed', async (t) => {
  const nodes = await makeTwoNodes(t, modernPreset);
  const records = nodes.records(true);
  const live = records.services[0]?.waypoint as GatewayAddress;
  const gone: GatewayAddress = { kind: 'address', network: '', ip: '127.9.9.9', hbonePort: 15008 };
  const weighted = (...weights: readonly number[]): MeshChange => ({
    ...records,
    services: records.services.map((service) =>
      service.name === 'productpage'
        ? {
            ...service,
            waypoint: undefined,
            weightedWaypoints: [live, gone].map((destination, i) => ({ destination, weight: weights[i] as number })),
          }
        : service,
    ),
  });
  nodes.mesh.apply(weighted(1, 9));
  for (let i = 0; i < 10; i++) t.equal(await exchange(await nodes.dial(vip), 'x'), 'x');
  t.equal(nodes.connects.length, 10, 'all through the one that is there');
  for (const weights of [
    [0, 1],
    [0, 0],
  ] as const) {
    nodes.mesh.apply(weighted(...weights));
    t.ok(await isRefused(await nodes.dial(vip)), `weights ${weights}`);
  }
  t.equal(nodes.connects.length, 10);
});
