/** Pods of a node: started, kept, replaced, retried, and every descriptor closed. Real descriptors, no privileges. */
import { readdirSync } from 'node:fs';
import { openNamespace } from 'node-tproxy-native';
import t from 'tap';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import { type PodInfo, PodManager } from '../../../src/inpod/pod-manager.ts';
import type { NetworkNamespace } from '../../../src/net/socket-spec.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const sleep: PodInfo = { uid: 'u1', name: 'sleep', namespace: 'default', serviceAccount: 'sleep' };

function setup() {
  const clock = new FakeClock();
  const world = {
    clock,
    fail: undefined as string | undefined,
    started: [] as string[],
    ended: [] as string[],
    hold: undefined as Promise<void> | undefined,
  };
  const pods = new PodManager({
    clock,
    logger: silentLogger,
    metrics: unscrapedMetrics,
    async startProxy(pod: PodInfo, _namespace: NetworkNamespace) {
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
