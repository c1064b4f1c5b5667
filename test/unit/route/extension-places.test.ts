/** Places of a waypoint for extensions, shared by namespaces. */
import fc from 'fast-check';
import t from 'tap';
import type { ExtensionRecord } from '../../../src/route/extension.ts';
import { extensionName } from '../../../src/route/extension.ts';
import { placeExtensions } from '../../../src/route/extension-places.ts';
import { extensionRecord } from '../../support/extension-record.ts';

function record(namespace: string, name: string): ExtensionRecord {
  return extensionRecord({ source: { kind: 'Extension', namespace, name } });
}

function many(namespace: string, count: number): ExtensionRecord[] {
  return Array.from({ length: count }, (_, i) => record(namespace, `e${i}`));
}

t.test('one namespace with very many leaves the others theirs', async (t) => {
  const { placed, without } = placeExtensions([...many('a', 40), ...many('b', 2), ...many('c', 1)]);
  t.equal(placed.length, 32);
  t.same(
    placed.slice(-3).map(extensionName),
    ['b/e0', 'b/e1', 'c/e0'],
    'those that come last in order have their places',
  );
  t.same(without.map(extensionName), many('a', 40).slice(29).map(extensionName), 'the first of the many run');
});

t.test('alone, a namespace may have all of them', async (t) => {
  const all = many('a', 32);
  t.equal(placeExtensions(all).placed, all);
  t.equal(placeExtensions(many('a', 33)).without.length, 1);
});

t.test('whatever the others do, a namespace has its part; no place stays empty', async () => {
  const counts = fc.array(fc.nat(12), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(counts, fc.integer({ min: 1, max: 20 }), (sizes, places) => {
      const records = sizes.flatMap((size, i) => many(`n${i}`, size));
      const { placed, without } = placeExtensions(records, places);
      const namespaces = sizes.filter((size) => size > 0).length;
      const part = Math.floor(places / Math.max(1, namespaces));
      const served = sizes.every((size, i) => {
        const own = placed.filter(({ source }) => source.namespace === `n${i}`).length;
        return own >= Math.min(size, part);
      });
      return (
        served &&
        placed.length === Math.min(places, records.length) &&
        placed.length + without.length === records.length
      );
    }),
  );
});
