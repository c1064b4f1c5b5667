/** The index against plain lists, over any sequence of changes. */
import fc from 'fast-check';
import t from 'tap';
import { GroupedIndex } from '../../../src/mesh/grouped-index.ts';

const steps = fc.array(
  fc.record({
    how: fc.constantFrom('set', 'set', 'delete'),
    key: fc.constantFrom('k', 'l'),
    id: fc.constantFrom('a', 'b', 'c'),
    record: fc.nat(9),
  }),
  { maxLength: 30 },
);

t.test('groups hold what was set last and not deleted, in the order in which ids came', async (t) => {
  fc.assert(
    fc.property(steps, (list) => {
      const index = new GroupedIndex<number>();
      const plain = new Map<string, Map<string, number>>();
      return list.every(({ how, key, id, record }) => {
        const group = plain.get(key) ?? new Map<string, number>();
        plain.set(key, group);
        if (how === 'set') group.set(id, record);
        else group.delete(id);
        if (how === 'set') index.set(key, id, record);
        else index.delete(key, id);
        return ['k', 'l'].every((each) => index.list(each).join() === [...(plain.get(each)?.values() ?? [])].join());
      });
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

t.test('a list is another array exactly when its group has changed', async (t) => {
  const index = new GroupedIndex<number>();
  for (const id of ['a', 'b']) {
    index.set('k', id, 1);
    const before = index.list('k');
    t.equal(index.list('k'), before);
    index.delete('k', 'nobody');
    index.set('other', id, 1);
    t.equal(index.list('k'), before);
    index.set('k', id, 2);
    t.not(index.list('k'), before);
    t.equal(before[before.length - 1], 1, 'who holds the old one sees no change');
  }
});
