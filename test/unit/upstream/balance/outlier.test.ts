/** Outlier detection: the detectors' rules, and the whole against a slow oracle that remembers everything. */
import fc from 'fast-check';
import t from 'tap';
import type { OutlierPolicy } from '../../../../src/route/destination.ts';
import { Host } from '../../../../src/upstream/balance/host.ts';
import {
  maxEjectionMs,
  newOutlierState,
  type OutlierEvent,
  type OutlierReason,
  observe,
} from '../../../../src/upstream/balance/outlier.ts';
import { OutlierDetector } from '../../../../src/upstream/balance/outlier-detector.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { makeWorkload } from '../../../support/mesh-records.ts';

const defaults: OutlierPolicy = {
  consecutive5xx: 3,
  consecutiveGatewayErrors: 0,
  splitLocalOrigin: false,
  consecutiveLocalOrigin: 3,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 100,
  minHealthPercent: 0,
};

const status = (code: number): OutlierEvent => ({ kind: 'status', status: code });

function world(count: number, policy: Partial<OutlierPolicy> = {}) {
  const clock = new FakeClock();
  const hosts = Array.from(
    { length: count },
    (_, i) => new Host(makeWorkload({ name: `pod-${i}`, addresses: [`10.0.0.${i}`] }), 80, 0),
  );
  const told: string[] = [];
  const detector = new OutlierDetector(clock, () => hosts, {
    ejected: (host, reason) => told.push(`${host.key} ${reason}`),
    spared: (host) => told.push(`${host.key} spared`),
    returned: (host) => told.push(`${host.key} back`),
  });
  detector.follow({ ...defaults, ...policy });
  const send = (at: number, ...codes: number[]) => {
    for (const code of codes) detector.observe(hosts[at] as Host, status(code));
  };
  return { clock, hosts, detector, told, send, away: () => hosts.flatMap(({ healthy }, i) => (healthy ? [] : [i])) };
}

/** The reason given to the last of the events. */
function reasonOf(policy: Partial<OutlierPolicy>, ...events: OutlierEvent[]): OutlierReason | undefined {
  const state = newOutlierState();
  let reason: OutlierReason | undefined;
  for (const event of events) reason = observe(state, { ...defaults, ...policy }, event);
  return reason;
}

t.test('five-hundreds in a row are enough, and anything else begins anew', async (t) => {
  t.equal(reasonOf({}, status(500), status(503), status(599)), 'consecutive-5xx');
  t.equal(reasonOf({}, status(500), status(500), status(404), status(500)), undefined);
  t.equal(reasonOf({ consecutive5xx: 0 }, ...Array.from({ length: 20 }, () => status(500))), undefined);
});

t.test('gateway errors are counted apart', async (t) => {
  const policy = { consecutiveGatewayErrors: 2, consecutive5xx: 0 };
  t.equal(reasonOf(policy, status(502), status(504)), 'consecutive-gateway-errors');
  t.equal(reasonOf(policy, status(503), status(500), status(503)), undefined, '500 is none');
  t.equal(reasonOf({}, status(503), status(503), status(503)), 'consecutive-5xx', 'off by default');
});

t.test('failures of our own count as the status that stands for them, or apart', async (t) => {
  const failing = { kind: 'connect-failure' } as const;
  const late = { kind: 'timeout' } as const;
  t.equal(reasonOf({}, failing, late, { kind: 'reset' }), 'consecutive-5xx');
  t.equal(reasonOf({ consecutiveGatewayErrors: 2 }, failing, late), 'consecutive-gateway-errors');
  const split = { splitLocalOrigin: true, consecutiveLocalOrigin: 2 };
  t.equal(reasonOf(split, failing, late), 'consecutive-local-origin-failures');
  t.equal(reasonOf(split, failing, status(500), failing), undefined, 'an answer is a connection');
  t.equal(reasonOf({ ...split, consecutiveLocalOrigin: 0 }, failing, failing, failing, failing), undefined);
  t.equal(
    reasonOf(split, status(500), status(500), failing, status(500)),
    'consecutive-5xx',
    'neither resets the other',
  );
  t.equal(reasonOf({}, failing, failing, { kind: 'connected' }, failing), undefined);
});

t.test('an endpoint is away for the base time, longer each time, and comes back at a sweep', async (t) => {
  const { clock, send, away, told } = world(3);
  send(0, 500, 500, 500);
  t.same(away(), [0]);
  clock.advance(29_999);
  t.same(away(), [0]);
  clock.advance(1);
  t.same(away(), [], '30 s');
  send(0, 500, 500, 500);
  clock.advance(59_999);
  t.same(away(), [0], 'twice as long');
  clock.advance(10_001);
  t.same(away(), []);
  t.same(told, ['10.0.0.0:80 consecutive-5xx', '10.0.0.0:80 back', '10.0.0.0:80 consecutive-5xx', '10.0.0.0:80 back']);
});

t.test('good behaviour makes ejections shorter again, and then no timer runs', async (t) => {
  const { clock, send, away } = world(3);
  send(0, 500, 500, 500);
  clock.advance(30_000);
  t.equal(clock.pending, 1, 'the ejection is not forgotten yet');
  clock.advance(20_000);
  t.equal(clock.pending, 0);
  send(0, 500, 500, 500);
  clock.advance(30_000);
  t.same(away(), [], 'as the first time');
});

t.test('an ejection is never longer than the limit', async (t) => {
  const { clock, send, hosts } = world(2, { baseEjectionMs: 100_000 });
  for (let i = 0; i < 6; i++) {
    send(0, 500, 500, 500);
    const { ejected } = (hosts[0] as Host).outlier;
    t.ok((ejected?.untilMs ?? 0) - (ejected?.atMs ?? 0) <= maxEjectionMs);
    clock.advance(maxEjectionMs + 10_000);
    t.ok(hosts[0]?.healthy);
  }
});

t.test('no more than the limit are away, but one always may be while others are left', async (t) => {
  const many = world(10, { maxEjectionPercent: 20 });
  for (const at of [0, 1, 2]) many.send(at, 500, 500, 500);
  t.same(many.away(), [0, 1]);
  t.equal(many.told.at(-1), '10.0.0.2:80 spared');
  const few = world(3, { maxEjectionPercent: 10 });
  few.send(0, 500, 500, 500);
  few.send(1, 500, 500, 500);
  t.same(few.away(), [0]);
  const only = world(1, { maxEjectionPercent: 10 });
  only.send(0, 500, 500, 500);
  t.same(only.away(), [], 'the last one stays');
  const asked = world(1, { maxEjectionPercent: 100 });
  asked.send(0, 500, 500, 500);
  t.same(asked.away(), [0], 'unless it was asked for');
});

t.test('settings that change leave ejections alone; without settings everybody is back', async (t) => {
  const { clock, send, away, detector, told } = world(3);
  send(0, 500, 500, 500);
  detector.follow({ ...defaults, consecutive5xx: 7, intervalMs: 1000 });
  t.same(away(), [0]);
  clock.advance(30_000);
  t.same(away(), []);
  send(1, 500, 500, 500, 500, 500, 500, 500);
  detector.follow(undefined);
  t.same(away(), []);
  t.equal(told.at(-1), '10.0.0.1:80 back');
  t.equal(clock.pending, 0);
  t.equal(detector.ejected, 0);
  send(1, 500, 500, 500, 500, 500, 500, 500);
  t.same(away(), []);
});

t.test('one that left says nothing any more', async (t) => {
  const { hosts, detector, send, told } = world(2);
  (hosts[0] as Host).present = false;
  send(0, 500, 500, 500);
  t.same(told, []);
  t.equal(detector.ejected, 0);
});

t.test('errors of one client alone eject nobody while others are answered well', async (t) => {
  const { clock, hosts, detector, away, told } = world(3);
  const [host] = hosts as [Host];
  const send = (client: string, ...codes: number[]) => {
    for (const code of codes) detector.observe(host, status(code), client);
  };
  send('victim', 200);
  send('attacker', 500, 500, 500, 500, 500, 500);
  t.same(away(), []);
  t.same(told, ['10.0.0.0:80 spared', '10.0.0.0:80 spared']);
  send('attacker', 200);
  send('attacker', 500, 500, 500);
  t.same(away(), [], 'its own successes hide nobody else’s');
  send('attacker', 500, 500);
  send('victim', 500);
  t.same(away(), [0], 'errors of both are the endpoint’s');
  clock.advance(60_000);
  send('victim', 200);
  clock.advance(10_001);
  send('attacker', 500, 500, 500);
  t.same(away(), [0], 'nobody else was answered in the last interval');
  const alone = world(3);
  for (const code of [200, 500, 500, 500]) alone.detector.observe(alone.hosts[0] as Host, status(code), 'only');
  t.same(alone.away(), [0], 'with one client its word counts');
  const dead = world(3);
  dead.detector.observe(dead.hosts[0] as Host, status(200), 'a');
  for (let i = 0; i < 3; i++) dead.detector.observe(dead.hosts[0] as Host, { kind: 'connect-failure' }, 'b');
  t.same(dead.away(), [0], 'that nobody is there is nobody’s doing');
});

/** Knows nothing but the whole history: for each host its events and sweeps in order. */
class Oracle {
  readonly policy: OutlierPolicy;
  readonly #hosts: { run5xx: number; runGateway: number; runLocal: number; times: number; until: number | undefined }[];
  now = 0;
  #sweepAt: number | undefined;

  constructor(count: number, policy: OutlierPolicy) {
    this.policy = policy;
    this.#hosts = Array.from({ length: count }, () => ({
      run5xx: 0,
      runGateway: 0,
      runLocal: 0,
      times: 0,
      until: undefined,
    }));
  }

  away(): readonly number[] {
    return this.#hosts.flatMap(({ until }, i) => (until === undefined ? [] : [i]));
  }

  event(at: number, event: OutlierEvent): void {
    const host = this.#hosts[at];
    if (host === undefined) return;
    const { policy } = this;
    const local = event.kind === 'connect-failure' || event.kind === 'timeout';
    let enough = false;
    if (policy.splitLocalOrigin && local) {
      host.runLocal++;
      if (host.runLocal === policy.consecutiveLocalOrigin) {
        enough = true;
        host.runLocal = 0;
      }
    } else {
      if (policy.splitLocalOrigin && event.kind !== 'reset') host.runLocal = 0;
      if (!(policy.splitLocalOrigin && event.kind === 'connected')) {
        const codes = { connected: 200, 'connect-failure': 503, timeout: 504, reset: 500 };
        const code = event.kind === 'status' ? event.status : codes[event.kind];
        const bad = code >= 500;
        const gateway = code === 502 || code === 503 || code === 504;
        host.run5xx = bad ? host.run5xx + 1 : 0;
        host.runGateway = gateway ? host.runGateway + 1 : 0;
        if (bad && host.run5xx === policy.consecutive5xx) {
          enough = true;
          host.run5xx = 0;
        }
        if (gateway && host.runGateway === policy.consecutiveGatewayErrors) {
          enough = true;
          host.runGateway = 0;
        }
      }
    }
    if (!enough || host.until !== undefined) return;
    const away = this.away().length;
    const within = ((away + 1) / this.#hosts.length) * 100 <= policy.maxEjectionPercent;
    if (!within && !(away === 0 && this.#hosts.length > 1)) return;
    const longest = Math.max(maxEjectionMs, policy.baseEjectionMs);
    if (policy.baseEjectionMs * host.times < longest) host.times++;
    host.until = this.now + Math.min(longest, policy.baseEjectionMs * host.times);
    this.#sweepAt ??= this.now + policy.intervalMs;
  }

  advance(byMs: number): void {
    const end = this.now + byMs;
    while (this.#sweepAt !== undefined && this.#sweepAt <= end) {
      this.now = this.#sweepAt;
      for (const host of this.#hosts) {
        if (host.until === undefined) host.times = Math.max(0, host.times - 1);
        else if (this.now >= host.until)
          Object.assign(host, { until: undefined, run5xx: 0, runGateway: 0, runLocal: 0 });
      }
      const busy = this.#hosts.some(({ until, times }) => until !== undefined || times > 0);
      this.#sweepAt = busy ? this.now + this.policy.intervalMs : undefined;
    }
    this.now = end;
  }
}

t.test('whatever happens in whatever order, the oracle agrees', async () => {
  const policies = fc.record({
    consecutive5xx: fc.integer({ min: 0, max: 4 }),
    consecutiveGatewayErrors: fc.integer({ min: 0, max: 4 }),
    splitLocalOrigin: fc.boolean(),
    consecutiveLocalOrigin: fc.integer({ min: 0, max: 3 }),
    intervalMs: fc.constantFrom(10, 25),
    baseEjectionMs: fc.constantFrom(10, 30, 200_000),
    maxEjectionPercent: fc.constantFrom(10, 34, 67, 100),
    minHealthPercent: fc.constant(0),
  });
  const events = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(200, 404, 500, 502, 503, 504).map(status) },
    {
      weight: 3,
      arbitrary: fc
        .constantFrom('connected', 'connect-failure', 'timeout', 'reset')
        .map((kind) => ({ kind }) as OutlierEvent),
    },
  );
  const steps = fc.array(fc.tuple(fc.nat({ max: 4 }), events, fc.constantFrom(0, 0, 0, 1, 7, 40, 400_000)), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), policies, steps, (count, policy, sequence) => {
      const real = world(count, policy);
      const oracle = new Oracle(count, policy);
      for (const [at, event, ms] of sequence) {
        const host = real.hosts[at % count] as Host;
        real.detector.observe(host, event);
        oracle.event(at % count, event);
        real.clock.advance(ms);
        oracle.advance(ms);
        if (real.away().join() !== oracle.away().join()) return false;
        if (real.detector.ejected !== real.away().length) return false;
      }
      return true;
    }),
    { numRuns: 500 },
  );
});
