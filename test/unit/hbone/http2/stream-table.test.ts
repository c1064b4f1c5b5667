import fc from 'fast-check';
import t from 'tap';
import type { FramedStream } from '../../../../src/hbone/http2/stream.ts';
import { StreamTable } from '../../../../src/hbone/http2/stream-table.ts';

const streamOf = (id: number) => ({ id }) as FramedStream;
const ids = (streams: Iterable<FramedStream>) => [...streams].map(({ id }) => id).sort((a, b) => a - b);

/** Opens the number that lies so many further on, or ends the stream at that place of those that are open. */
const step = fc.oneof(fc.record({ opens: fc.integer({ min: 1, max: 40 }) }), fc.record({ ends: fc.nat(50) }));

t.test('it answers as a Map does, whatever comes and goes', async (t) => {
  // Sixteen places for a new table: with a stride of 16 everything wants the same one, until it grows.
  const strides = fc.constantFrom(1, 1, 16, 64);
  const firsts = fc.constantFrom(1, 2, 2 ** 30 + 1);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), strides, firsts, (steps, stride, first) => {
      const table = new StreamTable();
      const map = new Map<number, FramedStream>();
      let next = first;
      for (const one of steps) {
        if ('opens' in one) {
          const stream = streamOf(next);
          next += 2 * stride * one.opens;
          table.add(stream);
          map.set(stream.id, stream);
        } else {
          const id = [...map.keys()][one.ends] ?? next;
          if (table.delete(id) !== map.delete(id) || table.delete(id)) return false;
        }
        if (table.size !== map.size || table.get(next) !== undefined) return false;
        for (const [id, stream] of map) if (table.get(id) !== stream) return false;
      }
      t.same(ids(table.all()), ids(map.values()));
      table.clear();
      return table.size === 0 && table.all().length === 0 && table.get(first) === undefined;
    }),
    { numRuns: 500 },
  );
});

t.test('a number that is not there is not deleted', async (t) => {
  const table = new StreamTable();
  t.equal(table.delete(1), false);
  table.add(streamOf(1));
  t.equal(table.delete(33), false);
  t.equal(table.delete(1), true);
  t.equal(table.size, 0);
});
