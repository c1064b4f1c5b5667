/** What a provider may change of a message, and what it may not. */
import fc from 'fast-check';
import t from 'tap';
import {
  applyOperations,
  changedQuery,
  type HeaderOperation,
  isHeader,
  isProvidersMatter,
  withoutNames,
} from '../../../../src/waypoint/ext-authz/decision.ts';

const headers = ['Host-Like', 'a', 'X-One', '1', 'x-two', '2', 'x-one', '3'];
const operation = (name: string, action: HeaderOperation['action']) =>
  applyOperations(headers, [{ name, value: 'new', action }]);

t.test('headers are set, added and joined, by names in any case', async (t) => {
  t.same(operation('x-one', 'set'), ['Host-Like', 'a', 'X-One', 'new', 'x-two', '2']);
  t.same(operation('x-two', 'add'), [...headers, 'x-two', 'new']);
  t.same(operation('x-one', 'append-to-existing'), ['Host-Like', 'a', 'X-One', '1,3,new', 'x-two', '2']);
  t.same(operation('x-new', 'append-to-existing'), headers);
  t.same(operation('x-new', 'add-if-absent'), [...headers, 'x-new', 'new']);
  t.same(operation('x-two', 'add-if-absent'), headers);
  t.same(operation('x-new', 'set-if-present'), headers);
  t.same(withoutNames(headers, ['x-one']), ['Host-Like', 'a', 'x-two', '2']);
});

t.test('what frames or addresses a message is nobody’s to change', async (t) => {
  for (const name of [':path', 'host', 'content-length', 'transfer-encoding', 'connection', 'te', 'upgrade']) {
    t.equal(isProvidersMatter(name), false, name);
  }
  t.equal(isProvidersMatter('authorization'), true);
  t.equal(isHeader('x-a', 'b\r\nx-evil: 1'), false);
  t.equal(isHeader('x a', 'b'), false);
  t.equal(isHeader('', 'b'), false);
  t.equal(isHeader('x-a', '\u0100'), false);
  t.equal(isHeader('x-a', 'caf\u00e9'), true);
});

t.test('the query', async (t) => {
  t.equal(changedQuery('?a=1&b=%2F&a=2', [], []), '?a=1&b=%2F&a=2');
  t.equal(changedQuery('?a=1&b=%2F&a=2', [], ['a']), '?b=%2F');
  t.equal(changedQuery('?a=1', [], ['a']), '');
  t.equal(changedQuery('', [['a', 'x&y=z']], []), '?a=x%26y%3Dz');
  t.equal(changedQuery('?%61=1&b', [['a', '2']], []), '?b&a=2');
  t.equal(changedQuery('?%zz=1', [], ['%zz']), '');
});

t.test('a parameter that was set reads back, and no other changes', async () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 10 }).filter((one) => one.isWellFormed());
  fc.assert(
    fc.property(fc.dictionary(text, text), text, text, (before, name, value) => {
      const query = `?${new URLSearchParams(before)}`;
      const after = new URLSearchParams(changedQuery(query, [[name, value]], []));
      const others = Object.entries(before).filter(([key]) => key !== name);
      return after.get(name) === value && others.every(([key, text]) => after.get(key) === text);
    }),
  );
});
