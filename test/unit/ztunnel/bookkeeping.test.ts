/** What ztunnel keeps while it runs: live connections, waiting decisions, wanted identities, addresses of peers. */
import t from 'tap';
import type { SpiffeId } from '../../../src/base/spiffe.ts';
import type { End } from '../../../src/hbone/seam.ts';
import type { GatewayAddress, MeshChange, Workload } from '../../../src/mesh/model.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { UnknownPolicyGrace } from '../../../src/ztunnel/authorization.ts';
import { ConnectionRegistry, drainReason, type Recheck } from '../../../src/ztunnel/connection-registry.ts';
import { DecisionWaiter } from '../../../src/ztunnel/decision-waiter.ts';
import { LocalIdentities } from '../../../src/ztunnel/local-identities.ts';
import { PeerMemory } from '../../../src/ztunnel/peer-memory.ts';
import { encodeProxyPreface } from '../../../src/ztunnel/proxy-preface.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { makeChange, makePolicy, makeService, makeWorkload } from '../../support/mesh-records.ts';
import { at, productpage, sleep } from './bookinfo.ts';
import { makeTestHop } from './test-hop.ts';

function end(kind: End['kind']): End {
  const counts = { toUpstream: 0, toDownstream: 0 };
  return { kind, by: 'local', status: undefined, error: undefined, established: undefined, counts };
}

/** A registry with one live connection of productpage whose recheck gives what the test says. */
function setup() {
  const mesh = new MeshStore();
  mesh.apply(makeChange({ workloads: [productpage, sleep] }));
  const clock = new FakeClock();
  const registry = new ConnectionRegistry(mesh, clock);
  const hop = makeTestHop('inbound');
  const state = { answer: { kind: 'keep' } as Recheck, asked: 0, stopped: '' };
  registry.add({
    hop,
    join: {
      counts: { toUpstream: 0, toDownstream: 0 },
      heldBytes: 0,
      stop(error) {
        state.stopped = error.message;
        hop.ended(end('stopped'));
      },
    },
    workload: productpage,
    originalDestination: at('10.244.2.5:9080'),
    protocol: 'HBONE',
    decidedAt: registry.changes,
    recheck() {
      state.asked++;
      return state.answer;
    },
  });
  return { mesh, clock, registry, hop, state };
}

t.test('only changes that concern a workload make its connections be decided again', async (t) => {
  const { mesh, state } = setup();
  mesh.apply(makeChange({ policies: [makePolicy({ name: 'other', scope: 'namespace', namespace: 'elsewhere' })] }));
  mesh.apply(makeChange({ workloads: [{ ...sleep, capacity: 2 }] }));
  t.equal(state.asked, 0);
  mesh.apply(makeChange({ policies: [makePolicy({ name: 'mine', scope: 'namespace' })] }));
  t.equal(state.asked, 1);
  mesh.apply(makeChange({ policies: [makePolicy({ name: 'all', scope: 'global' })] }));
  mesh.apply(makeChange({ removedPolicies: ['default/mine'] }));
  mesh.apply(makeChange({ workloads: [{ ...productpage, capacity: 2 }] }));
  t.equal(state.asked, 4);
});

t.test('a policy that is about fewer workloads than before concerns those it was about', async (t) => {
  const { mesh, state } = setup();
  const policy = makePolicy({ name: 'lets-in', scope: 'namespace' });
  mesh.apply(makeChange({ policies: [policy] }));
  t.equal(state.asked, 1);
  mesh.apply(makeChange({ policies: [{ ...policy, scope: 'workload' }] }));
  t.equal(state.asked, 2, 'it has got a selector');
  mesh.apply(makeChange({ policies: [{ ...policy, scope: 'workload', dryRun: true }] }));
  t.equal(state.asked, 2, 'and now it is about others alone');
});

t.test(
  'a connection that rests on a waypoint is decided again when the waypoint changes, and not with the mesh',
  async (t) => {
    const key = 'default/waypoint.default.svc.cluster.local';
    const gateway: GatewayAddress = { kind: 'hostname', service: key, hbonePort: 15008 };
    const pod = makeWorkload({ name: 'waypoint', services: new Map([[key, new Map([[15008, 15008]])]]) });
    const service = makeService({ name: 'waypoint' });
    const behind = { ...productpage, waypoint: gateway };
    const mesh = new MeshStore();
    mesh.apply(makeChange({ workloads: [behind, sleep, pod], services: [service] }));
    const registry = new ConnectionRegistry(mesh, new FakeClock());
    let asked = 0;
    registry.add({
      hop: makeTestHop('inbound'),
      join: { counts: { toUpstream: 0, toDownstream: 0 }, heldBytes: 0, stop() {} },
      workload: behind,
      originalDestination: at('10.244.2.5:9080'),
      protocol: 'HBONE',
      decidedAt: registry.changes,
      recheck() {
        asked++;
        return { kind: 'keep' };
      },
    });
    const after = (change: Partial<MeshChange>) => {
      asked = 0;
      mesh.apply(makeChange(change));
      return asked;
    };
    t.equal(after({ workloads: [{ ...sleep, capacity: 2 }] }), 1, 'nothing was known of it before');
    t.equal(after({ workloads: [{ ...sleep, capacity: 3 }] }), 0);
    t.equal(after({ services: [makeService({ name: 'other' })] }), 0);
    t.equal(after({ services: [{ ...service, canonical: false }] }), 1, 'its service');
    t.equal(after({ workloads: [{ ...pod, name: 'waypoint-2', uid: 'second' }] }), 1, 'an endpoint more');
    t.equal(after({ workloads: [{ ...pod, services: new Map() }] }), 1, 'an endpoint that is none any more');
    t.equal(after({ removedWorkloads: ['second'] }), 1, 'an endpoint that is gone');
    t.equal(after({ removedServices: [key] }), 1);
    t.equal(after({ removedWorkloads: [sleep.uid] }), 0);
  },
);

t.test('a connection that is no longer allowed is stopped, one that waits is asked again in time', async (t) => {
  const { mesh, clock, registry, state } = setup();
  state.answer = { kind: 'later', inMs: 5000 };
  mesh.apply(makeChange({ policies: [makePolicy({ scope: 'global' })] }));
  t.equal(state.stopped, '');
  state.answer = { kind: 'stop', reason: 'unknown policy' };
  clock.advance(5000);
  t.equal(state.stopped, 'connection closed due to policy change: unknown policy');
  t.equal(registry.size, 0);
});

t.test('a workload that leaves takes its connections along, one that is replaced does not', async (t) => {
  const { mesh, registry, state } = setup();
  t.same([registry.countOf(productpage.uid), registry.countOf(sleep.uid)], [1, 0]);
  mesh.apply(makeChange({ removedWorkloads: [productpage.uid], workloads: [{ ...productpage, capacity: 3 }] }));
  t.equal(state.stopped, '');
  mesh.apply(makeChange({ removedWorkloads: [productpage.uid] }));
  t.match(state.stopped, /workload has left/);
});

t.test('the end of a place takes its own connections along, not those of the place that follows it', async (t) => {
  const { registry, state } = setup();
  const [old, next] = [{}, {}];
  const stopped: string[] = [];
  const addTo = (name: string, place: object, workload: Workload | undefined) => {
    const hop = makeTestHop('inbound');
    const stop = (error: Error) => {
      stopped.push(`${name}: ${error.message}`);
      hop.ended(end('stopped'));
    };
    registry.add({
      hop,
      join: { counts: { toUpstream: 0, toDownstream: 0 }, heldBytes: 0, stop },
      workload,
      originalDestination: at('10.244.2.5:9080'),
      protocol: 'TCP',
      decidedAt: registry.changes,
      place,
    });
  };
  addTo('old', old, productpage);
  addTo('next', next, productpage);
  addTo('another workload', old, sleep);
  addTo('unknown', old, undefined);
  registry.stopPlace(productpage, old, drainReason);
  t.strictSame(stopped, [`old: ${drainReason}`]);
  t.equal(state.stopped, '', 'nor what came in by no place');
  t.equal(registry.countOf(productpage.uid), 2);
  registry.stopPlace(undefined, old, drainReason);
  t.strictSame(stopped.slice(1), [`unknown: ${drainReason}`]);
});

t.test('a hop is closed and logged once, whatever is reported', async (t) => {
  const lines: string[] = [];
  const hop = makeTestHop('inbound', lines);
  hop.ended(end('closed'));
  hop.ended(end('failed'));
  hop.refused('late', 'DENY');
  let told = 0;
  hop.onEnd(() => told++);
  t.strictSame(lines, ['-', 'complete']);
  t.equal(told, 1);
});

t.test('a decision waits for the mesh, but not for ever and not in any number', async (t) => {
  const mesh = new MeshStore();
  mesh.markComplete();
  const clock = new FakeClock();
  const waiter = new DecisionWaiter(mesh, clock, 1);
  const attempt = () => mesh.workload(sleep.uid);
  const first = waiter.until(5000, attempt);
  t.equal(await waiter.until(5000, attempt), undefined, 'beyond the limit nobody waits');
  mesh.apply(makeChange({ workloads: [sleep] }));
  t.equal((await first)?.uid, sleep.uid);
  let asked = 0;
  const counting = waiter.until(5000, () => void asked++);
  for (let capacity = 2; capacity < 10; capacity++) mesh.apply(makeChange({ workloads: [{ ...sleep, capacity }] }));
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(asked, 2, 'at first, and once for all changes of a turn');
  clock.advance(5000);
  t.equal(await counting, undefined);
  const late = waiter.until(5000, () => undefined);
  clock.advance(5000);
  t.equal(await late, undefined);
  t.equal(waiter.waiting, 0);
});

t.test('a pod that the mesh does not know has its share of waits, and leaves the others theirs', async (t) => {
  const mesh = new MeshStore();
  mesh.markComplete();
  const clock = new FakeClock();
  const waiter = new DecisionWaiter(mesh, clock, 80);
  const [flooding, other] = [{}, {}];
  const flood = Array.from({ length: 100 }, () => waiter.until(5000, () => undefined, flooding));
  t.equal(waiter.waiting, 10);
  const patient = waiter.until(5000, () => mesh.workload(sleep.uid), other);
  mesh.apply(makeChange({ workloads: [sleep] }));
  t.equal((await patient)?.uid, sleep.uid);
  clock.advance(5000);
  await Promise.all(flood);
  void waiter.until(5000, () => undefined, flooding);
  t.equal(waiter.waiting, 1, 'and has it back');
  clock.advance(5000);
});

t.test(
  'a missing policy counts as under way since its workload changed, since it went, or since the first state',
  async (t) => {
    const mesh = new MeshStore();
    const clock = new FakeClock();
    const grace = new UnknownPolicyGrace(mesh, clock, 5000);
    mesh.onChange((change) => grace.changed(change));
    const policy = makePolicy({ name: 'p' });
    const names = { ...sleep, authorizationPolicies: ['default/p'] };
    mesh.apply(makeChange({ workloads: [names] }));
    clock.advance(8000);
    mesh.markComplete();
    t.equal(grace.remainingMs(names, ['default/p']), 5000, 'loading the first state does not use it up');
    clock.advance(2000);
    t.equal(grace.remainingMs(names, ['default/p']), 3000);
    t.equal(grace.remainingMs(names, []), 0);
    clock.advance(4000);
    t.equal(grace.remainingMs(names, ['default/p']), 0);
    const changed = { ...names, capacity: 2 };
    mesh.apply(makeChange({ workloads: [changed] }));
    clock.advance(1000);
    t.equal(grace.remainingMs(changed, ['default/p']), 4000, 'it changed while the policy was missing');
    mesh.apply(makeChange({ policies: [policy] }));
    clock.advance(10_000);
    mesh.apply(makeChange({ removedPolicies: ['default/p'] }));
    t.equal(grace.remainingMs(changed, ['default/p']), 5000, 'it went');
  },
);

t.test('identities are wanted while a workload of theirs runs here, and no longer', async (t) => {
  const mesh = new MeshStore();
  mesh.apply(makeChange({ workloads: [sleep, { ...sleep, uid: 'second' }, productpage] }));
  const log: string[] = [];
  const short = (identity: SpiffeId) => identity.split('/').at(-1);
  const identities = new LocalIdentities(
    mesh,
    {
      want: (identity) => log.push(`want ${short(identity)}`),
      forget: (identity) => log.push(`forget ${short(identity)}`),
    },
    (workload) => workload.node === 'node-a',
  );
  t.strictSame(log, ['want sleep']);
  mesh.apply(makeChange({ removedWorkloads: [sleep.uid] }));
  t.ok(identities.has(sleep.identity));
  mesh.apply(makeChange({ removedWorkloads: ['second'] }));
  t.strictSame(log, ['want sleep', 'forget sleep']);
  mesh.apply(makeChange({ workloads: [makeWorkload({ name: 'plain', tunnelProtocol: 'none' })] }));
  t.equal(log.length, 2, 'what is outside the mesh has no certificate');
});

t.test('sessions to an address that changed hands are forgotten', async (t) => {
  const forgotten: string[] = [];
  const peers = new PeerMemory({ forgetPeer: (ip) => forgotten.push(ip) }, 2);
  peers.used(productpage, '10.244.2.5');
  peers.changed(makeChange({ workloads: [{ ...productpage, capacity: 2 }] }));
  t.strictSame(forgotten, []);
  peers.changed(makeChange({ workloads: [{ ...productpage, addresses: ['10.244.2.99'] }] }));
  t.strictSame(forgotten, ['10.244.2.5']);
  peers.used(sleep, '10.244.1.4');
  peers.used({ ...sleep, uid: 'third' }, '10.244.1.5');
  t.strictSame(forgotten, ['10.244.2.5', '10.244.2.5'], 'the oldest makes room');
  peers.changed(makeChange({ removedWorkloads: [sleep.uid] }));
  t.equal(forgotten.at(-1), '10.244.1.4');
});

t.test('the PROXY preface says who, where to, and with which proven identity', async (t) => {
  const preface = encodeProxyPreface({
    source: at('10.244.1.4:4660'),
    destination: at('10.96.179.71:9080'),
    identity: sleep.identity,
  });
  t.equal(Buffer.from(preface.subarray(0, 12)).toString('latin1'), '\r\n\r\n\0\r\nQUIT\n');
  t.strictSame([...preface.subarray(12, 14)], [0x21, 0x11]);
  const length = Buffer.from(preface).readUInt16BE(14);
  t.equal(length, preface.length - 16);
  t.strictSame([...preface.subarray(16, 28)], [10, 244, 1, 4, 10, 96, 179, 71, 0x12, 0x34, 0x23, 0x78]);
  t.equal(preface[28], 0xd0);
  t.equal(Buffer.from(preface.subarray(31)).toString(), sleep.identity);
  const mixed = encodeProxyPreface({
    source: at('[fd00::1]:1'),
    destination: at('10.96.179.71:9080'),
    identity: sleep.identity,
  });
  t.equal(mixed[13], 0x21);
  t.strictSame([...mixed.subarray(32, 48)], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 96, 179, 71]);
});
