/** Sockets whose reader is told at once: every byte once and in order, whether it takes them or waits. */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import type { PlainSocket } from '../../../src/net/plain-socket.ts';
import { dial } from '../../../src/net/socket-factory.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import { readAtOnce } from '../../../src/upstream/read-at-once.ts';
import { eventually, within } from '../../support/eventually.ts';

async function pair(t: Test): Promise<{ readonly ours: Socket; readonly theirs: Socket }> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const [outcome, [theirs]] = await Promise.all([
    dial({ ip: '127.0.0.1', port }, plainSocket, systemClock),
    once(server, 'connection') as Promise<[Socket]>,
  ]);
  if (outcome.kind === 'failed') throw outcome.error;
  const ours = outcome.socket;
  readAtOnce(ours as PlainSocket);
  t.teardown(() => {
    ours.destroy();
    theirs.destroy();
    server.close();
  });
  return { ours, theirs };
}

/** As undici: all there is, until there is none, unless it has paused. */
function reader(socket: Socket) {
  const chunks: Buffer[] = [];
  const state = { paused: false, kept: 0 };
  const readMore = () => {
    state.kept = Math.max(state.kept, socket.readableLength);
    while (!state.paused) {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) break;
      chunks.push(chunk);
    }
  };
  socket.on('readable', readMore);
  return { chunks, state, readMore };
}

t.test('a reader who takes all is told before anything is kept, and hears of the end', async (t) => {
  const { ours, theirs } = await pair(t);
  const { chunks, state } = reader(ours);
  const text = Buffer.alloc(3_000_000, 'all of it, ');
  theirs.end(text);
  await within('the end', once(ours, 'end'));
  t.ok(Buffer.concat(chunks).equals(text));
  t.equal(state.kept, 0);
});

t.test('a reader who pauses, again and again, misses nothing, and stops the sender', async (t) => {
  const { ours, theirs } = await pair(t);
  const { chunks, state, readMore } = reader(ours);
  const text = Buffer.from(
    Array.from({ length: 200_000 }, (_, i) => `${i}\n`)
      .join('')
      .repeat(8),
  );
  state.paused = true;
  theirs.end(text);
  await eventually('as much as is kept', () => ours.readableLength >= ours.readableHighWaterMark);
  t.ok(ours.readableLength <= ours.readableHighWaterMark + 64 * 1024);
  t.not(theirs.writableLength, 0);
  let turns = 0;
  const turn = () => {
    state.paused = ++turns % 3 === 0;
    readMore();
    if (!ours.readableEnded) setImmediate(turn);
  };
  turn();
  await within('the end', once(ours, 'end'));
  t.ok(Buffer.concat(chunks).equals(text));
});
