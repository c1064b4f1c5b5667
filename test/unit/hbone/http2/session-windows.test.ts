/** How wide a session lets each stream's window be: by how far its peer is. */
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { defaultRelayOptions } from '../../../../src/hbone/options.ts';
import type { HeldSocket } from '../../../support/held-socket.ts';
import { ack, connectTo, data, frame, frameType } from '../../../support/http2-frames.ts';
import { served } from '../../../support/served-session.ts';

const mebibyte = 1024 * 1024;
const acknowledgement = frame(frameType.settings, ack, 0);

/** INITIAL_WINDOW_SIZE (§6.5.2) of each SETTINGS that were sent. */
function toldWindows(socket: HeldSocket): readonly number[] {
  return socket
    .frames()
    .frames.filter(({ type, payload }) => type === frameType.settings && payload.length > 0)
    .map(({ payload }) => {
      let at = 0;
      while (payload.readUInt16BE(at) !== 4) at += 6;
      return payload.readUInt32BE(at + 2);
    });
}

async function acknowledgedAfter(ms: number) {
  const { socket, clock, told } = await served((stream) => stream.respond(200, [], false), false);
  socket.comes(connectTo(1, 'a:1'));
  clock.advance(ms);
  socket.comes(acknowledgement);
  await turn();
  // Nobody reads it.
  const fill = (bytes: number) => {
    for (let left = bytes; left > 0; left -= 16_384) socket.comes(data(1, Buffer.alloc(Math.min(left, 16_384))));
  };
  return { socket, told, fill };
}

t.test('a peer near by may send a mebibyte ahead, and no more', async (t) => {
  const { socket, told, fill } = await acknowledgedAfter(1);
  t.same(toldWindows(socket), [mebibyte]);
  fill(mebibyte + 1);
  await turn();
  const { frames } = socket.frames();
  t.ok(
    frames.some(({ type, id }) => type === frameType.reset && id === 1),
    'beyond it the stream ends',
  );
  t.same(told, []);
});

t.test('one that is far may send as much as is configured, on streams that stand as well', async (t) => {
  const { socket, told, fill } = await acknowledgedAfter(50);
  t.same(toldWindows(socket), [mebibyte, defaultRelayOptions.streamWindowBytes]);
  fill(defaultRelayOptions.streamWindowBytes);
  await turn();
  const { frames } = socket.frames();
  t.notOk(frames.some(({ type }) => type === frameType.reset));
  t.same(told, []);
});

t.test('later answers change nothing', async (t) => {
  const { socket } = await acknowledgedAfter(1);
  socket.comes(acknowledgement);
  await turn();
  t.same(toldWindows(socket), [mebibyte]);
});
