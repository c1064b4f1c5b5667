/** What is read line by line: programs’ output, whatever the chunks, and the kernel’s socket table. */
import fc from 'fast-check';
import t from 'tap';
import { LineCutter } from '../../../src/lab/lines.ts';
import { listeningPorts } from '../../../src/lab/listening.ts';

t.test('lines do not depend on how the bytes arrive', async () => {
  const text = fc
    .array(fc.string({ unit: 'grapheme' }).map((line) => line.replaceAll('\n', '')))
    .map((l) => l.join('\n'));
  fc.assert(
    fc.property(text, fc.integer({ min: 1, max: 7 }), (whole, size) => {
      const expected = whole === '' ? [] : whole.split('\n');
      if (expected.at(-1) === '') expected.pop();
      const bytes = Buffer.from(whole);
      const lines: string[] = [];
      const cutter = new LineCutter((line) => lines.push(line));
      for (let at = 0; at < bytes.length; at += size) cutter.push(bytes.subarray(at, at + size));
      cutter.finish();
      return JSON.stringify(lines) === JSON.stringify(expected);
    }),
  );
});

t.test('a line without end is cut, not kept for ever', async (t) => {
  const lengths: number[] = [];
  const cutter = new LineCutter((line) => lengths.push(line.length));
  for (let i = 0; i < 5; i++) cutter.push(Buffer.alloc(40_000, 'x'));
  t.same(lengths, [65_536, 65_536, 65_536]);
});

t.test('listening ports are read from the kernel’s table, other states are not', async (t) => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue
   0: 0100007F:3A99 00000000:0000 0A 00000000:00000000
   1: 0401F40A:9C40 0502F40A:2378 01 00000000:00000000
   0: 00000000000000000000000000000000:3AAD 00000000000000000000000000000000:0000 0A 00000000:00000000`;
  t.same([...listeningPorts(table)], [15001, 15021]);
});
