/** What a session holds for a peer that does not read, and how it ends with one: without a network, so that nothing is in its buffers. */
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { collectGarbage } from '../../../../src/base/garbage.ts';
import type { ServedStream } from '../../../../src/hbone/http2/engine.ts';
import {
  ack,
  connectTo,
  data,
  endStream,
  frame,
  frameType,
  goAway,
  ping,
  reset,
} from '../../../support/http2-frames.ts';
import { served } from '../../../support/served-session.ts';

t.test('refusals that the client does not read end its session', async (t) => {
  const { socket, clock, told, session } = await served((stream) => stream.respond(403, [], true));
  let id = 1;
  for (; id < 200_000 && !session.destroyed; id += 2) socket.comes(connectTo(id, 'no:403'));
  await turn();
  t.ok(session.destroyed);
  t.match(told, [/ENHANCE_YOUR_CALM/]);
  t.ok(socket.writableLength < 1024 * 1024, `${socket.writableLength} bytes wait`);
  t.ok(id > 10_000, `${id / 2} refusals are not many`);
  clock.advance(1000);
  await turn();
  t.ok(socket.destroyed);
  t.equal(told.at(-1), 'closed');
});

t.test('a client that reads may be refused as often as it likes', async (t) => {
  const { socket, told, session } = await served((stream) => stream.respond(403, [], true), false);
  for (let id = 1; id < 100_000 && !session.destroyed; id += 2) {
    socket.comes(connectTo(id, 'no:403'));
    if (id % 1001 === 0) await turn();
  }
  t.notOk(session.destroyed, `${told}`);
});

t.test('GOAWAY again and again ends the session', async (t) => {
  const { socket, told, session } = await served((stream) => stream.respond(200, [], false));
  socket.comes(connectTo(1, 'a:1'));
  for (let i = 0; i < 20_000 && !session.destroyed; i++) socket.comes(goAway(0));
  await turn();
  t.ok(session.destroyed);
  t.match(told, [/ENHANCE_YOUR_CALM/]);
});

t.test('streams that waited for the connection’s window are held no more when they were reset', async (t) => {
  const streams: WeakRef<ServedStream['end']>[] = [];
  const { socket, session } = await served((stream) => {
    stream.respond(200, [], false);
    // The first takes the whole window, the others wait.
    stream.end.write(Buffer.alloc(streams.length === 0 ? 65_535 : 1));
    streams.push(new WeakRef(stream.end));
  }, false);
  for (let id = 1; id < 801; id += 2)
    socket.comes(connectTo(id, 'a:1'), id === 1 ? Buffer.alloc(0) : reset(id, 'CANCEL'));
  await turn();
  await turn();
  collectGarbage({ type: 'major', execution: 'sync' });
  t.notOk(session.destroyed);
  t.ok(streams.filter((one) => one.deref() !== undefined).length < 5, 'the first alone, and what the last turn holds');
});

t.test('a client that ends its side and takes nothing is let go', async (t) => {
  const { socket, clock, told } = await served((stream) => {
    stream.respond(200, [], false);
    stream.end.write(Buffer.alloc(60_000));
  });
  socket.comes(connectTo(1, 'a:1'));
  await turn();
  socket.push(null);
  await turn();
  await turn();
  t.notOk(socket.destroyed, 'it may still read');
  clock.advance(1000);
  await turn();
  t.ok(socket.destroyed);
  t.same(told, ['closed']);
});

t.test('what was written when the client ended its side still leaves, in whole frames', async (t) => {
  const { socket } = await served((stream) => {
    stream.respond(200, [], false);
    stream.end.write(Buffer.from('late'));
  }, false);
  await turn();
  socket.comes(connectTo(1, 'a:1'));
  socket.push(null);
  await turn();
  await turn();
  const { frames, heldBytes } = socket.frames();
  t.ok(frames.some(({ type, payload }) => type === frameType.data && payload.toString() === 'late'));
  t.equal(heldBytes, 0);
});

/** Reads nothing until it is told to, and notes what it hears. */
function slowReader({ end }: ServedStream) {
  const heard: string[] = [];
  end.start({
    data: (chunk) => heard.push(Buffer.from(chunk).toString()),
    end: () => heard.push('end'),
    drain: () => heard.push('drain'),
    closed: () => heard.push('closed'),
    broken: (_error, whole) => heard.push(`broken ${whole}`),
  });
  end.pause();
  return { end, heard };
}

const stopsListening = (id: number) =>
  Buffer.concat([connectTo(id, 'a:1'), data(id, 'all', endStream), reset(id, 'NO_ERROR')]);

t.test('streams whose client stopped listening count until they were read, and are handed on whole', async (t) => {
  const readers: ReturnType<typeof slowReader>[] = [];
  const { socket, session } = await served((stream) => {
    stream.respond(200, [], false);
    readers.push(slowReader(stream));
  }, false);
  for (let id = 1; id < 601; id += 2) socket.comes(stopsListening(id));
  await turn();
  t.equal(readers.length, 200);
  for (const { end } of readers) end.resume();
  await turn();
  t.ok(
    readers.every(({ heard }) => heard.join(', ') === 'all, end, broken true'),
    `${readers[0]?.heard.join(', ')}`,
  );
  for (let id = 601; id < 701; id += 2) socket.comes(stopsListening(id));
  await turn();
  t.equal(readers.length, 250, 'their places are free');
  socket.push(null);
  await turn();
  await turn();
  t.ok(session.destroyed);
  for (const { end } of readers.slice(200)) end.resume();
  await turn();
  t.ok(
    readers.every(({ heard }) => heard.join(', ') === 'all, end, broken true'),
    'also when the connection has ended',
  );
});

t.test('who waits to write to a client that stopped listening may go on, before anything is read', async (t) => {
  const readers: ReturnType<typeof slowReader>[] = [];
  const { socket } = await served((stream) => {
    stream.respond(200, [], false);
    readers.push(slowReader(stream));
    t.notOk(stream.end.write(Buffer.alloc(100_000)), 'more than the window');
  }, false);
  socket.comes(stopsListening(1));
  await turn();
  t.same(readers[0]?.heard, ['drain']);
  readers[0]?.end.resume();
  await turn();
  t.same(readers[0]?.heard, ['drain', 'all', 'end', 'broken true']);
});

t.test('a PING is answered only by who has read it', async (t) => {
  const { socket, session } = await served(() => {}, false);
  let answers = 0;
  session.ping(() => answers++);
  socket.comes(ping('\0'.repeat(8), ack), ping('forged', ack));
  await turn();
  t.equal(answers, 0);
  const sent = socket.frames().frames;
  const asked = sent.find(({ type, flags }) => type === frameType.ping && flags === 0);
  socket.comes(frame(frameType.ping, ack, 0, asked?.payload));
  t.equal(answers, 1);
  t.notOk(session.destroyed);
});

t.test('what a client sent and gave up before its answer is held for nobody', async (t) => {
  const ends: ServedStream['end'][] = [];
  const { socket } = await served(({ end }) => ends.push(end), false);
  for (let id = 1; id < 21; id += 2) socket.comes(stopsListening(id));
  await turn();
  t.equal(ends.length, 10);
  t.ok(ends.every(({ heldBytes }) => heldBytes === 0));
});
