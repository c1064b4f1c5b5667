/** What a pod may take: each limit for itself, of no other pod, and visible when it is reached. */
import t from 'tap';
import { type Logger, silentLogger } from '../../../src/base/logger.ts';
import { type Counter, type MetricsRegistry, unscrapedMetrics } from '../../../src/base/metrics.ts';
import { TokenBucket } from '../../../src/base/token-bucket.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { watchBuffers } from '../../../src/ztunnel/buffer-watch.ts';
import { type ConnectionEntry, ConnectionRegistry } from '../../../src/ztunnel/connection-registry.ts';
import { defaultPodLimits, PodBudgets, type PodLimits } from '../../../src/ztunnel/pod-budgets.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { makeChange, makeWorkload } from '../../support/mesh-records.ts';
import { makeTestHop } from './test-hop.ts';

const web = makeWorkload({ name: 'web' });
const shop = makeWorkload({ name: 'shop' });
const plenty = { limit: 1_000_000, reserve: 1000, base: 20 };

function setup(limits: Partial<PodLimits>, descriptors = plenty) {
  const clock = new FakeClock();
  const live = new Map<string, number>();
  const counters = new Map<string, Counter>();
  const warned: unknown[] = [];
  const metrics: MetricsRegistry = {
    ...unscrapedMetrics,
    counter(name, _help, labels = {}) {
      const key = `${name}{${labels.limit}}`;
      return counters.getOrInsertComputed(key, () => ({ value: 0 }));
    },
  };
  const logger: Logger = { ...silentLogger, warn: (message, fields) => warned.push([message, fields?.limit]) };
  const budgets = new PodBudgets({
    limits: { ...defaultPodLimits, ...limits },
    descriptors,
    connectionsOf: (uid) => live.get(uid) ?? 0,
    clock,
    logger,
    metrics,
  });
  return {
    budgets,
    clock,
    live,
    warned,
    count: (limit: string) => counters.get(`ambit_limit_reached_total{${limit}}`),
  };
}

t.test('a bucket gives its burst at once, then its rate, and never more than the burst after a rest', async (t) => {
  const bucket = new TokenBucket(10, 3, 0);
  t.same(
    [0, 0, 0, 0].map((ms) => bucket.take(ms)),
    [true, true, true, false],
  );
  t.equal(bucket.waitMs(0), 100);
  t.equal(bucket.take(99), false);
  t.equal(bucket.take(101), true);
  t.same(
    [60_000, 60_000, 60_000, 60_000].map((ms) => bucket.take(ms)),
    [true, true, true, false],
  );
});

t.test('live connections of one pod are limited, those of its neighbour are not', async (t) => {
  const { budgets, live, count, warned } = setup({ connections: 2 });
  live.set(web.uid, 2);
  t.equal(
    budgets.admit(web, 'outbound'),
    'too many connections of default/web: limit connections (AMBIT_MAX_CONNECTIONS_PER_POD)',
  );
  t.equal(budgets.admit(shop, 'outbound'), undefined);
  live.set(web.uid, 1);
  t.equal(budgets.admit(web, 'outbound'), undefined);
  t.equal(count('connections')?.value, 1);
  t.match(warned, [['a pod is at its limit', 'connections']]);
  t.match(budgets.dump(), { pods: { 'default/web': { connections: 1, reached: { connections: 1 } } } });
});

t.test('a rate makes a pod’s own listener wait, and refuses where many share one; directions are apart', async (t) => {
  const { budgets, clock, count } = setup({ connectionsPerSecond: 10 });
  const gate = budgets.gate('outbound', () => web);
  for (let i = 0; i < 20; i++) t.equal(budgets.admit(web, 'outbound'), undefined);
  t.equal(gate.waitMs(), 100);
  t.match(budgets.admit(web, 'outbound'), /connection_rate \(AMBIT_CONNECTION_RATE_PER_POD\)/);
  t.equal(budgets.gate('inbound', () => web).waitMs(), 0);
  t.equal(budgets.gate('outbound', () => shop).waitMs(), 0);
  t.equal(budgets.gate('outbound', () => undefined).waitMs(), 0, 'of many workloads none may stop the others');
  clock.advance(100);
  t.equal(gate.waitMs(), 0);
  t.equal(count('connection_rate')?.value, 2);
});

t.test('sessions and handshakes of a pod are limited, in number and in rate', async (t) => {
  const { budgets, clock } = setup({ sessions: 3, handshakes: 2, handshakesPerSecond: 2 });
  const admission = budgets.admission(() => web);
  const [first, second] = [admission.entered(), admission.entered()];
  t.ok(admission.waitMs() > 0, 'two handshakes are under way');
  first.secured();
  first.secured();
  t.equal(admission.waitMs(), 0);
  const third = admission.entered();
  second.left();
  third.secured();
  const fourth = admission.entered();
  fourth.secured();
  t.ok(admission.waitMs() > 0, 'three sessions stand');
  first.left();
  t.equal(admission.waitMs(), 500, 'four began at once, which is the burst');
  clock.advance(500);
  t.equal(admission.waitMs(), 0);
  third.left();
  fourth.left();
  t.match(budgets.dump(), {
    pods: { 'default/web': { sessions: 0, handshakes: 0, reached: { handshakes: 1, sessions: 1, handshake_rate: 1 } } },
  });
});

t.test('the last descriptors go to pods that hold few, and the reserve to none', async (t) => {
  const { budgets, live } = setup({}, { limit: 120, reserve: 120, base: 0 });
  t.match(budgets.admit(web, 'outbound'), /descriptors \(AMBIT_MAX_DESCRIPTORS\)/, 'nothing but the reserve is left');
  const little = setup({}, { limit: 102, reserve: 100, base: 0 });
  little.live.set(web.uid, 50);
  t.match(little.budgets.admit(web, 'outbound'), /descriptors/, 'it holds more than its part');
  t.ok(little.budgets.gate('outbound', () => web).waitMs() > 0);
  t.equal(little.budgets.admit(shop, 'outbound'), undefined, 'its neighbour holds nothing');
  t.equal(live.size, 0);
});

t.test('a limit that stays reached is logged once a minute, and counted each time', async (t) => {
  const { budgets, live, clock, warned, count } = setup({ connections: 1 });
  live.set(web.uid, 1);
  for (let i = 0; i < 100; i++) budgets.admit(web, 'inbound');
  clock.advance(60_000);
  budgets.admit(web, 'inbound');
  t.equal(warned.length, 2);
  t.equal(count('connections')?.value, 101);
});

t.test('pods that came and went are forgotten', async (t) => {
  const { budgets, live } = setup({ connections: 1 });
  live.set(web.uid, 1);
  budgets.admit(web, 'inbound');
  for (let i = 0; i < 5000; i++) budgets.admit(makeWorkload({ name: `pod-${i}` }), 'outbound');
  t.match(budgets.dump(), { pods: { 'default/web': { reached: { connections: 1 } } } }, 'what holds something is not');
});

function entryOf(name: string, heldBytes: number, stopped: string[]): ConnectionEntry {
  return {
    hop: makeTestHop('inbound'),
    join: {
      counts: { toUpstream: 0, toDownstream: 0 },
      heldBytes,
      stop: (error) => stopped.push(`${name}: ${error.message}`),
    },
    workload: name.startsWith('web') ? web : shop,
    originalDestination: { ip: '10.0.0.1', port: 80 },
    protocol: 'HBONE',
  };
}

t.test('a pod that holds too much in buffers loses what holds most, its neighbour nothing', async (t) => {
  const mesh = new MeshStore();
  mesh.apply(makeChange({ workloads: [web, shop] }));
  const clock = new FakeClock();
  const registry = new ConnectionRegistry(mesh, clock);
  const stopped: string[] = [];
  for (const [name, held] of [
    ['web-1', 10],
    ['web-2', 60],
    ['web-3', 50],
    ['shop-1', 99],
  ] as const) {
    registry.add(entryOf(name, held, stopped));
  }
  const reached: unknown[] = [];
  let bufferBytes = 90;
  const stop = watchBuffers({
    registry,
    clock,
    limitBytes: 100,
    onReached: (workload) => reached.push(workload?.name),
    bufferBytes: () => bufferBytes,
  });
  clock.advance(1000);
  t.same(reached, [], 'the whole process holds less than one pod may');
  bufferBytes = 219;
  clock.advance(1000);
  t.same(reached, ['web']);
  t.same(stopped, ['web-2: connection closed: its pod holds too much in buffers (AMBIT_MAX_BUFFERED_BYTES_PER_POD)']);
  stop();
  t.equal(clock.pending, 0);
});
