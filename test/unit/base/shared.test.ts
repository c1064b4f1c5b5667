import t from 'tap';
import { Shared } from '../../../src/base/shared.ts';

t.test('what was said before is the same value', async (t) => {
  const shared = new Shared<readonly number[]>({ most: 8, longest: 4 });
  const first = shared.of('1/2', [1, 2]);
  t.equal(shared.of('1/2', [1, 2]), first);
  t.equal(shared.get('1/2'), first);
  t.not(shared.of('1/3', [1, 3]), first);
  t.equal(shared.get('1/4'), undefined);
});

t.test('it grows neither in number nor by long texts', async (t) => {
  const shared = new Shared<object>({ most: 2, longest: 4 });
  const long = {};
  t.equal(shared.of('12345', long), long);
  t.equal(shared.get('12345'), undefined, 'too long');
  const first = shared.of('a', {});
  shared.of('b', {});
  t.equal(shared.get('a'), first);
  const third = shared.of('c', {});
  t.equal(shared.get('a'), undefined, 'forgotten when there was no more room');
  t.equal(shared.get('c'), third);
});
