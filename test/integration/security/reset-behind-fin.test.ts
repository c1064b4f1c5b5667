/** A socket that is cut in the turn in which its FIN was asked for: libuv refuses to reset a socket that is shutting down. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { DuplexEnd } from '../../../src/net/duplex-end.ts';
import { within } from '../../support/eventually.ts';

async function pair(t: Test): Promise<{ readonly accepted: Socket; readonly peer: Socket }> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  const peer = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  peer.on('error', () => {});
  t.teardown(() => peer.destroy());
  const [accepted] = (await once(server, 'connection')) as [Socket];
  t.teardown(() => accepted.destroy());
  return { accepted, peer };
}

t.test('a reset in the turn of a FIN closes the socket, and what comes afterwards harms nobody', async (t) => {
  const { accepted, peer } = await pair(t);
  const errors: Error[] = [];
  const note = (error: Error) => void errors.push(error);
  process.on('uncaughtException', note);
  t.teardown(() => process.off('uncaughtException', note));
  const end = new DuplexEnd(accepted, 'downstream', systemClock);
  end.start({ data: () => {}, end: () => {}, drain: () => {}, closed: () => {}, broken: () => {} });
  const closed = new Promise((resolve) => accepted.once('close', resolve));
  end.end();
  end.reset();
  peer.write('more');
  await within('the socket to close', closed);
  const left = new Promise((resolve) => peer.resume().once('close', resolve));
  peer.end();
  await within('the peer to be told', left);
  t.same(errors, []);
});
