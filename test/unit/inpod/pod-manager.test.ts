/** Pods of a node: started, kept, replaced, retried, and every descriptor closed. Real descriptors, no privileges. */
import { spawn } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { openNamespace } from 'node-tproxy-native';
import t, { type Test } from 'tap';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import { type PodInfo, PodManager } from '../../../src/inpod/pod-manager.ts';
import type { NetworkNamespace } from '../../../src/net/socket-spec.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const sleep: PodInfo = { uid: 'u1', name: 'sleep', namespace: 'default', serviceAccount: 'sleep' };

function setup(options: { readonly maxPods?: number } = {}) {
  const clock = new FakeClock();
  const world = {
    clock,
    fail: undefined as string | undefined,
    attempts: [] as string[],
    started: [] as string[],
    ended: [] as string[],
    hold: undefined as Promise<void> | undefined,
  };
  const pods = new PodManager({
    ...options,
    clock,
    logger: silentLogger,
    metrics: unscrapedMetrics,
    async startProxy(pod: PodInfo, _namespace: NetworkNamespace, order: number) {
      world.attempts.push(`${pod.uid} ${order}`);
      await world.hold;
      if (world.fail !== undefined) throw new Error(world.fail);
      world.started.push(pod.uid);
      return { destroy: () => world.ended.push(pod.uid) };
    },
  });
  return { pods, world };
}

const ownNamespace = () => openNamespace('/proc/self/ns/net');
/** Of another kind, for what is no network namespace; and a distinct open file for descriptor counting. */
const noNamespace = () => openNamespace('/proc/self/ns/uts');
const openDescriptors = () => readdirSync('/proc/self/fd').length;

t.test('a pod is started once, its second add is a success and its descriptor closed', async (t) => {
  const { pods, world } = setup();
  const before = openDescriptors();
  t.equal(await pods.add(sleep, ownNamespace()), null);
  t.equal(await pods.add(sleep, ownNamespace()), null);
  t.strictSame(world.started, ['u1']);
  t.equal(openDescriptors(), before + 1);
  t.strictSame(pods.pending(), ['workload proxy manager'], 'until the snapshot is complete');
  pods.snapshotComplete();
  t.strictSame(pods.pending(), []);
  pods.remove('u1');
  t.strictSame(world.ended, ['u1']);
  t.equal(openDescriptors(), before);
});

t.test('a failed start is told, shown in readiness and tried again every 5 s', async (t) => {
  const { pods, world } = setup();
  world.fail = 'no such option';
  t.equal(await pods.add(sleep, ownNamespace()), 'pod default/sleep: no such option');
  pods.snapshotComplete();
  t.strictSame(pods.pending(), ['workload proxy manager']);
  t.equal(world.clock.nextInMs, 5000);
  await world.clock.advanceAsync(5000);
  t.strictSame(pods.pending(), ['workload proxy manager']);
  world.fail = undefined;
  await world.clock.advanceAsync(5000);
  t.strictSame(pods.pending(), []);
  t.equal(world.clock.pending, 0);
  pods.close();
});

t.test('what the snapshot does not name is dropped; what it keeps stays', async (t) => {
  const { pods, world } = setup();
  await pods.add(sleep, ownNamespace());
  await pods.add({ ...sleep, uid: 'u2' }, ownNamespace());
  pods.snapshotComplete();
  pods.connected();
  t.notOk(pods.snapshotSeen);
  pods.keep('u2');
  t.strictSame(world.ended, [], 'live proxies run on until the new snapshot');
  pods.snapshotComplete();
  t.strictSame(world.ended, ['u1']);
  pods.close();
  t.strictSame(world.ended, ['u1', 'u2']);
});

t.test('a pod removed while it starts is ended as soon as it stands', async (t) => {
  const { pods, world } = setup();
  let go = () => {};
  world.hold = new Promise<void>((resolve) => {
    go = resolve;
  });
  const before = openDescriptors();
  const answer = pods.add(sleep, ownNamespace());
  pods.remove('u1');
  go();
  t.equal(await answer, 'pod default/sleep: removed meanwhile');
  t.strictSame(world.ended, ['u1']);
  t.equal(openDescriptors(), before);
});

t.test(
  'a descriptor that is no network namespace is refused, closed, and kept in readiness until it is mended',
  async (t) => {
    const { pods } = setup();
    const before = openDescriptors();
    t.match(await pods.add(sleep, noNamespace()), /no network namespace/);
    t.equal(openDescriptors(), before);
    pods.snapshotComplete();
    t.strictSame(pods.pending(), ['workload proxy manager']);
    t.equal(await pods.add(sleep, ownNamespace()), null);
    t.strictSame(pods.pending(), []);
    pods.close();
  },
);

t.test('a start that takes long is answered in time, goes on, and is not begun twice', async (t) => {
  const { pods, world } = setup();
  let go = () => {};
  world.hold = new Promise<void>((resolve) => {
    go = resolve;
  });
  const answer = pods.add(sleep, ownNamespace());
  await world.clock.advanceAsync(3999);
  const again = pods.add(sleep, ownNamespace());
  await world.clock.advanceAsync(1);
  t.equal(await answer, 'pod default/sleep: its listeners are still being made');
  pods.snapshotComplete();
  t.strictSame(pods.pending(), ['workload proxy manager']);
  go();
  t.equal(await again, null);
  t.strictSame([world.attempts, pods.pending()], [['u1 0'], []]);
  t.equal(world.clock.pending, 0);
  pods.close();
});

t.test(
  'an agent that connects again: what could not start is forgotten, and readiness waits for the snapshot',
  async (t) => {
    const { pods, world } = setup();
    const before = openDescriptors();
    await pods.add(sleep, ownNamespace());
    world.fail = 'no such option';
    await pods.add({ ...sleep, uid: 'u2' }, ownNamespace());
    await pods.add({ ...sleep, uid: 'u3' }, noNamespace());
    pods.snapshotComplete();
    pods.connected();
    t.equal(world.clock.pending, 0, 'nothing is tried again');
    t.equal(openDescriptors(), before + 1);
    t.strictSame(world.ended, []);
    t.strictSame(pods.pending(), ['workload proxy manager']);
    pods.keep('u1');
    pods.snapshotComplete();
    t.strictSame(pods.pending(), []);
    t.strictSame(world.ended, []);
    pods.connected();
    t.strictSame(pods.pending(), [], 'with nothing wrong before, a new connection is no reason to be unready');
    pods.close();
  },
);

t.test('a removal before the snapshot takes effect with it, a later one at once', async (t) => {
  const { pods, world } = setup();
  await pods.add(sleep, ownNamespace());
  pods.remove('u1');
  t.strictSame(world.ended, []);
  pods.snapshotComplete();
  t.strictSame(world.ended, ['u1']);
  await pods.add(sleep, ownNamespace());
  pods.remove('u1');
  t.strictSame(world.ended, ['u1', 'u1']);
});

t.test('another namespace under a known uid: the old proxy is ended before the new one is made', async (t) => {
  const { pods, world } = setup();
  const { namespace, close } = await anotherNamespace(t);
  await pods.add(sleep, ownNamespace());
  pods.snapshotComplete();
  if (namespace === undefined) return;
  t.equal(await pods.add(sleep, namespace), null);
  close();
  t.strictSame([world.attempts, world.ended], [['u1 0', 'u1 1'], ['u1']]);
  pods.close();
});

t.test('more pods than a node can have are refused, and room made is room again', async (t) => {
  const { pods } = setup({ maxPods: 1 });
  const before = openDescriptors();
  await pods.add(sleep, ownNamespace());
  t.match(await pods.add({ ...sleep, uid: 'u2' }, ownNamespace()), /no more than 1 pods are served/);
  t.equal(openDescriptors(), before + 1);
  pods.snapshotComplete();
  t.strictSame(pods.pending(), ['workload proxy manager']);
  pods.remove('u1');
  t.equal(await pods.add({ ...sleep, uid: 'u2' }, ownNamespace()), null);
  t.strictSame(pods.pending(), []);
  pods.close();
});

/** Of a child in a network namespace of its own; none where that is not allowed, which is said. */
async function anotherNamespace(t: Test) {
  const child = spawn('unshare', ['--user', '--net', 'sleep', '60'], { stdio: 'ignore' });
  t.teardown(() => child.kill('SIGKILL'));
  const own = readlinkSync('/proc/self/ns/net');
  try {
    const path = `/proc/${child.pid}/ns/net`;
    await eventually('its namespace', () => readlinkSync(path) !== own);
    return { namespace: openNamespace(path), close: () => child.kill('SIGKILL') };
  } catch {
    t.pass('its namespace', { skip: 'no namespaces can be made here' });
    return { namespace: undefined, close: () => {} };
  }
}
