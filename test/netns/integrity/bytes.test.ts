/** Every byte, every FIN and every reset crosses both ztunnels and the waypoint as what it was (design rules 5 and 6). */
import { createServer, request } from 'node:http';
import t, { type Test } from 'tap';
import { legacyPreset, modernPreset } from '../../../src/config/preset.ts';
import { eventually, within } from '../../support/eventually.ts';
import { insideLab } from '../lab/inside.ts';
import { body, expectedDigest, readAll, received, type Seen, send } from './streams.ts';
import { httpPort, pair, type ServiceName, startWorld, type World } from './world.ts';

const large = 64 << 20;
/** More than all buffers on the way can hold. */
const endless = 1 << 30;
const services: readonly ServiceName[] = ['plain', 'shop'];

// Said before the lab is entered: the program outside waits as long as the one inside works.
t.setTimeout(240_000);

if (await insideLab()) {
  for (const preset of [legacyPreset, modernPreset]) {
    t.test(`under the preset ${preset.name}`, async (t) => {
      const world = await startWorld({ preset, directory: t.testdir() });
      t.teardown(() => world.close());
      for (const service of services) await tcpTests(t, world, service);
      await httpTests(t, world);
      await killTests(t, world);
    });
  }
}

async function tcpTests(t: Test, world: World, service: ServiceName): Promise<void> {
  const way = service === 'plain' ? 'from ztunnel to ztunnel' : 'through the waypoint';

  await t.test(`64 MiB each way at once arrive whole ${way}`, async (t) => {
    const { client, server } = await pair(t, world, service);
    const results = await within(
      'transfer',
      Promise.all([readAll(client), readAll(server), send(client, large, 1), send(server, large, 2)]),
      60_000,
    );
    t.same(results[0], whole(large, 2), 'what the client got');
    t.same(results[1], whole(large, 1), 'what the server got');
  });

  for (const first of ['client', 'server'] as const) {
    await t.test(`${way} a FIN of the ${first} ends one direction and leaves the other open`, async (t) => {
      const ends = await pair(t, world, service);
      const [opener, other] = first === 'client' ? [ends.client, ends.server] : [ends.server, ends.client];
      opener.end('the first half');
      t.match(await within('the first half', readAll(other)), { bytes: 14, how: 'fin' });
      const late = readAll(opener);
      await within('the second half', send(other, 1 << 20, 3));
      t.same(await within('its end', late), whole(1 << 20, 3));
    });

    await t.test(`${way} a reset of the ${first} in the middle of a body is a reset at the other end`, async (t) => {
      for (const halfClosed of [false, true]) {
        const ends = await pair(t, world, service);
        const [from, to] = first === 'client' ? [ends.client, ends.server] : [ends.server, ends.client];
        const seen = readAll(to);
        if (halfClosed) {
          to.end();
          t.equal((await within('the FIN', readAll(from))).how, 'fin');
        } else from.resume();
        const halfWay = received(to, 1 << 20);
        void send(from, endless, 4).catch(() => {});
        await within('half of the body', halfWay);
        from.resetAndDestroy();
        const { how } = await within('the end', seen);
        t.equal(how, 'reset', halfClosed ? 'also when the other had sent its FIN' : 'with both directions open');
      }
    });
  }
}

async function httpTests(t: Test, world: World): Promise<void> {
  const server = createServer((incoming, outgoing) => {
    incoming.on('error', () => {});
    outgoing.on('error', () => {});
    if (incoming.url === '/broken') {
      const framing = incoming.headers['x-framing'];
      if (framing === 'length') outgoing.setHeader('content-length', 8 << 20);
      if (framing === 'close') outgoing.useChunkedEncodingByDefault = false;
      outgoing.write(Buffer.alloc(1 << 20));
      breakOff = () => incoming.socket.resetAndDestroy();
      return;
    }
    void readAll(incoming).then((seen) => {
      uploads.push(seen);
      outgoing.setHeader('x-digest', seen.digest);
      body(large, 6).pipe(outgoing);
    });
  });
  const uploads: Seen[] = [];
  let breakOff = () => {};
  const listening = await world.listen('shop', httpPort, (socket) => server.emit('connection', socket));

  await t.test('64 MiB are uploaded and downloaded whole through HTTP routing', async (t) => {
    const answer = await within(
      'the exchange',
      exchange(t, world, '/echo', { upload: { size: large, seed: 5 } }),
      60_000,
    );
    t.same(answer.seen, whole(large, 6), 'what the client got');
    t.equal(answer.digest, expectedDigest(large, 5), 'what the server got');
  });

  await t.test('an HTTP answer that is reset half way is never taken for a whole one', async (t) => {
    for (const framing of ['chunked', 'length', 'close']) {
      const headers = { 'x-framing': framing };
      const answer = await within(framing, exchange(t, world, '/broken', { headers, onFirstMiB: () => breakOff() }));
      t.equal(answer.seen.how, 'reset', `framed by ${framing}`);
      t.equal(answer.complete, false);
    }
  });

  await t.test('an HTTP upload that is reset half way is never taken for a whole one', async (t) => {
    for (const headers of [{ 'content-length': String(8 << 20) }, { 'transfer-encoding': 'chunked' }]) {
      const socket = await world.connect('shop', httpPort);
      t.teardown(() => socket.destroy());
      uploads.length = 0;
      const sent = request({ createConnection: () => socket, host: 'shop', method: 'POST', path: '/echo', headers });
      sent.on('error', () => {});
      const arrived = new Promise<void>((resolve) =>
        server.once('request', (r) => void received(r, 1 << 20).then(resolve)),
      );
      body(4 << 20, 7).pipe(sent, { end: false });
      await within('half of it', arrived);
      socket.resetAndDestroy();
      const seen = await eventually('its end', () => uploads[0]);
      t.equal(seen.how, 'reset', Object.keys(headers).join());
    }
  });

  await listening.close();
}

async function killTests(t: Test, world: World): Promise<void> {
  for (const [service, way] of [
    ['plain', 'from ztunnel to ztunnel'],
    ['shop', 'through the waypoint'],
  ] as const) {
    await t.test(`${way}, what a killed ztunnel leaves half done is seen as a reset at the far end`, async (t) => {
      const down = await pair(t, world, service);
      const downloaded = readAll(down.client);
      const halfWay = received(down.client, 1 << 20);
      void send(down.server, endless, 8).catch(() => {});
      await within('half of the download', halfWay);
      await world.mesh.stop('ztunnel-node-b', 'SIGKILL');
      t.equal((await within('the end of the download', downloaded)).how, 'reset');
      await world.mesh.startZtunnel('node-b');

      const up = await pair(t, world, service);
      const uploaded = readAll(up.server);
      const halfUp = received(up.server, 1 << 20);
      void send(up.client, endless, 9).catch(() => {});
      await within('half of the upload', halfUp);
      await world.mesh.stop('ztunnel-node-a', 'SIGKILL');
      t.equal((await within('the end of the upload', uploaded)).how, 'reset');
      await world.mesh.startZtunnel('node-a');
    });
  }
}

interface ExchangeOptions {
  readonly upload?: { readonly size: number; readonly seed: number };
  readonly headers?: Readonly<Record<string, string>>;
  /** Called when that much of the answer has come. */
  readonly onFirstMiB?: () => void;
}

interface Exchanged {
  readonly seen: Seen;
  readonly digest: string | undefined;
  readonly complete: boolean;
}

async function exchange(
  t: Test,
  world: World,
  path: string,
  { upload, headers = {}, onFirstMiB = () => {} }: ExchangeOptions,
): Promise<Exchanged> {
  const socket = await world.connect('shop', httpPort);
  t.teardown(() => socket.destroy());
  const method = upload === undefined ? 'GET' : 'POST';
  const sent = request({ createConnection: () => socket, host: 'shop', method, path, headers });
  return await new Promise((resolve, reject) => {
    // Once there is an answer its own end tells what happened.
    sent.on('error', reject);
    sent.on('response', (response) => {
      sent.off('error', reject).on('error', () => {});
      void received(response, 1 << 20).then(onFirstMiB);
      void readAll(response).then((seen) =>
        resolve({ seen, digest: response.headers['x-digest'] as string | undefined, complete: response.complete }),
      );
    });
    if (upload === undefined) sent.end();
    else body(upload.size, upload.seed).pipe(sent);
  });
}

function whole(bytes: number, seed: number): Seen {
  return { bytes, digest: expectedDigest(bytes, seed), how: 'fin' };
}
