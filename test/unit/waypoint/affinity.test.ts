/** What is found in a request to be hashed. */
import t from 'tap';
import { cookieValue, queryValue } from '../../../src/waypoint/affinity.ts';

t.test('a cookie is found among others, bare or quoted; an empty one is none', async (t) => {
  const of = (...lines: string[]) =>
    cookieValue(
      lines.flatMap((line) => ['Cookie', line]),
      'stick',
    );
  t.equal(of('stick=a'), 'a');
  t.equal(of('other=1; stick=a; last=2'), 'a');
  t.equal(of('other=1', 'x=2;stick="a b"'), 'a b');
  t.equal(of('sticky=1; xstick=2'), undefined);
  t.equal(of('stick=; stick=b'), 'b');
  t.equal(of('stick'), undefined);
  t.equal(of('a;stick=b=c'), 'b=c');
  t.equal(of(''), undefined);
  t.equal(of(';;;;=;stick=z'), 'z');
  t.equal(of('stick="'), '"');
  t.equal(cookieValue([], 'stick'), undefined);
});

t.test('a query parameter is taken as it is written, the first one', async (t) => {
  const of = (query: string) => queryValue(query, 'id');
  t.equal(of('?id=7'), '7');
  t.equal(of('?a=1&id=%20x&id=8'), '%20x');
  t.equal(of('?id'), '');
  t.equal(of('?id=&a'), '');
  t.equal(of('?xid=1&idx=2'), undefined);
  t.equal(of(''), undefined);
  t.equal(of('?'), undefined);
  t.equal(of('?&&id=1'), '1');
  t.equal(of('?a=id=3'), undefined);
});
