/** Concurrency limits: places, who waits for them, and whose turn it is. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { ConcurrencyLimit } from '../../../src/route/traffic-protection.ts';
import { type Entry, Turnstile } from '../../../src/waypoint/protection/turnstile.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function limit(fields: Partial<ConcurrencyLimit>): ConcurrencyLimit {
  return { name: 'n/o/l', matches: [], key: [], maxRequests: 1, maxQueued: 0, queueTimeoutMs: 1000, ...fields };
}

t.test('clients that wait have their turns in rotation, whatever number each has waiting', async (t) => {
  const turnstile = new Turnstile(limit({ maxQueued: 10 }), new FakeClock());
  const first = turnstile.enter('', 'a', () => {});
  const order: string[] = [];
  let leave = first.kind === 'in' ? first.leave : () => {};
  for (const [i, client] of ['a', 'a', 'a', 'b', 'c', 'c'].entries()) {
    turnstile.enter('', client, (entry) => {
      order.push(`${client}${i}`);
      if (entry.kind === 'in') leave = entry.leave;
    });
  }
  for (let i = 0; i < 7; i++) leave();
  t.same(order, ['a0', 'b3', 'c4', 'a1', 'c5', 'a2']);
  t.equal(turnstile.keys, 0);
});

t.test('who waits too long is told; who gives up is not', async (t) => {
  const clock = new FakeClock();
  const turnstile = new Turnstile(limit({ maxQueued: 2 }), clock);
  turnstile.enter('', 'a', () => {});
  const told: Entry[] = [];
  turnstile.enter('', 'a', (entry) => told.push(entry));
  const patient = turnstile.enter('', 'b', () => t.fail('it had given up'));
  if (patient.kind === 'waits') patient.giveUp();
  clock.advance(1000);
  t.strictSame(told, [{ kind: 'full', waited: true }]);
  t.equal(turnstile.waiting(''), 0);
  t.equal(clock.pending, 0);
});

type Step =
  | { readonly does: 'enter'; readonly key: string; readonly client: string }
  | { readonly does: 'leave' | 'give-up' | 'wait' };

t.test('whatever comes: never more inside or waiting than allowed, no place lost, nobody told twice', async () => {
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({
      does: fc.constant('enter' as const),
      key: fc.constantFrom('k', 'l'),
      client: fc.constantFrom('a', 'b', 'c'),
    }),
    fc.record({ does: fc.constantFrom('leave' as const, 'give-up' as const, 'wait' as const) }),
  );
  const limits = fc.record({ maxRequests: fc.integer({ min: 1, max: 3 }), maxQueued: fc.nat(4) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), limits, (steps, fields) => {
      const clock = new FakeClock();
      const turnstile = new Turnstile(limit(fields), clock);
      const inside: Record<string, (() => void)[]> = { k: [], l: [] };
      const waiting = new Map<object, { readonly key: string; readonly giveUp: () => void }>();
      for (const step of steps) {
        if (step.does === 'enter') {
          const me = {};
          const { key } = step;
          const entry = turnstile.enter(key, step.client, (later) => {
            assert.ok(waiting.delete(me), 'told once, and only who waits');
            if (later.kind === 'in') inside[key]?.push(later.leave);
          });
          if (entry.kind === 'in') inside[key]?.push(entry.leave);
          if (entry.kind === 'waits') waiting.set(me, { key, giveUp: entry.giveUp });
        } else if (step.does === 'leave') {
          const leave = inside.k?.shift() ?? inside.l?.shift();
          leave?.();
          leave?.();
        } else if (step.does === 'give-up') {
          const [first] = waiting;
          if (first !== undefined) {
            waiting.delete(first[0]);
            first[1].giveUp();
          }
        } else clock.advance(400);
        for (const key of ['k', 'l']) {
          const queued = [...waiting.values()].filter((one) => one.key === key).length;
          const within = inside[key]?.length ?? 0;
          assert.ok(within <= fields.maxRequests && queued <= fields.maxQueued);
          assert.equal(turnstile.waiting(key), queued);
          assert.ok(queued === 0 || within === fields.maxRequests, 'nobody waits beside an empty place');
        }
      }
      for (let leave = inside.k?.shift() ?? inside.l?.shift(); leave !== undefined; ) {
        leave();
        leave = inside.k?.shift() ?? inside.l?.shift();
      }
      assert.equal(turnstile.keys, 0);
      assert.equal(clock.pending, 0);
    }),
  );
});
