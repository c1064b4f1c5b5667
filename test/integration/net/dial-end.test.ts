/** Dialling by hand: outcomes as values, and no descriptor left of any that failed. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { Cancellation } from '../../../src/base/cancellation.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { descriptorLimits, descriptorUse } from '../../../src/net/descriptors.ts';
import { dialEnd } from '../../../src/net/socket-factory.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import { deafListener } from '../../support/deaf-listener.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { hear, turns } from '../../support/tcp-ends.ts';
import { openDescriptors } from '../../unit/native/descriptors.ts';

const nobody = new Cancellation();

async function served(t: Test, onSocket: (socket: Socket) => void, ip = '127.0.0.1') {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    onSocket(socket);
  }).listen(0, ip);
  await once(server, 'listening');
  t.teardown(() => server.close());
  return { ip, port: (server.address() as AddressInfo).port };
}

t.test('a connection is told with our address, and what comes with it is not lost', async (t) => {
  for (const ip of ['127.0.0.1', '::1']) {
    const peers: unknown[] = [];
    const address = await served(
      t,
      (socket) => {
        peers.push({ ip: socket.remoteAddress, port: socket.remotePort });
        socket.end('the server speaks first');
      },
      ip,
    );
    const outcome = await dialEnd(address, plainSocket, systemClock, nobody);
    if (outcome.kind !== 'connected') throw outcome.error;
    t.equal(outcome.local?.ip, ip);
    // The bytes and the end may have come with the connection.
    await turns(20);
    const heard = hear(outcome.end);
    outcome.end.end();
    await eventually('both ends', () => heard.isOver);
    t.same([heard.text, heard.calls], ['the server speaks first', ['end', 'closed']]);
    t.same(peers, [outcome.local]);
  }
});

t.test('a server that resets at once fails the dial, or breaks the end: never neither', async (t) => {
  const address = await served(t, (socket) => socket.resetAndDestroy());
  for (let round = 0; round < 20; round++) {
    const outcome = await dialEnd(address, plainSocket, systemClock, nobody);
    if (outcome.kind === 'failed') {
      t.match(outcome.error, { code: 'NET_CONNECT_FAILED', cause: { code: 'ECONNRESET' } });
      continue;
    }
    const heard = hear(outcome.end);
    await eventually('the reset', () => heard.isOver);
    t.match(heard.calls, ['broken ECONNRESET']);
  }
});

t.test('a refusal, a deadline, a client that leaves and a bad source fail; nothing is left of them', async (t) => {
  const limits = descriptorLimits();
  const deaf = await deafListener(t);
  const { used } = descriptorUse(limits);
  const open = openDescriptors();
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const refusing = { ip: '127.0.0.1', port: (server.address() as AddressInfo).port };
  server.close();
  await once(server, 'close');

  t.match(await dialEnd(refusing, plainSocket, systemClock, nobody), {
    kind: 'failed',
    error: { code: 'NET_CONNECT_REFUSED', retry: 'unsent', cause: { code: 'ECONNREFUSED', syscall: 'connect' } },
  });

  const clock = new FakeClock();
  const late = dialEnd(deaf, plainSocket, clock, nobody);
  await turns(5);
  t.equal(clock.nextInMs, plainSocket.connectTimeoutMs);
  clock.advance(plainSocket.connectTimeoutMs);
  t.match(await late, { kind: 'failed', error: { code: 'NET_CONNECT_TIMEOUT' } });

  const leaving = new Cancellation();
  const abandoned = dialEnd(deaf, plainSocket, clock, leaving);
  await turns(5);
  leaving.cancel();
  t.match(await abandoned, { kind: 'failed', error: { code: 'NET_CONNECT_ABANDONED' } });
  t.match(await dialEnd(deaf, plainSocket, clock, leaving), { error: { code: 'NET_CONNECT_ABANDONED' } });
  t.equal(clock.pending, 0);

  t.match(await dialEnd(refusing, { ...plainSocket, source: '198.51.100.7' }, systemClock, nobody), {
    kind: 'failed',
    error: { code: 'NET_SOCKET', cause: { code: 'EADDRNOTAVAIL', syscall: 'bind' } },
  });
  t.match(await dialEnd({ ip: '::1', port: 1 }, { ...plainSocket, source: '127.0.0.1' }, systemClock, nobody), {
    kind: 'failed',
    error: { code: 'NET_SOCKET' },
  });
  t.equal(descriptorUse(limits).used, used);
  t.equal(openDescriptors(), open);
});
