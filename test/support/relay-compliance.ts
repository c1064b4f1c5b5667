/**
 * What any implementation of the seam must do with bytes: run against real sockets and real TLS. `relay-identity.ts` and
 * `relay-sessions.ts` beside this file hold the rest of the suite.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Test } from 'tap';
import { AmbitError } from '../../src/base/errors.ts';
import type { Join } from '../../src/hbone/seam.ts';
import { plainSocket } from '../../src/net/socket-spec.ts';
import { eventually, within } from './eventually.ts';
import {
  type MakeRelay,
  makeWorld,
  readAll,
  streamsLeft,
  tcpClient,
  type World,
  type WorldOptions,
} from './relay-world.ts';

export async function byteCompliance(t: Test, make: MakeRelay): Promise<void> {
  await t.test('bytes and half-close travel in both directions', async (t) => {
    for (const first of ['client', 'app'] as const) {
      const world = await makeWorld(t, make);
      const { client, app } = await pair(world);
      const [opener, other] = first === 'client' ? [client, app] : [app, client];
      opener.end('the request');
      t.same(await within('request', readAll(other)), { data: Buffer.from('the request'), how: 'end' });
      other.write('the answer, after FIN');
      other.end();
      t.same(await within('answer', readAll(opener)), { data: Buffer.from('the answer, after FIN'), how: 'end' });
      await bothEnded(world);
      t.equal(world.clientEnds[0]?.kind, 'closed');
      t.equal(world.serverEnds[0]?.kind, 'closed');
      t.equal(world.clientEnds[0]?.by, first === 'client' ? 'downstream' : 'upstream');
      t.equal(world.clientEnds[0]?.established?.peerIdentity, world.target().expectedIdentities[0]);
    }
  });

  await t.test('a reset on either side arrives as a reset on the other, never as FIN', async (t) => {
    for (const resetter of ['client', 'app'] as const) {
      for (const halfClosed of [false, true]) {
        const world = await makeWorld(t, make);
        const { client, app } = await pair(world);
        const [from, to] = resetter === 'client' ? [client, app] : [app, client];
        const seen = readAll(to);
        if (halfClosed) {
          to.end();
          from.resume();
          await within('half-close', once(from, 'end'));
        }
        from.write('half of a body');
        await within('body', once(to, 'data'));
        from.resetAndDestroy();
        const name = `${resetter} resets${halfClosed ? ' after the other side has half-closed' : ''}`;
        t.same(await within(name, seen), { data: Buffer.from('half of a body'), how: 'reset' }, name);
        await bothEnded(world);
        t.equal(world.clientEnds[0]?.kind, 'reset');
        t.equal(world.clientEnds[0]?.by, resetter === 'client' ? 'downstream' : 'upstream');
        t.equal(world.serverEnds[0]?.by, resetter === 'client' ? 'downstream' : 'upstream');
      }
    }
  });

  await t.test('64 MiB each way at once arrive whole and are counted', async (t) => {
    const world = await makeWorld(t, make);
    const { client, app } = await pair(world);
    const size = 64 * 1024 * 1024;
    const results = await within(
      'transfer',
      Promise.all([send(client, size), send(app, size), digest(client), digest(app)]),
      60_000,
    );
    t.equal(results[3], results[0], 'client to app');
    t.equal(results[2], results[1], 'app to client');
    await bothEnded(world);
    for (const end of [world.clientEnds[0], world.serverEnds[0]]) {
      t.equal(end?.kind, 'closed');
      t.same(end?.counts, { toUpstream: size, toDownstream: size });
    }
  });

  await t.test('a slow reader stops the writer, and gets everything in the end', async (t) => {
    for (const slow of ['app', 'client'] as const) {
      const world = await makeWorld(t, make);
      const { client, app } = await pair(world);
      const [reader, writer] = slow === 'app' ? [app, client] : [client, app];
      reader.pause();
      const chunk = Buffer.alloc(64 * 1024, 7);
      let written = 0;
      let lastMs = performance.now();
      const pump = () => {
        while (written < 256 * 1024 * 1024) {
          written += chunk.length;
          lastMs = performance.now();
          if (!writer.write(chunk)) return;
        }
      };
      writer.on('drain', pump);
      pump();
      await eventually('a stalled writer', () => performance.now() - lastMs > 300, 30_000);
      t.ok(written < 64 * 1024 * 1024, `stalled after ${written} bytes`);
      writer.off('drain', pump);
      writer.end();
      let read = 0;
      reader.on('data', (data: Buffer) => {
        read += data.length;
      });
      reader.resume();
      await within('the rest', once(reader, 'end'), 30_000);
      t.equal(read, written);
    }
  });

  await t.test('a captured connection can be dialled straight, with a preface first', async (t) => {
    const world = await makeWorld(t, make, {
      onConnection: (connection, w) => connection.dial(w.app, plainSocket, w.clientObserver, Buffer.from('PREFACE ')),
    });
    const { client, app } = await pair(world);
    client.end('body');
    t.same(await within('bytes', readAll(app)), { data: Buffer.from('PREFACE body'), how: 'end' });
    app.end();
    await eventually('end', () => world.clientEnds.length === 1);
    t.equal(world.clientEnds[0]?.kind, 'closed');
    t.equal(world.clientEnds[0]?.counts.toUpstream, 4, "the preface is not the client's");
  });

  await t.test(
    'a captured listener that is destroyed resets both sides of what it had, and their end is told',
    async (t) => {
      const ways: WorldOptions['onConnection'][] = [
        undefined,
        (connection, w) => connection.dial(w.app, plainSocket, w.clientObserver),
      ];
      for (const onConnection of ways) {
        const world = await makeWorld(t, make, { ...(onConnection && { onConnection }) });
        const { client, app } = await pair(world);
        const seen = [readAll(client), readAll(app)];
        client.write('x');
        await within('byte', once(app, 'data'));
        world.captured.destroy();
        for (const { how } of await within('resets', Promise.all(seen))) t.equal(how, 'reset');
        await eventually('its end', () => world.clientEnds.length === 1);
        t.match(world.clientEnds[0], { kind: 'reset', by: 'downstream' });
        t.equal(world.client.stats().captured, 0);
      }
    },
  );

  await t.test('stop ends both sides by reset, and is harmless afterwards', async (t) => {
    const joins: Join[] = [];
    const world = await makeWorld(t, make, {
      onConnection: (connection, w) => void joins.push(connection.tunnel(w.request(), w.clientObserver)),
    });
    const { client, app } = await pair(world);
    const seen = [readAll(client), readAll(app)];
    const error = new AmbitError('the policy has changed', { code: 'POLICY_CHANGED', origin: 'local', flag: 'DENY' });
    joins[0]?.stop(error);
    joins[0]?.stop(error);
    for (const how of await within('resets', Promise.all(seen))) t.equal(how.how, 'reset');
    await bothEnded(world);
    t.match(world.clientEnds[0], { kind: 'stopped', by: 'local', error });
    t.equal(world.clientEnds.length, 1);
  });

  await t.test('refuse resets, and a client that has gone is known to be', async (t) => {
    const refused = await makeWorld(t, make, { onConnection: (connection) => connection.refuse() });
    const { ip: host, port } = refused.captured.address;
    const socket = connect({ host, port });
    t.equal((await within('reset', readAll(socket))).how, 'reset');

    let gone: (() => boolean) | undefined;
    const world = await makeWorld(t, make, {
      onConnection: (connection) => {
        gone = () => connection.gone;
      },
    });
    const leaver = await tcpClient(t, world.captured.address);
    await eventually('accepted', () => gone !== undefined);
    t.equal(gone?.(), false);
    leaver.resetAndDestroy();
    await eventually('gone', () => gone?.() === true);
  });

  await t.test('1000 tunnels at once', async (t) => {
    const world = await makeWorld(t, make);
    const clients = await Promise.all(Array.from({ length: 1000 }, () => world.connect()));
    for (const client of clients) client.write('x');
    await eventually('all accepted', () => world.appSockets.length === 1000, 30_000);
    t.ok(world.client.stats().sessions >= 10, 'at most 100 streams a session');
    for (const socket of world.appSockets) socket.end('y');
    for (const client of clients) client.end();
    const answers = await within('answers', Promise.all(clients.map(readAll)), 30_000);
    t.ok(answers.every(({ data, how }) => how === 'end' && data.toString() === 'y'));
    for (const socket of world.appSockets) socket.resume();
    await eventually('all ended', () => world.clientEnds.length === 1000 && world.serverEnds.length === 1000, 10_000);
    t.ok([...world.clientEnds, ...world.serverEnds].every((end) => end.kind === 'closed'));
    await eventually('no streams left', () => streamsLeft(world) === 0);
  });
}

/** A client joined with an application socket. */
export async function pair(world: World): Promise<{ client: Socket; app: Socket }> {
  const client = await world.connect();
  const app = await within('the application connection', world.accepted());
  return { client, app };
}

export async function bothEnded(world: World): Promise<void> {
  await eventually('both ends reported', () => world.clientEnds.length >= 1 && world.serverEnds.length >= 1);
}

async function send(socket: Socket, size: number): Promise<string> {
  const hash = createHash('sha256');
  const block = randomBytes(1024 * 1024);
  for (let sent = 0; sent < size; sent += block.length) {
    block.writeUInt32LE(sent, 0);
    const copy = Buffer.from(block);
    hash.update(copy);
    if (!socket.write(copy)) await once(socket, 'drain');
  }
  socket.end();
  return hash.digest('hex');
}

async function digest(socket: Socket): Promise<string> {
  const hash = createHash('sha256');
  // The other direction may still be on its way when this one has ended.
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
