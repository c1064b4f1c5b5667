/** Values found again by their bytes, within a limit. */
import fc from 'fast-check';
import t from 'tap';
import { ByteTable } from '../../../src/base/byte-table.ts';

t.test('answers like a map, by bytes and by text, while nothing is forgotten', async (t) => {
  const key = fc.uint8Array({ maxLength: 4 });
  fc.assert(
    fc.property(fc.array(fc.tuple(key, fc.boolean(), fc.boolean()), { maxLength: 300 }), (steps) => {
      const table = new ByteTable<number>(1000);
      const model = new Map<string, number>();
      for (const [i, [bytes, write, asText]] of steps.entries()) {
        const padded = Buffer.from([9, ...bytes, 9]);
        const text = Buffer.from(bytes).toString('latin1');
        if (write) {
          model.set(text, i);
          if (asText) table.setText(text, i);
          else table.set(padded, 1, padded.length - 1, i);
        }
        t.equal(asText ? table.getText(text) : table.get(padded, 1, padded.length - 1), model.get(text));
        t.equal(table.size, model.size);
      }
    }),
    { numRuns: 100 },
  );
});

t.test('what is asked for stays, what is not is forgotten, and the limit holds', async (t) => {
  const table = new ByteTable<number>(100);
  const hot = Buffer.from('hot');
  table.set(hot, 0, 3, 1);
  for (let i = 0; i < 1000; i++) {
    table.setText(`cold-${i}`, i);
    t.equal(table.get(hot, 0, 3), 1);
    t.ok(table.size <= 200);
  }
  t.equal(table.getText('cold-0'), undefined);
  t.equal(table.getText('cold-999'), 999);
});
