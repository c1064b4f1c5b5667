/** What a socket has not taken yet: in order, and held in little more than its bytes. */
import t from 'tap';
import { WriteQueue } from '../../../src/net/write-queue.ts';

const kib = 1024;

function heldBytes(queue: WriteQueue): number {
  return [...new Set(queue.chunks.map(({ buffer }) => buffer))].reduce((sum, { byteLength }) => sum + byteLength, 0);
}

t.test('what is added leaves in order, however it is cut', async (t) => {
  const queue = new WriteQueue();
  const added: Buffer[] = [];
  const left: Buffer[] = [];
  for (let round = 0; round < 3000; round++) {
    const chunk = Buffer.alloc([1, 700, 4095, 4096, 16_384][(round * 7) % 5] as number, round % 251);
    added.push(Buffer.from(chunk));
    const mayKeep = round % 3 === 0;
    queue.add(chunk, mayKeep);
    if (!mayKeep) chunk.fill(0xff);
    if (round % 4 !== 0) continue;
    const all = Buffer.concat(queue.chunks);
    t.equal(all.length, queue.bytes);
    const sent = round % 100 === 0 ? all.length : Math.min(all.length, (round * 97) % 30_000);
    left.push(all.subarray(0, sent));
    queue.sent(sent);
  }
  left.push(Buffer.concat(queue.chunks));
  queue.sent(queue.bytes);
  t.equal(queue.bytes, 0);
  t.same(queue.chunks, []);
  t.ok(Buffer.concat(left).equals(Buffer.concat(added)));
});

t.test('a quarter of a mebibyte in single bytes, each of a read of its own, costs hardly more than that', async (t) => {
  const queue = new WriteQueue();
  for (let count = 256 * kib; count > 0; count--) {
    queue.add(Buffer.allocUnsafeSlow(64).subarray(count % 64, (count % 64) + 1), true);
  }
  t.equal(queue.bytes, 256 * kib);
  t.ok(queue.chunks.length <= 32, `${queue.chunks.length} chunks`);
  t.ok(heldBytes(queue) <= 320 * kib, `${heldBytes(queue)} bytes`);
});

t.test('a large chunk stays as it is when it may, and nothing of what was cleared is held', async (t) => {
  const queue = new WriteQueue();
  const chunk = Buffer.alloc(16 * kib);
  queue.add(Buffer.from('small'), true);
  queue.add(chunk, true);
  queue.add(chunk, false);
  queue.add(Buffer.from('small'), true);
  t.equal(queue.chunks[1], chunk);
  t.not(queue.chunks[2], chunk);
  t.equal(queue.chunks.length, 4);
  queue.clear();
  t.same([queue.bytes, queue.chunks], [0, []]);
  queue.add(Buffer.from('again'), true);
  t.equal(String(queue.chunks[0]), 'again');
});
