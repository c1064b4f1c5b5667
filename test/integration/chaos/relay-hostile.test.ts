/** Peers that leave in every state, by FIN or by reset: nothing of them is kept, and honest ones do not notice. */

import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import type { Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { Test } from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { onEachEngine } from '../../support/http2-engines.ts';
import { frame, frameType, greeting } from '../../support/http2-frames.ts';
import { clientId, makeWorld, readAll, tcpClient, type World } from '../../support/relay-world.ts';

const times = 12;

/** Brings a connection into a state in which it is then left. */
type State = (socket: Socket, world: World) => Promise<void>;

const clientHello = Buffer.from('160301020001000001fc0303', 'hex');

const states: Readonly<Record<string, State>> = {
  'after TCP accept': async () => {},
  'after garbage': async (socket) => void socket.write('GET / HTTP/1.1\r\n\r\n'),
  'within ClientHello': async (socket) => void socket.write(clientHello),
  'within the TLS handshake': async (socket) => {
    const tls = connectTls({ socket, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
    tls.on('error', () => {});
    await new Promise((resolve) => setImmediate(resolve));
  },
  'after TLS, saying nothing': async (socket, world) => void (await secured(socket, world)),
  'after SETTINGS': async (socket, world) => void (await secured(socket, world)).write(greeting),
  'within a frame': async (socket, world) => {
    const tls = await secured(socket, world);
    tls.write(Buffer.concat([greeting, frame(frameType.headers, 0, 1, Buffer.alloc(100)).subarray(0, 40)]));
  },
  'with a CONNECT under way': async (socket, world) => {
    const tls = await secured(socket, world);
    const session = connectHttp2('https://served', { createConnection: () => tls });
    session.on('error', () => {});
    session.request({ ':method': 'CONNECT', ':authority': '10.1.2.3:80' }).on('error', () => {});
    await within('settings', once(session, 'remoteSettings'));
  },
};

await onEachEngine('clients that leave in any state leave nothing behind', async (t, make) => {
  const world = await makeWorld(t, make);
  const { client, server } = world;
  await honest(t, world);
  await eventually('one pooled session', () => server.stats().sessions === 1 && client.stats().streams === 0);
  const before = descriptors();
  for (const [name, reach] of Object.entries(states)) {
    for (const leave of ['destroy', 'resetAndDestroy'] as const) {
      const leaving = Array.from({ length: times }, async () => {
        const socket = await tcpClient(t, world.served.address);
        await reach(socket, world).catch(() => {});
        socket[leave]();
      });
      await within(`${name}, ${leave}`, Promise.all(leaving), 20_000);
      await eventually(`nothing left of those who leave ${name}`, () => server.stats().sessions === 1, 10_000);
    }
    await honest(t, world);
  }
  await eventually('no stream is left', () => server.stats().streams === 0);
  for (const socket of world.appSockets) socket.destroy();
  await eventually('descriptors as before', () => descriptors() <= before, 10_000);
});

async function secured(socket: Socket, world: World): Promise<TLSSocket> {
  const { serverMaterial } = await world.ca.issue(clientId);
  const tls = connectTls({ ...serverMaterial, socket, ALPNProtocols: ['h2'], checkServerIdentity: () => undefined });
  tls.on('error', () => {});
  await within('a handshake', once(tls, 'secureConnect'));
  return tls;
}

async function honest(t: Test, world: World): Promise<void> {
  const socket = await world.connect();
  const seen = readAll(socket);
  const accepting = new Promise<Socket>((resolve) => {
    const find = () => {
      const app = world.appSockets.at(-1);
      if (app !== undefined && !app.destroyed && app.bytesRead > 0) resolve(app);
      else setImmediate(find);
    };
    find();
  });
  for (const app of world.appSockets) if (!app.destroyed) app.destroy();
  world.appSockets.length = 0;
  socket.end('hello');
  const app = await within('the application’s end', accepting);
  app.resume().end('hello back');
  t.match(await within('the answer', seen), { how: 'end' });
  socket.destroy();
  app.destroy();
}

function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}
