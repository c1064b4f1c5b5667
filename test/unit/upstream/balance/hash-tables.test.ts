/** Ring and maglev: the hash itself, balance, weights, and that a host that goes takes nothing along but its own. */
import fc from 'fast-check';
import t from 'tap';
import type { LookupTable, TableEntry, TableSteps } from '../../../../src/upstream/balance/hash-table.ts';
import { hashBytes, hashText } from '../../../../src/upstream/balance/hash-text.ts';
import { maglevTableSteps } from '../../../../src/upstream/balance/maglev-table.ts';
import { maxRingPoints, ringPoints, ringTableSteps } from '../../../../src/upstream/balance/ring-table.ts';

function build(steps: TableSteps): LookupTable {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

const tables = {
  ring: (entries: readonly TableEntry[]) => build(ringTableSteps(entries, 1024)),
  maglev: (entries: readonly TableEntry[]) => build(maglevTableSteps(entries, 2039)),
};

const hosts = (count: number, weight: (index: number) => number = () => 1): readonly TableEntry[] =>
  Array.from({ length: count }, (_, i) => ({ key: `10.0.${i >> 8}.${i & 255}:8080`, weight: weight(i) }));

const everybody = () => true;
const keys = Array.from({ length: 4000 }, (_, i) => hashText(`user-${i}`));

function shares(table: LookupTable, count: number): readonly number[] {
  const counts = new Array<number>(count).fill(0);
  for (const key of keys) {
    const at = table.find(key, everybody);
    counts[at] = (counts[at] ?? 0) + 1;
  }
  return counts.map((one) => one / keys.length);
}

t.test('the hash is MurmurHash3 of the bytes', async (t) => {
  t.equal(hashText(''), 0);
  t.equal(hashText('', 1), 0x514e28b7);
  t.equal(hashText('hello'), 0x248bfa47);
  t.equal(hashText('hello, world'), 0x149bbb7f);
  t.equal(hashText('The quick brown fox jumps over the lazy dog', 0x9747b28c), 0x2fa826cd);
  fc.assert(fc.property(fc.string({ unit: 'grapheme' }), (text) => hashText(text) === hashBytes(Buffer.from(text))));
});

for (const [name, make] of Object.entries(tables)) {
  t.test(`${name}: the same table whatever the order of the hosts`, async (t) => {
    const one = hosts(20);
    const other = [...one].reverse();
    const [a, b] = [make(one), make(other)];
    const differs = keys.filter((key) => one[a.find(key, everybody)]?.key !== other[b.find(key, everybody)]?.key);
    t.equal(differs.length, 0);
  });

  t.test(`${name}: weights are shares`, async (t) => {
    const table = make(hosts(4, (i) => i + 1));
    for (const [i, share] of shares(table, 4).entries()) t.ok(Math.abs(share - (i + 1) / 10) < 0.06, `${i}: ${share}`);
  });

  t.test(
    `${name}: hosts that are passed over lose their requests, nobody else does, and others share them`,
    async (t) => {
      const table = make(hosts(10));
      const taken = new Set<number>();
      let moved = 0;
      for (const key of keys) {
        const before = table.find(key, everybody);
        const after = table.find(key, (at) => at !== 3);
        if (before === 3) taken.add(after);
        else if (after !== before) moved++;
      }
      t.equal(moved, 0);
      t.ok(taken.size >= 6, `${taken.size} others take them over`);
      t.notOk(taken.has(3));
      t.equal(
        table.find(1, () => false),
        -1,
      );
    },
  );

  t.test(`${name}: a host more moves about its share`, async (t) => {
    const before = hosts(20);
    const after = hosts(21);
    const [a, b] = [make(before), make(after)];
    const moved = keys.filter((key) => before[a.find(key, everybody)]?.key !== after[b.find(key, everybody)]?.key);
    t.ok(moved.length / keys.length < 3 / 21, `${moved.length / keys.length} of the requests`);
  });
}

t.test('maglev is even: no host has more than twice the share of another', async (t) => {
  const all = shares(build(maglevTableSteps(hosts(10), 65_537)), 10);
  t.ok(Math.max(...all) / Math.min(...all) < 2, String(all));
});

t.test('maglev: every host has its number of places, whatever the weights', async () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 20 }), (weights) => {
      const entries = hosts(weights.length, (i) => weights[i] as number);
      const table = build(maglevTableSteps(entries, 2039));
      const counts = new Array<number>(weights.length).fill(0);
      for (let place = 0; place < 2039; place++) {
        const at = table.find(place, everybody);
        counts[at] = (counts[at] ?? 0) + 1;
      }
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      const heaviest = Math.max(...weights);
      // One turn more or less, of so many as there are in all.
      return counts.every(
        (count, i) =>
          Math.abs(count - (2039 * (weights[i] as number)) / total) <=
          1 + ((weights[i] as number) / heaviest) * weights.length,
      );
    }),
  );
});

t.test('a ring has at least the minimum of points, in proportion, and one for every host', async (t) => {
  t.same(ringPoints(hosts(2), 1024), [512, 512]);
  t.same(
    ringPoints(
      hosts(2, (i) => i + 1),
      9,
    ),
    [3, 6],
  );
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 50 }),
      fc.integer({ min: 1, max: 5000 }),
      (weights, minimum) => {
        const points = ringPoints(
          hosts(weights.length, (i) => weights[i] as number),
          minimum,
        );
        const size = points.reduce((sum, count) => sum + count, 0);
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const share = (i: number) => (weights[i] as number) / total;
        // Rounded once for the ring and once for the host.
        const fair = points.every((count, i) => Math.abs(count - size * share(i)) <= 1.01 + share(i));
        return size >= minimum && points.every((count) => count >= 1) && fair;
      },
    ),
  );
  const [one = 0, ...rest] = ringPoints(hosts(3), 100 * maxRingPoints);
  t.ok(one + rest.reduce((sum, count) => sum + count, 0) <= maxRingPoints + 3, 'bounded');
});

t.test('a ring is asked for the next point: compared with a look at all points', async () => {
  const entries = hosts(5);
  const table = build(ringTableSteps(entries, 64));
  const points = entries
    .flatMap(({ key }, host) =>
      Array.from({ length: ringPoints(entries, 64)[host] as number }, (_, i) => ({
        hash: hashText(`${key}_${i}`),
        host,
      })),
    )
    .sort((a, b) => a.hash - b.hash);
  fc.assert(
    fc.property(fc.nat({ max: 0xffffffff }), (hash) => {
      const expected = (points.find((point) => point.hash >= hash) ?? points[0])?.host;
      return table.find(hash, everybody) === expected;
    }),
  );
});

t.test('tables are built in small steps', async (t) => {
  const count = (steps: TableSteps) => {
    let total = 0;
    while (steps.next().done !== true) total++;
    return total;
  };
  t.ok(count(ringTableSteps(hosts(100), 100_000)) > 100);
  t.ok(count(maglevTableSteps(hosts(100), 65_537)) > 8);
});
