/** Token buckets against slow definitions of what they are to do. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { LocalRateLimit } from '../../../src/route/traffic-protection.ts';
import { BucketTable } from '../../../src/waypoint/protection/bucket-table.ts';

function limit(fields: Partial<LocalRateLimit>): LocalRateLimit {
  return {
    name: 'default/limits/all',
    matches: [],
    key: [],
    tokens: 1,
    intervalMs: 1000,
    burst: 1,
    maxKeys: 100,
    whenFull: 'share',
    ...fields,
  };
}

/** Takes when there is something to take. */
function admit(table: BucketTable, key: string, nowMs: number): boolean {
  const free = table.look(key, nowMs).kind === 'free';
  if (free) table.take(key, nowMs);
  return free;
}

interface Event {
  readonly key: string;
  readonly atMs: number;
}

const events = fc
  .array(fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd', 'e'), afterMs: fc.nat(700) }), { maxLength: 60 })
  .map((steps) => {
    let atMs = 0;
    return steps.map(({ key, afterMs }): Event => {
      atMs += afterMs;
      return { key, atMs };
    });
  });
const rates = fc.record({
  tokens: fc.integer({ min: 1, max: 5 }),
  intervalMs: fc.integer({ min: 1, max: 2000 }),
  burst: fc.integer({ min: 1, max: 6 }),
});

/**
 * What a bucket is, without one: a request passes when in no stretch of time that ends with it more would have passed than
 * `burst` and what the rate gives. In whole numbers, and in the square of the number of requests.
 */
function oracle(history: readonly Event[], { tokens, intervalMs, burst }: LocalRateLimit): boolean[] {
  const admitted: Event[] = [];
  return history.map((event) => {
    const before = admitted.filter(({ key }) => key === event.key);
    const passes = before.concat(event).every((start, i, all) => {
      const taken = all.length - i;
      return taken * intervalMs <= burst * intervalMs + (event.atMs - start.atMs) * tokens;
    });
    if (passes) admitted.push(event);
    return passes;
  });
}

t.test('with room for every key each gets exactly what burst and rate give it', async () => {
  fc.assert(
    fc.property(events, rates, (history, rate) => {
      const rule = limit(rate);
      const table = new BucketTable(rule);
      assert.deepEqual(
        history.map(({ key, atMs }) => admit(table, key, atMs)),
        oracle(history, rule),
      );
    }),
  );
});

t.test('with more keys than room none gets more than twice that, and the table stays as small as said', async () => {
  fc.assert(
    fc.property(events, rates, fc.integer({ min: 1, max: 3 }), (history, rate, maxKeys) => {
      const rule = limit({ ...rate, maxKeys });
      const table = new BucketTable(rule);
      const admitted = history.filter(({ key, atMs }) => {
        const passes = admit(table, key, atMs);
        assert.ok(table.size <= maxKeys);
        return passes;
      });
      for (const [i, start] of admitted.entries()) {
        const of = admitted.slice(i).filter(({ key }) => key === start.key);
        for (const [j, end] of of.entries()) {
          const most = rule.burst * rule.intervalMs + (end.atMs - start.atMs) * rule.tokens;
          assert.ok((j + 1) * rule.intervalMs <= 2 * most);
        }
      }
    }),
  );
});

t.test('a new key when the table is full: by choice it shares, is refused, or drops the oldest', async (t) => {
  const full = (whenFull: LocalRateLimit['whenFull']) => {
    const table = new BucketTable(limit({ maxKeys: 2, burst: 2, whenFull }));
    for (const key of ['a', 'a', 'b']) admit(table, key, 0);
    return table;
  };
  const shared = full('share');
  t.same(
    ['c', 'd', 'e'].map((key) => admit(shared, key, 0)),
    [true, true, false],
  );
  t.equal(admit(shared, 'b', 0), true, 'who has a bucket keeps it');
  const denied = full('deny');
  t.equal(denied.look('c', 0).kind, 'no-room');
  t.equal(denied.look('b', 0).kind, 'free');
  const evicting = full('evict');
  t.equal(evicting.look('a', 0).kind, 'over');
  t.equal(admit(evicting, 'c', 0), true);
  t.equal(evicting.size, 2);
  t.equal(evicting.look('a', 0).kind, 'free', 'the oldest was forgotten');
});

t.test('a bucket that is full again makes room without loss', async (t) => {
  const table = new BucketTable(limit({ maxKeys: 2, whenFull: 'deny' }));
  admit(table, 'a', 0);
  admit(table, 'b', 500);
  t.equal(table.look('c', 999).kind, 'no-room');
  t.equal(admit(table, 'c', 1000), true, 'a is as if it had never come');
  t.equal(table.look('b', 1000).kind, 'over');
});

t.test('it tells what is left and how long to wait, and time that goes back fills nothing', async (t) => {
  const table = new BucketTable(limit({ tokens: 2, intervalMs: 1000, burst: 3 }));
  t.strictSame(table.look('a', 10_000), { kind: 'free', remaining: 3, resetMs: 0 });
  for (let i = 0; i < 3; i++) table.take('a', 10_000);
  t.strictSame(table.look('a', 10_000), { kind: 'over', waitMs: 500, resetMs: 1500 });
  t.strictSame(table.look('a', 9000), { kind: 'over', waitMs: 500, resetMs: 1500 });
  t.strictSame(table.look('a', 10_500), { kind: 'free', remaining: 1, resetMs: 1000 });
});
