import { inspect } from 'node:util';
import t from 'tap';
import type { Clock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import type { SpiffeId } from '../../../src/base/spiffe.ts';
import type { CaAnswer } from '../../../src/identity/ca-client.ts';
import type { SecretState } from '../../../src/identity/secret.ts';
import { SecretManager, type SecretManagerOptions } from '../../../src/identity/secret-manager.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { testIdentity } from '../../support/test-ca.ts';
import { ScriptedCa, temporaryAuthority } from './scripted-ca.ts';

const hourMs = 3_600_000;
/** Half of a day less half of the jitter. */
const renewalMs = 24 * hourMs * 0.475;
const alice = testIdentity('spiffe://cluster.local/ns/shop/sa/alice');
const bob = testIdentity('spiffe://cluster.local/ns/shop/sa/bob');
const down: CaAnswer = { kind: 'unreachable', reason: 'connection refused' };

async function start(t: { teardown(handler: () => void): unknown }, options: Partial<SecretManagerOptions> = {}) {
  const clock = new FakeClock();
  const { authority } = await temporaryAuthority(t, clock);
  const ca = new ScriptedCa(authority);
  const manager = new SecretManager({
    ca,
    clock,
    random: { next: () => 0.5 },
    logger: silentLogger,
    metrics: unscrapedMetrics,
    ...options,
  });
  t.teardown(() => manager.close());
  const changes: (readonly [SpiffeId, SecretState])[] = [];
  manager.onChange((identity, state) => changes.push([identity, state]));
  const generation = (identity: SpiffeId) => manager.current(identity)?.generation;
  const asked = (count: number) => eventually(`${count} orders`, () => ca.orders.length >= count && ca.running === 0);
  return { clock, ca, manager, changes, generation, asked };
}

t.test('a wanted identity gets a certificate, and current returns it without waiting', async (t) => {
  const { manager, changes } = await start(t);
  t.equal(manager.current(alice), undefined);
  manager.want(alice);
  t.same([...manager.states()], [[alice, { kind: 'initializing' }]]);
  const state = await manager.acquire(alice);
  t.equal(state.kind, 'available');
  t.equal(manager.current(alice)?.identity, alice);
  t.equal(manager.current(alice)?.notAfterMs, Date.UTC(2026, 0, 2));
  t.same(
    changes.map(([, change]) => change.kind),
    ['available'],
  );
});

t.test('askers of one identity share one request', async (t) => {
  const { manager, ca } = await start(t);
  manager.want(alice);
  const states = await Promise.all([manager.acquire(alice), manager.acquire(alice), manager.acquire(alice)]);
  t.same(
    new Set(states.map((state) => (state.kind === 'available' ? state.secret.generation : state.reason))),
    new Set([1]),
  );
  t.equal(ca.orders.length, 1);
});

t.test('at most eight requests run at once, connections go first and renewals last', async (t) => {
  const { manager, ca } = await start(t);
  let open = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  ca.behaviour = async (_order, honest) => {
    await gate;
    return honest();
  };
  const many = Array.from({ length: 20 }, (_, i) => testIdentity(`spiffe://cluster.local/ns/shop/sa/n${i}`));
  for (const identity of many) manager.want(identity);
  await eventually('eight orders', () => ca.orders.length === 8);
  const urgent = manager.acquire(many[19] as SpiffeId);
  open();
  t.equal((await urgent).kind, 'available');
  t.equal(ca.orders.indexOf(many[19] as SpiffeId), 8, 'the first after those under way');
  await eventually('all orders', () => ca.orders.length === 20);
  t.equal(ca.mostRunning, 8);
});

t.test('a certificate is renewed shortly before half of its remaining life, with a higher generation', async (t) => {
  const { manager, clock, ca, generation } = await start(t);
  await manager.acquire(alice);
  clock.advance(renewalMs - 1);
  t.equal(ca.orders.length, 1, 'not before');
  clock.advance(1);
  await eventually('the renewal', () => generation(alice) === 2);
  await manager.acquire(bob);
  t.equal(generation(bob), 3, 'generations grow over all identities');
  clock.advance(renewalMs);
  await eventually('both renewals', () => (generation(alice) ?? 0) > 3 && (generation(bob) ?? 0) > 3);
});

t.test('when renewal fails the valid certificate stays until it expires, and then there is none', async (t) => {
  const { manager, clock, ca, generation, changes, asked } = await start(t);
  await manager.acquire(alice);
  ca.behaviour = () => down;
  clock.advance(renewalMs);
  await asked(2);
  t.equal(generation(alice), 1);
  t.same(manager.alarms(), [], 'half a day is left');
  clock.advance(19 * hourMs - renewalMs);
  t.match(manager.alarms(), [/alice.*connection refused/], 'shown before it hurts');
  t.equal(generation(alice), 1);
  t.equal(changes.length, 1, 'nobody was bothered');
  clock.advance(5 * hourMs - 1);
  t.equal(generation(alice), 1, 'to the last moment');
  clock.advance(1);
  t.equal(manager.current(alice), undefined, 'expired');
  t.match(changes.at(-1), [alice, { kind: 'unavailable', reason: 'connection refused' }]);
  await asked(3);
  t.match(await manager.acquire(alice), { kind: 'unavailable', reason: 'connection refused' });
  ca.behaviour = (_order, honest) => honest();
  // By the minute, and only until it asks: the deadline of a request is fake time too.
  await eventually('another order', () => {
    if (ca.orders.length > 3) return true;
    clock.advance(60_000);
    return false;
  });
  await eventually('recovery', () => generation(alice) === 2);
  t.same(manager.alarms(), []);
});

t.test(
  'a CA that is down at the start answers waiters at once while it is spared, and is asked again later',
  async (t) => {
    const { manager, clock, ca, asked } = await start(t);
    ca.behaviour = () => down;
    t.match(await manager.acquire(alice), { kind: 'unavailable', reason: 'connection refused' });
    t.match(await manager.acquire(alice), { kind: 'unavailable' });
    t.equal(ca.orders.length, 1, 'the second was told without asking');
    await clock.advanceAsync(1000);
    await asked(2);
    await eventually('the next back-off', () => clock.nextInMs === 2000);
    ca.behaviour = (_order, honest) => honest();
    await clock.advanceAsync(2000);
    await eventually('the certificate', () => manager.current(alice) !== undefined);
  },
);

t.test('failures back off from one second to 150', async (t) => {
  const { manager, clock, ca } = await start(t);
  ca.behaviour = () => down;
  manager.want(alice);
  const delays: number[] = [];
  for (let i = 1; i <= 10; i++) {
    await eventually(`failure ${i}`, () => ca.orders.length === i && ca.running === 0 && clock.pending === 1);
    delays.push(clock.nextInMs as number);
    await clock.advanceAsync(clock.nextInMs as number);
  }
  t.same(delays, [1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 150_000, 150_000]);
});

t.test('a CA that never answers costs one deadline, not a slot for ever', async (t) => {
  const { manager, clock, ca } = await start(t, { maxConcurrent: 1 });
  ca.behaviour = () => new Promise(() => {});
  const state = manager.acquire(alice);
  await eventually('the order', () => ca.orders.length === 1);
  ca.behaviour = (_order, honest) => honest();
  const next = manager.acquire(bob);
  await clock.advanceAsync(10_000);
  t.match(await state, { kind: 'unavailable', reason: /did not answer/ });
  t.equal((await next).kind, 'available');
});

t.test('a certificate for another identity is rejected', async (t) => {
  const { manager, ca } = await start(t);
  let other: CaAnswer = down;
  ca.behaviour = async (_order, honest) => {
    other = await honest();
    return other;
  };
  await manager.acquire(bob);
  ca.behaviour = () => other;
  t.match(await manager.acquire(alice), { kind: 'unavailable', reason: /for URI:.*bob instead of .*alice/ });
  t.equal(manager.current(alice), undefined);
});

t.test('a certificate for another key is rejected', async (t) => {
  const { manager, ca } = await start(t);
  let first: CaAnswer = down;
  ca.behaviour = async (_order, honest) => {
    first = await honest();
    return first;
  };
  await manager.acquire(alice);
  manager.forget(alice);
  ca.behaviour = () => first;
  t.match(await manager.acquire(alice), { kind: 'unavailable', reason: /another key/ });
});

t.test('garbage, a wrong root and dates that do not fit are rejected', async (t) => {
  const clock = new FakeClock();
  const { manager, ca } = await start(t);
  const stranger = await temporaryAuthority(t, clock);
  const cases: [RegExp, (answer: Extract<CaAnswer, { kind: 'issued' }>) => CaAnswer][] = [
    [/no certificate or no root/, (answer) => ({ ...answer, chainPem: [] })],
    [/no certificate or no root/, (answer) => ({ ...answer, rootsPem: 'x' })],
    [/no certificate or no root/, (answer) => ({ ...answer, chainPem: ['-----BEGIN CERTIFICATE-----\n'] })],
    [
      /is no certificate/,
      (a) => ({ ...a, chainPem: ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'] }),
    ],
    [/not signed by the roots/, (answer) => ({ ...answer, rootsPem: stranger.authority.rootsPem })],
  ];
  for (const [reason, change] of cases) {
    ca.behaviour = async (_order, honest) => {
      const answer = await honest();
      return answer.kind === 'issued' ? change(answer) : answer;
    };
    t.match(await manager.acquire(alice), { kind: 'unavailable', reason });
    manager.forget(alice);
  }
});

t.test('a certificate of a CA whose clock is ahead or behind is not used', async (t) => {
  const { manager, ca, clock } = await start(t);
  for (const [offsetMs, reason] of [
    [hourMs, /valid only from/],
    [-48 * hourMs, /expired at/],
  ] as const) {
    const wrong = new ScriptedCa(
      (
        await temporaryAuthority(t, {
          nowMs: () => clock.nowMs(),
          wallMs: () => clock.wallMs() + offsetMs,
          after: (delayMs, callback) => clock.after(delayMs, callback),
        })
      ).authority,
    );
    ca.behaviour = (order) => wrong.sign(order, new AbortController().signal);
    t.match(await manager.acquire(alice), { kind: 'unavailable', reason });
    manager.forget(alice);
  }
});

t.test(
  'after a sleep that no timer noticed, the expired certificate is not used and a new one is asked for',
  async (t) => {
    const clock = new FakeClock();
    let sleptMs = 0;
    const sleeper: Clock = {
      wallMs: () => clock.wallMs() + sleptMs,
      nowMs: () => clock.nowMs(),
      after: (delayMs, callback) => clock.after(delayMs, callback),
    };
    const { authority } = await temporaryAuthority(t, sleeper);
    const { manager, changes } = await start(t, { clock: sleeper, ca: new ScriptedCa(authority) });
    await manager.acquire(alice);
    sleptMs = 25 * hourMs;
    t.equal(manager.current(alice), undefined);
    await clock.advanceAsync(60_000);
    t.match(changes[1], [alice, { kind: 'unavailable' }], 'told within a minute');
    t.match(await manager.acquire(alice), { kind: 'available', secret: { generation: 2 } });
  },
);

t.test('forgetting drops the certificate, ends the wait and asks no more', async (t) => {
  const { manager, ca, clock, changes } = await start(t);
  await manager.acquire(alice);
  manager.forget(alice);
  t.equal(manager.current(alice), undefined);
  t.match(changes.at(-1), [alice, { kind: 'unavailable' }]);
  t.same([...manager.states()], []);
  ca.behaviour = () => new Promise(() => {});
  const waiting = manager.acquire(alice);
  await eventually('the order', () => ca.orders.length === 2);
  manager.forget(alice);
  t.match(await waiting, { kind: 'unavailable', reason: /no workload/ });
  ca.behaviour = (_order, honest) => honest();
  t.equal((await manager.acquire(alice)).kind, 'available', 'it may come back');
  manager.forget(alice);
  await eventually('no timers', () => clock.pending === 0);
});

t.test('neither print nor JSON nor a copy of a state holds the key', async (t) => {
  const { manager } = await start(t);
  await manager.acquire(alice);
  const secret = manager.current(alice);
  const key = String(secret?.serverMaterial.key);
  t.match(key, /BEGIN PRIVATE KEY/);
  const body = key.split('\n')[1] as string;
  const deep = { depth: Infinity, showHidden: true, getters: true, maxStringLength: null };
  for (const value of [[...manager.states()], secret, { ...secret }, manager]) {
    for (const text of [JSON.stringify(value), inspect(value), inspect(value, deep)]) {
      t.notMatch(text, 'PRIVATE KEY');
      t.notOk(text.includes(body));
    }
  }
});

t.test('beyond the limit an identity is unavailable; after close everything is', async (t) => {
  const { manager, ca } = await start(t, { maxIdentities: 1 });
  await manager.acquire(alice);
  t.match(await manager.acquire(bob), { kind: 'unavailable', reason: /too many/ });
  manager.close();
  t.equal(manager.current(alice), undefined);
  t.match(await manager.acquire(alice), { kind: 'unavailable' });
  t.equal(ca.closed, true);
});
