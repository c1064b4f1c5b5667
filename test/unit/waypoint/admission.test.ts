/** What a waypoint near its limits takes, and from whom. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import { decidePressure, decideShare } from '../../../src/waypoint/protection/admission.ts';
import { defaultOverloadSettings, Overload } from '../../../src/waypoint/protection/overload.ts';
import { PressureGauge } from '../../../src/waypoint/protection/pressure-gauge.ts';
import { Shares } from '../../../src/waypoint/protection/shares.ts';
import { FakeClock } from '../../support/fake-clock.ts';

t.test('far from the limit anybody may have everything; near it, its share', async (t) => {
  const limits = { most: 100, fairFrom: 0.8 };
  t.match(decideShare(limits, 79, 79, 1), { kind: 'admit' });
  t.match(decideShare(limits, 80, 79, 2), { kind: 'refuse', reason: 'client_share' });
  t.match(decideShare(limits, 80, 1, 2), { kind: 'admit' });
  t.match(decideShare(limits, 100, 0, 3), { kind: 'refuse', reason: 'too_many' });
  t.match(decideShare(limits, 99, 0, 1000), { kind: 'admit' }, 'one at least');
});

t.test('a client that came late gets its share as others end, whatever the greedy one tries', async () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { minLength: 400, maxLength: 400 }), (ends) => {
      const shares = new Shares({ most: 20, fairFrom: 0.8 });
      const tries = (client: string) => {
        if (shares.decide(client).kind === 'admit') shares.begin(client);
      };
      let modest = 0;
      for (const end of ends) {
        for (let i = 0; i < 5; i++) tries('greedy');
        const before = shares.all;
        if (modest < 10) tries('modest');
        modest += shares.all - before;
        if (end) shares.end('greedy');
        assert.ok(shares.all <= 20);
      }
      // 4 places are kept free of the greedy one, and no end of it was followed by a new one of it.
      assert.ok(modest >= Math.min(10, 4 + ends.slice(0, -1).filter(Boolean).length));
    }),
    { numRuns: 30 },
  );
});

t.test('counts come back to nothing', async (t) => {
  const shares = new Shares({ most: 2, fairFrom: 1 });
  shares.begin('a');
  shares.begin('b');
  shares.end('a');
  t.same([shares.all, shares.clients], [1, 1]);
  shares.end('b');
  shares.end('b');
  t.same([shares.all, shares.clients], [0, 0]);
});

t.test('the harder the pressure, the more is refused', async (t) => {
  const limits = { eventLoopDelayMs: 100, memoryShare: 0.8 };
  const share = (eventLoopDelayMs: number, memoryShare: number) => {
    let refused = 0;
    for (let draw = 0; draw < 1; draw += 0.01) {
      if (decidePressure(limits, { eventLoopDelayMs, memoryShare }, draw).kind === 'refuse') refused++;
    }
    return Math.round(refused / 10) / 10;
  };
  t.same(
    [99, 150, 200, 900].map((delay) => share(delay, 0)),
    [0, 0.5, 1, 1],
  );
  t.same(
    [0.8, 0.85, 0.9, 1].map((memory) => share(0, memory)),
    [0, 0.5, 1, 1],
  );
  const off = decidePressure({ eventLoopDelayMs: 0, memoryShare: 0 }, { eventLoopDelayMs: 1e6, memoryShare: 1 }, 0);
  t.equal(off.kind, 'admit');
});

t.test('health checks pass under pressure, but not beyond the limit of requests', async (t) => {
  const settings = { ...defaultOverloadSettings, maxRequests: 2, eventLoopDelayMs: 10 };
  const pressure = { eventLoopDelayMs: 1000, memoryShare: 0 };
  const overload = new Overload(settings, () => pressure, { random: { next: () => 0.5 }, metrics: unscrapedMetrics });
  t.match(overload.request('a', '/cart'), { kind: 'refuse', reason: 'event_loop_delay' });
  t.match(overload.tunnel('a'), { kind: 'refuse', reason: 'event_loop_delay' });
  t.equal(overload.request('a', '/healthz').kind, 'admit');
  t.equal(overload.request('b', '/healthz').kind, 'admit');
  t.match(overload.request('b', '/healthz'), { kind: 'refuse', reason: 'too_many' });
  t.equal(overload.requests, 2);
});

t.test('the gauge is a mean over about a second: one long stop weighs as long as it lasted', async (t) => {
  const clock = new FakeClock();
  let late = 0;
  const lateClock = {
    wallMs: () => clock.wallMs(),
    nowMs: () => clock.nowMs() + late,
    after: (delayMs: number, callback: () => void) => clock.after(delayMs, callback),
  };
  let memory = 0.1;
  const gauge = new PressureGauge(lateClock, () => memory);
  clock.advance(1000);
  t.strictSame(gauge.now, { eventLoopDelayMs: 0, memoryShare: 0.1 });
  late += 1000;
  memory = 0.5;
  clock.advance(100);
  const after = gauge.now.eventLoopDelayMs;
  t.ok(after > 500 && after < 1000, `${after}`);
  t.equal(gauge.now.memoryShare, 0.5);
  clock.advance(2000);
  t.ok(gauge.now.eventLoopDelayMs < 100, 'it goes again');
  gauge.close();
  t.equal(clock.pending, 0);
});
