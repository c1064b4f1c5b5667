/** What is kept of a stream: in order, and no more of it than has not been taken. */
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { collectGarbage } from '../../../../src/base/garbage.ts';
import { KeptBytes } from '../../../../src/hbone/http2/kept-bytes.ts';

const kib = 1024;

t.test('what was added comes back in order, however it is cut', async (t) => {
  const kept = new KeptBytes();
  const added: Buffer[] = [];
  const taken: Uint8Array[] = [];
  for (let round = 0; round < 3000; round++) {
    const chunk = Buffer.alloc([1, 700, 2048, 5000, 16_384][round % 5] as number, round % 251);
    added.push(chunk);
    kept.add(chunk);
    // Now and then all of it, mostly a part.
    for (let most = round % 97 === 0 ? 1000 : round % 3; most > 0; most--) {
      const chunk = kept.take();
      if (chunk === undefined) break;
      taken.push(chunk);
    }
  }
  for (let chunk = kept.take(); chunk !== undefined; chunk = kept.take()) taken.push(chunk);
  t.equal(kept.bytes, 0);
  t.ok(Buffer.concat(taken).equals(Buffer.concat(added)));
});

t.test('what was taken is not held, also when there is always something left', async (t) => {
  const kept = new KeptBytes();
  const taken: WeakRef<ArrayBufferLike>[] = [];
  const lag = 4;
  for (let round = 0; round < 4000; round++) {
    kept.add(Buffer.allocUnsafeSlow(16 * kib));
    if (round < lag) continue;
    const chunk = kept.take() as Uint8Array;
    if (round % 100 === 0) taken.push(new WeakRef(chunk.buffer));
  }
  await turn();
  collectGarbage({ type: 'major', execution: 'sync' });
  await turn();
  t.equal(kept.bytes, lag * 16 * kib);
  t.same(taken.filter((one) => one.deref() !== undefined).length, 0, 'none of those taken is reachable');
});

t.test('a chunk that is a small part of what it was read with is copied', async (t) => {
  const record = Buffer.allocUnsafeSlow(16 * kib).fill('x');
  const kept = new KeptBytes();
  for (const from of [0, 9000]) kept.add(record.subarray(from, from + 3000));
  const held = [kept.take(), kept.take()].map((chunk) => chunk?.buffer.byteLength ?? 0);
  t.ok(
    held.every((bytes) => bytes < 4 * kib),
    `${held}`,
  );
  kept.add(record.subarray(0, 12 * kib));
  t.equal(kept.take()?.buffer, record.buffer, 'most of it is kept as it is');
});
