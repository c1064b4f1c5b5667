/** Leaving without a loss, and what one source may take of the relay: sessions, and bytes that wait. */
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import type { Join, OpenOutcome } from '../../../src/hbone/seam.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import { eventually, within } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { onEachEngine } from '../../support/http2-engines.ts';
import { greeting } from '../../support/http2-frames.ts';
import { pair } from '../../support/relay-compliance.ts';
import { clientId, makeWorld, readAll, serverId, tcpClient } from '../../support/relay-world.ts';

const echo = () => ({ kind: 'bytes', headers: [], receive: (stream: Duplex) => void stream.pipe(stream) }) as const;

await onEachEngine(
  'who has connected before the listener leaves is served, handshake and all, and then told to go',
  async (t, make) => {
    const serverClock = new FakeClock();
    const world = await makeWorld(t, make, { onConnect: echo, serverClock });
    const { serverMaterial } = await world.ca.issue(clientId);
    const raw = await tcpClient(t, world.served.address);
    const closed = world.served.close();
    serverClock.advance(50);
    await closed;
    const session = connectHttp2('https://served', {
      createConnection: () =>
        connectTls({ ...serverMaterial, socket: raw, ALPNProtocols: ['h2'], checkServerIdentity: () => undefined }),
    });
    session.on('error', () => {});
    t.teardown(() => session.destroy());
    await within('settings', once(session, 'remoteSettings'));
    const stream = session.request({ ':method': 'CONNECT', ':authority': 'x:1' });
    const [answer] = (await within('answer', once(stream, 'response'))) as [{ ':status': number }];
    t.equal(answer[':status'], 200);
    const goaway = once(session, 'goaway');
    serverClock.advance(1000);
    await within('GOAWAY', goaway);
    stream.end('to the end');
    t.equal((await within('echo', readAll(stream))).data.toString(), 'to the end');
    await within('the session', once(session, 'close'));
    await world.server.drained();
  },
);

await onEachEngine('who holds a tunnel is told when its session takes no new ones', async (t, make) => {
  const world = await makeWorld(t, make, { onConnect: echo });
  const target = {
    peer: world.served.address,
    sourceIdentity: clientId,
    expectedIdentities: [serverId],
    socket: plainSocket,
  };
  const outcome = await world.client.open({ target, authority: '192.0.2.1:80', headers: [] });
  if (outcome.kind !== 'open') throw new Error(outcome.kind);
  const { stream, established } = outcome;
  t.equal(established.leaving?.cancelled, false);
  void world.served.close();
  await eventually('the news', () => established.leaving?.cancelled);
  stream.end('to the end');
  t.equal((await within('echo', readAll(stream))).data.toString(), 'to the end', 'what runs goes on');
  await within('the drain', world.server.drained());
});

await onEachEngine('a relay has drained when its last connection has ended, and not before', async (t, make) => {
  const world = await makeWorld(t, make);
  const { client, app } = await pair(world);
  let drained = 0;
  for (const [relay, listener] of [
    [world.client, world.captured],
    [world.server, world.served],
  ] as const) {
    await listener.close();
    void relay.drained().then(() => drained++);
  }
  client.write('still here');
  t.equal(String((await within('bytes', once(app, 'data')))[0]), 'still here');
  t.equal(drained, 0);
  client.end();
  app.end();
  await eventually('both have drained', () => drained === 2);
});

await onEachEngine('a client that does not end its side of an ended session is not waited for', async (t, make) => {
  const serverClock = new FakeClock();
  const world = await makeWorld(t, make, { onConnect: echo, serverClock });
  const { serverMaterial } = await world.ca.issue(clientId);
  const raw = await tcpClient(t, world.served.address);
  const socket = connectTls({
    ...serverMaterial,
    socket: raw,
    ALPNProtocols: ['h2'],
    checkServerIdentity: () => undefined,
  });
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  const ended = once(socket.resume(), 'end');
  await within('handshake', once(socket, 'secureConnect'));
  socket.write(greeting);
  await eventually('a session', () => world.server.stats().servedSessions === 1);
  const closed = world.served.close();
  serverClock.advance(50);
  await closed;
  await within('its end', ended);
  let drained = false;
  const all = world.server.drained().then(() => {
    drained = true;
  });
  await new Promise(setImmediate);
  t.notOk(drained, 'it has a moment');
  serverClock.advance(1000);
  await within('the drain', all);
});

await onEachEngine(
  'one source may have so many sessions; its idle ones make room, and others keep theirs',
  async (t, make) => {
    const options = { maxClientSessionsPerSource: 2 };
    const world = await makeWorld(t, make, { onConnect: echo, options });
    const other = await makeWorld(t, make, { onConnect: echo });
    // Three peers are three keys of the pool: addresses of one server.
    const to = (ip: string, source?: string) => {
      const socket = source === undefined ? plainSocket : { ...plainSocket, source };
      return world.client.open(world.request({ peer: { ip, port: world.served.address.port }, socket }));
    };
    t.ok(other);
    const first = opened(await to('127.0.0.1'));
    const again = opened(await to('127.0.0.1', '127.0.0.9'));
    const more = opened(await to('127.0.0.1', '127.0.0.10'));
    t.equal(world.client.stats().sessions, 3, 'a session for each source');
    const second = await world.client.open(
      world.request({ expectedIdentities: [...world.target().expectedIdentities, clientId] }),
    );
    opened(second);
    const third = { ...world.target(), expectedIdentities: [clientId, ...world.target().expectedIdentities, clientId] };
    const refused = await world.client.open({ ...world.request(), target: third });
    t.match(refused, { kind: 'failed', error: { code: 'HBONE_SESSION_LIMIT', message: /limit sessions/ } });
    first.end();
    await within('its end', readAll(first));
    await eventually('the first is idle', () => world.client.stats().streams === 3);
    opened(await world.client.open({ ...world.request(), target: third }));
    for (const stream of [again, more]) stream.destroy();
  },
);

await onEachEngine('a connection says how much it holds, and that is bounded by its windows', async (t, make) => {
  const joins: Join[] = [];
  const options = { streamWindowBytes: 1 << 20, connectionWindowBytes: 1 << 21 };
  const world = await makeWorld(t, make, {
    options,
    onConnection: (connection, { request, clientObserver }) => joins.push(connection.tunnel(request(), clientObserver)),
  });
  const { client, app } = await pair(world);
  t.equal(joins[0]?.heldBytes, 0);
  app.pause();
  client.write(Buffer.alloc(32 << 20));
  await eventually('it holds some', () => (joins[0]?.heldBytes ?? 0) > 0);
  t.ok((joins[0]?.heldBytes ?? 0) < 4 << 20, `${joins[0]?.heldBytes} bytes`);
  // A FIN stands behind all that was sent, and is seen by who reads that.
  client.destroy();
  app.resume();
  await eventually('nothing after its end', () => joins[0]?.heldBytes === 0);
});

function opened(outcome: OpenOutcome): Duplex {
  if (outcome.kind === 'open') return outcome.stream;
  throw new Error(`not open: ${outcome.kind}`);
}
