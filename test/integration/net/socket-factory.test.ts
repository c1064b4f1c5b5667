/** Dialling and listening without privileges: outcomes as values, and errors that say what is missing. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import t from 'tap';
import { Cancellation } from '../../../src/base/cancellation.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { type ListenHooks, listen } from '../../../src/net/listener.ts';
import { dial, socketAddresses } from '../../../src/net/socket-factory.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import { within } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { onLoopback } from '../../support/relay-world.ts';

const on = (onSocket: ListenHooks['onSocket']): ListenHooks => ({ clock: systemClock, onSocket });

t.test('a dialled socket and an accepted one know the same two addresses, over IPv4 and IPv6', async (t) => {
  for (const ip of ['127.0.0.1', '::1']) {
    const accepted: unknown[] = [];
    const server = await listen(
      { ...onLoopback, ip },
      on((socket) => {
        accepted.push(socketAddresses(socket));
        socket.end();
      }),
    );
    const outcome = await dial(server.address, plainSocket, systemClock);
    if (outcome.kind !== 'connected') throw outcome.error;
    outcome.socket.resume();
    await within('end', once(outcome.socket, 'end'));
    const own = socketAddresses(outcome.socket);
    t.match(accepted, [{ local: own?.peer, peer: own?.local }]);
    t.equal(own?.peer.ip, ip);
    outcome.socket.end();
    await server.close();
  }
});

t.test('the source address is bound when one is asked for', async (t) => {
  const peers: unknown[] = [];
  const server = await listen(
    onLoopback,
    on((socket) => {
      peers.push(socketAddresses(socket)?.peer.ip);
      socket.destroy();
    }),
  );
  t.teardown(() => server.close());
  const outcome = await dial(server.address, { ...plainSocket, source: '127.0.0.9' }, systemClock);
  if (outcome.kind !== 'connected') throw outcome.error;
  t.teardown(() => outcome.socket.destroy());
  await within('closed', once(outcome.socket.resume(), 'end'));
  t.same(peers, ['127.0.0.9']);
});

t.test('a refusal, an abort and a bad source are failed outcomes', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  const closed = { ip: '127.0.0.1', port };
  t.match(await dial(closed, plainSocket, systemClock), { kind: 'failed', error: { code: 'NET_CONNECT_REFUSED' } });
  const cancelled = new Cancellation();
  cancelled.cancel();
  t.match(await dial(closed, plainSocket, systemClock, cancelled), {
    kind: 'failed',
    error: { code: 'NET_CONNECT_ABANDONED' },
  });
  t.match(await dial(closed, { ...plainSocket, source: '198.51.100.7' }, systemClock), {
    kind: 'failed',
    error: { code: 'NET_SOCKET', cause: { code: 'EADDRNOTAVAIL', syscall: 'bind' } },
  });
});

t.test('a deadline that has passed is a failed outcome, and leaves no timer behind', async (t) => {
  const clock = new FakeClock();
  const dialling = dial({ ip: '127.0.0.1', port: 1 }, { ...plainSocket, connectTimeoutMs: 0 }, clock);
  clock.advance(0);
  t.match(await dialling, { kind: 'failed', error: { code: 'NET_CONNECT_TIMEOUT' } });
  t.equal(clock.pending, 0);
});

t.test('a taken port rejects with the reason', async (t) => {
  const server = await listen(
    onLoopback,
    on(() => {}),
  );
  t.teardown(() => server.close());
  await t.rejects(
    listen(
      { ...onLoopback, port: server.address.port },
      on(() => {}),
    ),
    {
      code: 'NET_SOCKET',
      cause: { code: 'EADDRINUSE' },
    },
  );
});
