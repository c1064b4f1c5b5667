/** Blocks are shared by all sessions: no byte of one may reach another, whatever becomes of its socket. */
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { FrameWriter } from '../../../../src/hbone/http2/frame-writer.ts';
import { HeldSocket } from '../../../support/held-socket.ts';

const kib = 1024;
const chunkOf = (letter: string, bytes: number) => Buffer.alloc(bytes, letter);

/** One chunk written and on its way. */
async function underWay(letter: string, bytes = 100 * kib) {
  const socket = new HeldSocket();
  const writer = new FrameWriter(socket, () => {});
  writer.data(1, chunkOf(letter, bytes), 0, bytes);
  await turn();
  const [view] = socket.writes;
  if (view === undefined) throw new Error('nothing was written');
  return { socket, writer, view, before: Buffer.from(view) };
}

t.test('a block that was taken is lent again, and one under way is not', async (t) => {
  const first = await underWay('a');
  const second = await underWay('b');
  t.not(second.view.buffer, first.view.buffer);
  t.ok(first.before.equals(first.view), 'what is under way is as it was');
  first.socket.letGo();
  await turn();
  const third = await underWay('c');
  t.equal(third.view.buffer, first.view.buffer);
});

for (const [name, ends] of Object.entries({
  'a write that fails': ({ socket }: { socket: HeldSocket }) => socket.letGo(new Error('cut')),
  'a socket that is destroyed': ({ socket }: { socket: HeldSocket }) => socket.destroy(),
  'a session that stops, and then the write ends': ({
    socket,
    writer,
  }: {
    socket: HeldSocket;
    writer: FrameWriter;
  }) => {
    writer.stop();
    socket.letGo();
  },
  'a socket that is destroyed while it ends': ({ socket, writer }: { socket: HeldSocket; writer: FrameWriter }) => {
    writer.end();
    socket.destroy();
    socket.letGo(new Error('cut'));
  },
})) {
  t.test(`${name}: its block is lent to nobody`, async (t) => {
    const first = await underWay('a');
    // A full block behind it, and one that waits.
    for (const letter of ['b', 'c', 'd']) first.writer.data(1, chunkOf(letter, 200 * kib), 0, 200 * kib);
    await turn();
    ends(first);
    await turn();
    const others = [];
    for (let other = 0; other < 8; other++) others.push(await underWay('x', 250 * kib));
    t.ok(first.before.equals(first.view), 'its bytes are as they were');
    t.notOk(others.some(({ view }) => view.buffer === first.view.buffer));
    t.equal(new Set(others.map(({ view }) => view.buffer)).size, others.length, 'no two share one');
  });
}

t.test('without memory for a block the connection ends, and what is under way stays as it is', async (t) => {
  const first = await underWay('a', 200 * kib);
  const allocate = Buffer.allocUnsafeSlow;
  Buffer.allocUnsafeSlow = () => {
    throw new RangeError('Array buffer allocation failed');
  };
  t.teardown(() => {
    Buffer.allocUnsafeSlow = allocate;
  });
  // Blocks that others gave back would do.
  t.throws(() => {
    for (;;) new FrameWriter(new HeldSocket(), () => {}).data(1, chunkOf('y', 200 * kib), 0, 200 * kib);
  }, RangeError);
  t.throws(() => first.writer.data(1, chunkOf('b', 100 * kib), 0, 100 * kib), RangeError);
  Buffer.allocUnsafeSlow = allocate;
  first.writer.data(1, chunkOf('c', 100 * kib), 0, 100 * kib);
  await turn();
  t.ok(first.before.equals(first.view));
  t.ok(first.socket.destroyed);
});

t.test('what waits besides DATA is counted until the socket took it', async (t) => {
  const socket = new HeldSocket();
  const writer = new FrameWriter(socket, () => {});
  writer.frame(6, 1, 0, Buffer.alloc(8));
  writer.data(1, chunkOf('a', 1000), 0, 1000);
  writer.headers(3, Buffer.alloc(20), false, 16_384);
  t.equal(writer.controlBytes, 17 + 29);
  await turn();
  writer.frame(6, 1, 0, Buffer.alloc(8));
  t.equal(writer.controlBytes, 17 + 29 + 17);
  socket.letGo();
  await turn();
  t.equal(writer.controlBytes, 17);
  socket.letGo();
  await turn();
  t.equal(writer.controlBytes, 0);
});
