import t from 'tap';
import { SharedLists } from '../../../src/base/shared-lists.ts';

t.test('equal lists are one list, others are not', async (t) => {
  const lists = new SharedLists<string | number>();
  const first = lists.shared(['spec', 'rules', 1]);
  t.equal(lists.shared(['spec', 'rules', 1]), first);
  t.not(lists.shared(['spec', 'rules', 11]), first);
  t.same(lists.shared(['spec', 'rules', 1, 1]), ['spec', 'rules', 1, 1]);
});

t.test('what finds no room is handed back as it is', async (t) => {
  const lists = new SharedLists<number>();
  for (let i = 0; i < 4096; i++) lists.shared([i]);
  const late = [5000];
  t.equal(lists.shared(late), late);
  t.not(lists.shared([5000]), late);
  const early = lists.shared([1]);
  t.equal(lists.shared([1]), early);
});
