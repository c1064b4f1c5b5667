/** Connections handed over a channel: they arrive whole, in order of their listeners, and a receiver that waits fills it. */
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { Acceptor } from '../../../src/net/acceptor.ts';
import { createHandOverChannel, HandOverReceiver, handOver } from '../../../src/net/hand-over.ts';
import { boundDescriptor, startListening } from '../../../src/net/listener.ts';
import { nativeSockets } from '../../../src/net/native-sockets.ts';
import { eventually, within } from '../../support/eventually.ts';

const spec = {
  ip: '127.0.0.1',
  port: 0,
  transparent: false,
  mark: undefined,
  namespace: undefined,
  reusePort: false,
  redirected: false,
};

/** A listener whose connections are kept as descriptors. */
function acceptAll(t: { teardown(callback: () => unknown): void }) {
  const fd = startListening(boundDescriptor(spec));
  const taken: number[] = [];
  const acceptor = new Acceptor(fd, {
    clock: systemClock,
    onDescriptor: (connection) => void taken.push(connection),
    onAcceptError: (error) => {
      throw error;
    },
  });
  t.teardown(() => acceptor.destroy());
  return { taken, port: nativeSockets().localAddress(fd).port };
}

t.test('a connection is the receiver’s from then on, and counted until it ends', async (t) => {
  const { taken, port } = acceptAll(t);
  const { near, far } = createHandOverChannel();
  t.teardown(() => nativeSockets().closeFd(near));
  const receiver = new HandOverReceiver(far, systemClock);
  const got: (readonly [number, Socket])[] = [];
  const listen = (number: number) =>
    receiver.listen(spec, { clock: systemClock, onSocket: (socket) => void got.push([number, socket]) });
  await listen(0);
  const second = await listen(1);
  const client = connect(port, '127.0.0.1');
  client.write('hello');
  await eventually('it to be accepted', () => taken.length === 1);
  t.equal(handOver(near, taken[0] as number, 1), 'sent');
  const [number, socket] = await eventually('it to arrive', () => got[0]);
  t.equal(number, 1, 'at the listener it came to');
  t.equal(receiver.closed, 0);
  socket.end('world');
  t.equal(await within('the answer', text(client)), 'world');
  socket.destroy();
  await eventually('its end to be counted', () => receiver.closed === 1);
  await second.close();
});

t.test('closing takes what is on its way, and ends the channel', async (t) => {
  const { taken, port } = acceptAll(t);
  const { near, far } = createHandOverChannel();
  t.teardown(() => nativeSockets().closeFd(near));
  const receiver = new HandOverReceiver(far, systemClock);
  const got: Socket[] = [];
  const listening = await receiver.listen(spec, { clock: systemClock, onSocket: (socket) => void got.push(socket) });
  connect(port, '127.0.0.1').on('error', () => {});
  await eventually('it to be accepted', () => taken.length === 1);
  handOver(near, taken[0] as number, 0);
  await listening.close();
  t.equal(got.length, 1);
  got[0]?.destroy();
  connect(port, '127.0.0.1').on('error', () => {});
  const other = await eventually('another', () => taken[1]);
  t.equal(handOver(near, other, 0), 'gone');
  nativeSockets().closeFd(other);
});

t.test('a receiver whose gate waits takes nothing, until the channel is full', async (t) => {
  const { taken, port } = acceptAll(t);
  const { near, far } = createHandOverChannel();
  t.teardown(() => nativeSockets().closeFd(near));
  const receiver = new HandOverReceiver(far, systemClock);
  let waitMs = 1;
  const got: Socket[] = [];
  const gate = { waitMs: () => waitMs };
  const hooks = { clock: systemClock, gate, onSocket: (socket: Socket) => void got.push(socket) };
  const listening = await receiver.listen(spec, hooks);
  connect(port, '127.0.0.1').on('error', () => {});
  const connection = await eventually('it to be accepted', () => taken[0]);
  let sent = 0;
  let outcome: ReturnType<typeof handOver> = 'sent';
  while (outcome === 'sent' && sent < 5000) {
    const copy = nativeSockets().dupFd(connection);
    outcome = handOver(near, copy, 0);
    if (outcome === 'sent') sent++;
    else nativeSockets().closeFd(copy);
  }
  t.equal(outcome, 'full');
  t.equal(got.length, 0);
  waitMs = 0;
  await eventually('all of them to be taken', () => got.length === sent);
  for (const socket of got) socket.destroy();
  nativeSockets().closeFd(connection);
  listening.destroy();
});
