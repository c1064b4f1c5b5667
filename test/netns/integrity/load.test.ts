/**
 * Memory stays bounded whatever readers do, and what many connections took is given back (design rules 4 and 5). Bounds
 * are per proxy process, in resident memory.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { legacyPreset, modernPreset } from '../../../src/config/preset.ts';
import { eventually, within } from '../../support/eventually.ts';
import { insideLab } from '../lab/inside.ts';
import { footprints } from './footprint.ts';
import { blocks, expectedDigest, readAll } from './streams.ts';
import { httpPort, pair, type ServiceName, startWorld, tcpPort, type World } from './world.ts';

const offered = 1 << 30;
const growthMiB = 150;
const manyConnections = 1000;

// Said before the lab is entered: the program outside waits as long as the one inside works.
t.setTimeout(240_000);
// Their worlds are apart, and half of it is waiting.
t.jobs = 2;

if (await insideLab()) {
  for (const preset of [legacyPreset, modernPreset]) {
    t.test(`under the preset ${preset.name}`, async (t) => {
      const environment = { '*': { POOL_UNUSED_RELEASE_TIMEOUT: '1s' } };
      const world = await startWorld({ preset, directory: t.testdir(), environment });
      t.teardown(() => world.close());
      for (const service of ['plain', 'shop'] as const) {
        await slowReaders(t, world, service);
        await stalledNeighbours(t, world, service);
        await crowd(t, world, service);
      }
      await slowHttp(t, world);
      await t.test('and all proxies are still the same processes', async (t) => {
        for (const name of world.mesh.proxies) t.ok(world.mesh.program(name).running, name);
      });
    });
  }
}

async function slowReaders(t: Test, world: World, service: ServiceName): Promise<void> {
  for (const reader of ['server', 'client'] as const) {
    await t.test(`a ${reader} that does not read stops its writer, by way of ${service}`, async (t) => {
      const ends = await pair(t, world, service);
      const [from, to] = reader === 'server' ? [ends.client, ends.server] : [ends.server, ends.client];
      await writerStops(t, world, from, to);
    });
  }
}

/** Offers a gibibyte to somebody who does not read, then lets them read. */
async function writerStops(t: Test, world: World, from: Writable, to: Readable | Promise<Readable>): Promise<void> {
  const before = footprints(world);
  const writer = new Writer(from);
  const reader = (await to).pause();
  await writer.blocked();
  t.ok(writer.written < 128 << 20, `the writer stands still after ${writer.written >> 20} MiB`);
  for (const [name, { residentMiB }] of footprints(world)) {
    const grown = residentMiB - (before.get(name)?.residentMiB ?? 0);
    t.ok(grown < growthMiB, `${name} grew by ${grown.toFixed(0)} MiB`);
  }
  const seen = readAll(reader);
  const sent = await within('the rest', writer.finish(), 20_000);
  t.same(await within('its end', seen, 20_000), { bytes: sent, digest: expectedDigest(sent, writer.seed), how: 'fin' });
}

/** Writes as fast as it is let, up to the gibibyte, until `finish`. */
class Writer {
  readonly seed = 11;
  written = 0;
  #stopping = false;
  readonly #done: Promise<void>;

  constructor(stream: Writable) {
    this.#done = this.#run(stream);
  }

  /** Resolves when nothing has left for a second. */
  async blocked(): Promise<void> {
    for (let before = -1; before !== this.written; ) {
      before = this.written;
      await delay(1000);
    }
  }

  /** Sends FIN after what was begun; resolves with the bytes written in all. */
  async finish(): Promise<number> {
    this.#stopping = true;
    await this.#done;
    return this.written;
  }

  async #run(stream: Writable): Promise<void> {
    for (const block of blocks(offered, this.seed)) {
      if (this.#stopping) break;
      this.written += block.length;
      if (!stream.write(block)) await once(stream, 'drain');
    }
    stream.end();
  }
}

async function stalledNeighbours(t: Test, world: World, service: ServiceName): Promise<void> {
  await t.test(`connections that nobody reads do not stop others of the same pod, by way of ${service}`, async (t) => {
    const before = footprints(world);
    const accepted: Socket[] = [];
    const listening = await world.listen(service, tcpPort, (socket) => {
      accepted.push(socket);
      socket.once('data', (first: Buffer) => {
        if (first.toString() === 'echo') socket.end('echo');
        else new Writer(socket);
      });
    });
    t.teardown(() => listening.close());
    const stalled = await Promise.all(Array.from({ length: 32 }, () => world.connect(service)));
    t.teardown(() => stalled.forEach((socket) => void socket.destroy()));
    for (const socket of stalled) socket.write('pour');
    await eventually('all of them pour', () => accepted.length === stalled.length, 20_000);
    await delay(1500);
    const socket = await world.connect(service);
    t.teardown(() => socket.destroy());
    const echoed = readAll(socket);
    socket.write('echo');
    t.match(await within('the echo', echoed), { bytes: 4, how: 'fin' });
    for (const [name, { residentMiB }] of footprints(world)) {
      const grown = (residentMiB - (before.get(name)?.residentMiB ?? 0)) / stalled.length;
      t.ok(grown < 12, `${name} grew by ${grown.toFixed(1)} MiB for each`);
    }
  });
}

async function crowd(t: Test, world: World, service: ServiceName): Promise<void> {
  await t.test(
    `${manyConnections} connections at once each get their own bytes back, by way of ${service}`,
    async (t) => {
      const echo = await world.listen(service, tcpPort, (socket) => socket.pipe(socket));
      t.teardown(() => echo.close());
      await quiet(world);
      const before = footprints(world);
      const sockets = await inBatches(manyConnections, 50, () => world.connect(service));
      t.teardown(() => sockets.forEach((socket) => void socket.destroy()));
      const readers = sockets.map(readText);
      for (const [index, socket] of sockets.entries()) socket.write(payload(index));
      await eventually('all have their first bytes back', () => readers.every((r) => r.bytes >= 2000), 30_000);
      for (const [index, socket] of sockets.entries()) socket.end(payload(index));
      const texts = await within('all echoes', Promise.all(readers.map((reader) => reader.text)), 30_000);
      const wrong = texts.filter((text, index) => text !== payload(index) + payload(index)).length;
      t.equal(wrong, 0, 'every connection got what it had sent');
      await quiet(world);
      for (const [name, { descriptors }] of before) {
        await eventually(
          `descriptors of ${name} are given back`,
          () => {
            // Sessions kept for reuse, a hundred streams each, on the way in and on the way out.
            const now = footprints(world).get(name)?.descriptors ?? Number.POSITIVE_INFINITY;
            return now <= descriptors + 2 * Math.ceil(manyConnections / 100) + 4;
          },
          10_000,
        );
      }
    },
  );
}

function payload(index: number): string {
  return `connection ${index} `.padEnd(2000, String(index % 10));
}

function readText(socket: Socket): { readonly bytes: number; readonly text: Promise<string> } {
  const chunks: Buffer[] = [];
  const reader = { bytes: 0, text: Promise.resolve('') };
  reader.text = new Promise((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      reader.bytes += chunk.length;
    });
    socket.once('end', () => resolve(Buffer.concat(chunks).toString()));
    socket.once('close', () => resolve('closed without its end'));
  });
  return reader;
}

async function inBatches<T>(count: number, size: number, make: () => Promise<T>): Promise<readonly T[]> {
  const made: T[] = [];
  while (made.length < count) {
    made.push(...(await Promise.all(Array.from({ length: Math.min(size, count - made.length) }, make))));
  }
  return made;
}

/** Until no ztunnel knows of a connection and the waypoint of no tunnel. */
async function quiet(world: World): Promise<void> {
  await eventually(
    'no connection is left',
    async () => {
      for (const name of world.mesh.proxies) if ((await openConnections(world, name)) > 0) return false;
      return true;
    },
    10_000,
  );
}

interface Dump {
  readonly workloadState?: Readonly<
    Record<string, { readonly connections: { inbound: unknown[]; outbound: unknown[] } }>
  >;
}

async function openConnections(world: World, name: string): Promise<number> {
  const { body } = await world.mesh.ask(name, '/config_dump');
  const { workloadState = {} } = JSON.parse(body) as Dump;
  let open = 0;
  for (const { connections } of Object.values(workloadState)) {
    open += connections.inbound.length + connections.outbound.length;
  }
  return open;
}

async function slowHttp(t: Test, world: World): Promise<void> {
  let serve = (_incoming: IncomingMessage, _outgoing: ServerResponse) => {};
  const server = createServer((incoming, outgoing) => serve(incoming, outgoing));
  const listening = await world.listen('shop', httpPort, (socket) => server.emit('connection', socket));

  await t.test('an HTTP server that does not read a request’s body stops the client', async (t) => {
    const socket = await world.connect('shop', httpPort);
    t.teardown(() => socket.destroy());
    const arrived = new Promise<Readable>((resolve) => {
      serve = (incoming, outgoing) => {
        incoming.once('end', () => outgoing.end());
        resolve(incoming);
      };
    });
    const sent = request({ createConnection: () => socket, host: 'shop', method: 'POST' });
    sent.on('error', () => {});
    await writerStops(t, world, sent, within('the request', arrived));
  });

  await t.test('an HTTP client that does not read the answer’s body stops the server', async (t) => {
    const socket = await world.connect('shop', httpPort);
    t.teardown(() => socket.destroy());
    const answering = new Promise<ServerResponse>((resolve) => {
      serve = (_incoming, outgoing) => resolve(outgoing);
    });
    const sent = request({ createConnection: () => socket, host: 'shop' }).end();
    sent.on('error', () => {});
    const arrived = once(sent, 'response').then(([response]) => response as IncomingMessage);
    await writerStops(t, world, await within('the request', answering), within('the answer', arrived));
  });

  await listening.close();
}
