/** Several addresses: the first that answers is used, one that is silent holds nobody up. */
import { createServer } from 'node:net';
import t, { type Test } from 'tap';
import type { SocketAddress } from '../../../src/base/address.ts';
import { Cancellation } from '../../../src/base/cancellation.ts';
import { dialFirst, staggerMs } from '../../../src/net/dial-first.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import { deafListener } from '../../support/deaf-listener.ts';
import { within } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';

async function listener(t: Test): Promise<SocketAddress> {
  const server = createServer((socket) => socket.on('error', () => {}));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return { ip: '127.0.0.1', port: (server.address() as { port: number }).port };
}

async function dead(t: Test): Promise<SocketAddress> {
  const address = await listener(t);
  return { ...address, ip: '127.0.0.77' };
}

t.test('an address that refuses is followed by the next at once', async (t) => {
  const live = await listener(t);
  const outcome = await within('a socket', dialFirst([await dead(t), live], plainSocket, new FakeClock()));
  if (outcome.kind !== 'connected') throw outcome.error;
  t.same(outcome.peer, live);
  outcome.socket.destroy();
});

t.test('one that is silent is followed after a while, and its socket is given up', async (t) => {
  const clock = new FakeClock();
  const [deaf, live] = [await deafListener(t), await listener(t)];
  const dialling = dialFirst([deaf, live], plainSocket, clock);
  clock.advance(staggerMs);
  const outcome = await within('a socket', dialling);
  if (outcome.kind !== 'connected') throw outcome.error;
  t.same(outcome.peer, live);
  t.equal(clock.pending, 0, 'no timer is left');
  outcome.socket.destroy();
});

t.test('all of them have one deadline; who asked may give up', async (t) => {
  const clock = new FakeClock();
  const deaf = await deafListener(t);
  const late = dialFirst([deaf, deaf, deaf], { ...plainSocket, connectTimeoutMs: 1000 }, clock);
  clock.advance(1000);
  t.match(await within('the end', late), { kind: 'failed', error: { code: 'NET_CONNECT_TIMEOUT' } });
  const gone = new Cancellation();
  const abandoned = dialFirst([deaf, deaf], plainSocket, clock, gone);
  gone.cancel();
  t.match(await within('the end', abandoned), { kind: 'failed', error: { code: 'NET_CONNECT_ABANDONED' } });
  t.equal(clock.pending, 0);
  t.match(await dialFirst([], plainSocket, clock), { kind: 'failed', error: { code: 'NET_CONNECT_FAILED' } });
});
