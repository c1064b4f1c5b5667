/** Active health checks: when who is asked, and what follows from the answers. */
import t from 'tap';
import type { HealthCheckPolicy } from '../../../../src/route/destination.ts';
import {
  HealthChecks,
  mostChecksAtOnce,
  type ProbeResult,
  unusedMs,
} from '../../../../src/upstream/balance/health-checks.ts';
import { Host } from '../../../../src/upstream/balance/host.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { makeWorkload } from '../../../support/mesh-records.ts';

const policy: HealthCheckPolicy = {
  path: '/healthz',
  intervalMs: 1000,
  timeoutMs: 500,
  unhealthyThreshold: 3,
  healthyThreshold: 2,
};

function world(count: number) {
  const clock = new FakeClock();
  const hosts = Array.from({ length: count }, (_, i) => new Host(makeWorkload({ name: `pod-${i}` }), 80, 0));
  const asked: number[] = [];
  const changes: string[] = [];
  let answer: (index: number) => ProbeResult | Promise<ProbeResult> = () => 'well';
  const checks = new HealthChecks({
    clock,
    random: { next: () => 0 },
    hosts: () => hosts,
    probe: (host) => {
      const index = hosts.indexOf(host);
      asked.push(index);
      return Promise.resolve(answer(index));
    },
    changed: (host, failing) => {
      host.failing = failing;
      changes.push(`${hosts.indexOf(host)} ${failing ? 'failing' : 'well'}`);
    },
  });
  return {
    clock,
    hosts,
    asked,
    changes,
    checks,
    answers: (next: typeof answer) => {
      answer = next;
    },
  };
}

t.test('each endpoint is asked once in an interval, spread over it', async (t) => {
  const { clock, checks, asked } = world(4);
  checks.used(policy);
  t.same(asked, [0], 'the first at once');
  await clock.advanceAsync(250);
  t.same(asked, [0, 1]);
  await clock.advanceAsync(2750);
  t.same(asked, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0]);
});

t.test('failures in a row make it unwell, successes in a row well again', async (t) => {
  const { clock, checks, answers, changes } = world(1);
  const script: ProbeResult[] = [
    'unwell',
    'unwell',
    'well',
    'unwell',
    'unknown',
    'unwell',
    'unwell',
    'well',
    'unwell',
    'well',
    'well',
  ];
  answers(() => script.shift() ?? 'well');
  checks.used(policy);
  const seen: string[] = [];
  for (let i = 0; i < 11; i++) {
    await clock.advanceAsync(0);
    seen.push(changes.at(-1) ?? '-');
    await clock.advanceAsync(1000);
  }
  t.same(seen.slice(5, 7), ['-', '0 failing'], 'what is not known counts neither way');
  t.same(changes, ['0 failing', '0 well']);
});

t.test('nobody is asked twice at once, and not too many together', async (t) => {
  const { clock, checks, answers, asked } = world(100);
  const waiting: (() => void)[] = [];
  answers(() => new Promise((resolve) => waiting.push(() => resolve('well'))));
  checks.used({ ...policy, intervalMs: 100 });
  await clock.advanceAsync(5000);
  t.equal(asked.length, mostChecksAtOnce);
  for (const end of waiting.splice(0)) end();
  await clock.advanceAsync(100);
  t.equal(asked.length, 2 * mostChecksAtOnce);
  t.equal(new Set(asked).size, asked.length);
});

t.test('without requests checks stop, and begin again with the next', async (t) => {
  const { clock, checks, asked } = world(1);
  checks.used(policy);
  await clock.advanceAsync(unusedMs + 2000);
  const before = asked.length;
  t.equal(clock.pending, 0);
  await clock.advanceAsync(60_000);
  t.equal(asked.length, before);
  checks.used(policy);
  t.equal(asked.length, before + 1);
  checks.close();
  t.equal(clock.pending, 0);
  checks.used(policy);
  t.equal(asked.length, before + 1);
});

t.test('an answer about one that has left, or after the end, changes nothing', async (t) => {
  const { clock, checks, answers, hosts, changes } = world(1);
  answers(() => 'unwell');
  (hosts[0] as Host).present = false;
  checks.used({ ...policy, unhealthyThreshold: 1 });
  await clock.advanceAsync(0);
  (hosts[0] as Host).present = true;
  const closed = world(1);
  closed.answers(() => 'unwell');
  closed.checks.used({ ...policy, unhealthyThreshold: 1 });
  closed.checks.close();
  await closed.clock.advanceAsync(0);
  t.same([changes, closed.changes], [[], []]);
});
