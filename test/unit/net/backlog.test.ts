/** What waits for somebody: in order, and no more of it than has not been taken. */
import t from 'tap';
import { Backlog } from '../../../src/net/backlog.ts';

const kib = 1024;

t.test('what was added comes back in order, however it is cut and taken', async (t) => {
  const backlog = new Backlog();
  const added: Buffer[] = [];
  const taken: Buffer[] = [];
  for (let round = 0; round < 3000; round++) {
    const chunk = Buffer.alloc([1, 700, 2048, 5000, 16_384, 70_000][round % 6] as number, round % 251);
    added.push(chunk);
    backlog.add(chunk);
    // Now and then all of it, mostly a part, in one way or the other.
    for (let most = round % 97 === 0 ? 1000 : round % 3; most > 0 && backlog.bytes > 0; most--) {
      if (most % 2 === 0) backlog.give((lent) => taken.push(Buffer.from(lent)));
      else {
        const first = backlog.first() as Uint8Array;
        const part = Math.ceil(first.length / (1 + (round % 4)));
        taken.push(Buffer.from(first.subarray(0, part)));
        backlog.consume(part);
      }
    }
  }
  while (backlog.give((lent) => taken.push(Buffer.from(lent))));
  t.equal(backlog.bytes, 0);
  t.equal(backlog.first(), undefined);
  t.ok(Buffer.concat(taken).equals(Buffer.concat(added)));
});

t.test('what is lent stays as it is while more is added, given and dropped', async (t) => {
  const backlog = new Backlog();
  const other = new Backlog();
  backlog.add(Buffer.alloc(200 * kib, 'a'));
  while (backlog.bytes > 64 * kib) backlog.give(() => {});
  backlog.give((lent) => {
    const { length } = lent;
    backlog.add(Buffer.alloc(200 * kib, 'b'));
    other.add(Buffer.alloc(200 * kib, 'c'));
    backlog.give(() => {});
    other.drop();
    other.add(Buffer.alloc(200 * kib, 'd'));
    backlog.drop();
    other.add(Buffer.alloc(300 * kib, 'e'));
    t.ok(Buffer.from(lent).equals(Buffer.alloc(length, 'a')));
  });
  t.equal(backlog.bytes, 0);
  t.equal(other.bytes, 500 * kib);
});

t.test('a block is as large as what waits, at least 512 bytes and at most 64 KiB', async (t) => {
  const held = (lengths: readonly number[]) => {
    const backlog = new Backlog();
    for (const length of lengths) backlog.add(Buffer.alloc(length));
    const sizes: number[] = [];
    while (backlog.give((lent) => sizes.push(lent.buffer.byteLength)));
    return sizes;
  };
  t.same(held([1]), [512]);
  t.same(held([3000]), [3000]);
  t.same(held(Array.from({ length: 2000 }, () => 1)), [512, 512, 1024]);
  t.same(held([100 * kib, 1]), [64 * kib, 64 * kib]);
});
