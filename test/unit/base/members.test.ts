import t from 'tap';
import { type Member, Members } from '../../../src/base/members.ts';

t.test('members come in order, go in any, and are gone once', async (t) => {
  const members = new Members<string>();
  t.same([members.size, members.all()], [0, []]);
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((value) => members.add(value)) as [
    Member<string>,
    Member<string>,
    Member<string>,
    Member<string>,
  ];
  t.same([members.size, members.all()], [4, ['a', 'b', 'c', 'd']]);
  members.remove(b);
  members.remove(b);
  t.same([members.size, members.all()], [3, ['a', 'c', 'd']]);
  members.remove(d);
  members.remove(a);
  t.same([members.size, members.all()], [1, ['c']]);
  t.equal(c.value, 'c');
  members.add('e');
  members.remove(c);
  t.same([members.size, members.all()], [1, ['e']]);
});

t.test('the same value may come twice, and one of the two goes', async (t) => {
  const members = new Members<string>();
  const first = members.add('same');
  members.add('same');
  members.remove(first);
  t.same([members.size, members.all()], [1, ['same']]);
});

t.test('one that is gone leads to nobody who came after it', async (t) => {
  const members = new Members<object>();
  const gone = members.add({});
  members.add({});
  members.remove(gone);
  t.same(
    Object.values(gone).filter((value) => typeof value === 'object' && value !== gone.value),
    [],
  );
});
