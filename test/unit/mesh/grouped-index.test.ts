/** The index against plain lists, over any sequence of changes. */
import fc from 'fast-check';
import t from 'tap';
import { GroupedIndex } from '../../../src/mesh/grouped-index.ts';

interface Item {
  readonly id: string;
  readonly value: number;
}

const newIndex = () => new GroupedIndex<Item>(({ id }) => id);

/** Of ids there are few, so that records replace each other, or many, so that groups change their form. */
function stepsOf(ids: number, maxLength: number) {
  return fc.array(
    fc.record({
      how: fc.constantFrom('set', 'set', 'delete'),
      key: fc.constantFrom('k', 'l'),
      id: fc.nat(ids - 1).map(String),
      value: fc.nat(9),
    }),
    { maxLength, size: 'max' },
  );
}

type Steps = typeof stepsOf extends (...rest: never[]) => fc.Arbitrary<infer T> ? T : never;

function agrees(steps: Steps): boolean {
  const index = newIndex();
  const plain = new Map<string, Map<string, Item>>();
  return steps.every(({ how, key, id, value }) => {
    const group = plain.get(key) ?? new Map<string, Item>();
    plain.set(key, group);
    const item = { id, value };
    if (how === 'set') group.set(id, item);
    else group.delete(id);
    const before = index.list(key);
    const copy = [...before];
    if (how === 'set') index.set(key, item);
    else index.delete(key, id);
    const expected = [...group.values()];
    const list = index.list(key);
    const same = list.length === expected.length && list.every((each, i) => each === expected[i]);
    return same && before.every((each, i) => each === copy[i]);
  });
}

t.test('groups hold what was set last and not deleted, in the order in which ids came', async (t) => {
  fc.assert(fc.property(stepsOf(3, 30), agrees), { numRuns: 1000 });
  fc.assert(fc.property(stepsOf(150, 600), agrees), { numRuns: 50 });
  const grown = Array.from({ length: 300 }, (_, i) => ({ how: 'set', key: 'k', id: String(i), value: i }) as const);
  const shrunk = grown.map((step) => ({ ...step, how: 'delete' }) as const);
  t.ok(agrees([...grown, ...grown, ...shrunk, ...grown]), 'through every size');
});

t.test('a list is another array exactly when its group has changed', async (t) => {
  for (const size of [1, 2, 100]) {
    const index = newIndex();
    for (let i = 0; i < size; i++) index.set('k', { id: String(i), value: 1 });
    const before = index.list('k');
    t.equal(index.list('k'), before);
    index.delete('k', 'nobody');
    index.set('other', { id: '0', value: 1 });
    t.equal(index.list('k'), before);
    index.set('k', { id: '0', value: 2 });
    t.not(index.list('k'), before);
    t.equal(index.list('k')[0]?.value, 2);
    t.equal(before[0]?.value, 1, 'who holds the old one sees no change');
  }
});
