/**
 * A peer that means harm, from a pod outside the mesh, with no certificate and with a good one: it ends its own
 * connections, costs a bounded amount, and nobody else notices (design rules 4 and 10).
 */
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import path from 'node:path';
import { Duplex } from 'node:stream';
import { connect as secure, type TLSSocket } from 'node:tls';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { legacyPreset, modernPreset, type Preset } from '../../../src/config/preset.ts';
import { openAuthority } from '../../../src/identity/authority.ts';
import { connectFrom } from '../../../src/lab/sockets.ts';
import { eventually, within } from '../../support/eventually.ts';
import {
  connectBlock,
  endHeaders,
  endStream,
  frame,
  frameType,
  greeting,
  headerBlock,
} from '../../support/http2-frames.ts';
import { insideLab } from '../lab/inside.ts';
import { footprints } from './footprint.ts';
import { startWorld, tcpPort, type World } from './world.ts';

interface Address {
  readonly host: string;
  readonly port: number;
}

interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** Fixed, so that a failure is met again. */
const seed = 20_260_101;

// Said before the lab is entered: the program outside waits as long as the one inside works.
t.setTimeout(240_000);

if (await insideLab()) {
  for (const preset of [legacyPreset, modernPreset]) {
    t.test(`under the preset ${preset.name}`, async (t) => {
      const world = await startWorld({ preset, directory: t.testdir() });
      t.teardown(() => world.close());
      const certificate = await certificateOfClient(world);
      const bystanders = await Bystanders.start(t, world);
      await bystanders.check(t);
      const before = footprints(world);
      for (const [name, attack] of plainAttacks) {
        await t.test(`${name} harm nobody else`, async (t) => {
          for (const target of allPorts(preset)) await attack(world, target, t);
          await bystanders.check(t);
        });
      }
      await t.test('their address is let in again once it has given up its unfinished handshakes', async (t) => {
        for (const target of tunnelPorts(preset)) {
          const letIn = () => tunnelSocket(t, world, target, certificate).catch(() => undefined);
          await eventually(`a handshake with ${target.host}`, letIn);
        }
      });
      for (const [name, attack] of securedAttacks) {
        await t.test(`${name} harm nobody else`, async (t) => {
          for (const target of tunnelPorts(preset)) {
            await attack(() => tunnelSocket(t, world, target, certificate), tunnelTarget(target));
          }
          await bystanders.check(t);
        });
      }
      await t.test('afterwards the proxies are the same and hold what they held before', async (t) => {
        for (const name of world.mesh.proxies) {
          const program = world.mesh.program(name);
          t.ok(program.running, `${name} runs`);
          t.same(
            program.lines.filter((line) => line.includes('internal error')),
            [],
          );
          const { descriptors = 0, residentMiB = 0 } = before.get(name) ?? {};
          await eventually(
            `${name} gives descriptors back`,
            () => (footprints(world).get(name)?.descriptors ?? Number.POSITIVE_INFINITY) <= descriptors + 4,
            15_000,
          );
          const grown = (footprints(world).get(name)?.residentMiB ?? 0) - residentMiB;
          t.ok(grown < 100, `${name} has grown by ${grown.toFixed(0)} MiB`);
        }
      });
    });
  }
}

/** Connections of the mesh's own client, one kept and ever new ones. */
class Bystanders {
  readonly #world: World;
  readonly #kept: readonly Socket[];

  private constructor(world: World, kept: readonly Socket[]) {
    this.#world = world;
    this.#kept = kept;
  }

  static async start(t: Test, world: World): Promise<Bystanders> {
    const kept: Socket[] = [];
    for (const service of ['plain', 'shop'] as const) {
      const listening = await world.listen(service, tcpPort, (socket) => socket.pipe(socket));
      const socket = await world.connect(service);
      t.teardown(async () => {
        socket.destroy();
        await listening.close();
      });
      kept.push(socket);
    }
    return new Bystanders(world, kept);
  }

  async check(t: Test): Promise<void> {
    for (const socket of this.#kept) t.equal(await echo(socket), 'still here', 'a connection from before');
    for (const service of ['plain', 'shop'] as const) {
      const socket = await this.#world.connect(service);
      t.equal(await echo(socket), 'still here', `a new connection to ${service}`);
      socket.destroy();
    }
  }
}

async function echo(socket: Socket): Promise<string> {
  const answer = once(socket, 'data');
  socket.write('still here');
  const [chunk] = (await within('an echo', answer)) as [Buffer];
  return chunk.toString();
}

function tunnelPorts({ waypointPort }: Preset): readonly Address[] {
  return [
    { host: '10.244.2.5', port: 15008 },
    { host: '10.244.1.8', port: waypointPort },
  ];
}

/** Listeners are the ztunnel's under `legacy`, and in each pod under `modern`. */
function allPorts(preset: Preset): readonly Address[] {
  const host = preset.capture === 'node' ? '10.244.2.2' : '10.244.2.5';
  return [...tunnelPorts(preset), ...[15001, 15006, 15008].map((port) => ({ host, port }))];
}

/** Where a CONNECT sent to this port leads. */
function tunnelTarget({ host }: Address): string {
  return host === '10.244.2.5' ? `10.244.2.5:${tcpPort}` : `10.96.0.20:${tcpPort}`;
}

type PlainAttack = (world: World, target: Address, t: Test) => Promise<void>;

const plainAttacks: readonly (readonly [string, PlainAttack])[] = [
  [
    'random bytes',
    (world, target) =>
      onEach(fc.sample(fc.uint8Array({ minLength: 1, maxLength: 8192 }), { numRuns: 20, seed }), async (bytes) => {
        await rawSocket(world, target, async (socket) => {
          socket.write(bytes);
          socket.end();
        });
      }),
  ],
  [
    'handshakes that break off',
    async (world, target) => {
      const hello = await clientHello();
      await onEach([1, 5, 6, 100, hello.length - 1, hello.length], async (length) => {
        for (const how of ['fin', 'reset'] as const) {
          await rawSocket(world, target, async (socket) => {
            socket.write(hello.subarray(0, length));
            if (how === 'fin') socket.end();
            else socket.resetAndDestroy();
          });
        }
      });
    },
  ],
  [
    'a hundred handshakes that never go on',
    async (world, target, t) => {
      const hello = await clientHello();
      await onEach(Array.from({ length: 100 }), async () => {
        const socket = await connectRaw(world, target);
        socket?.write(hello.subarray(0, 50));
        // Held while the bystanders are looked at, so that the attacker's address is at its share meanwhile.
        t.teardown(() => socket?.destroy());
      });
    },
  ],
  [
    'sessions without a certificate',
    async (world, target) => {
      const socket = await connectRaw(world, target);
      if (socket === undefined) return;
      const tls = secure({ socket, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
      tls.on('error', () => {});
      tls.resume().write(greeting);
      try {
        const ended = new Promise((resolve) => tls.once('end', resolve).once('close', resolve));
        await within(`the end of it at ${target.host}:${target.port}`, ended);
      } finally {
        tls.destroy();
        socket.destroy();
      }
    },
  ],
];

type SecuredAttack = (connect: () => Promise<TLSSocket>, authority: string) => Promise<void>;

const securedAttacks: readonly (readonly [string, SecuredAttack])[] = [
  ['bytes that are no HTTP/2', (connect) => flood(connect, [Buffer.alloc(4096, 'no preface')])],
  ['floods of SETTINGS', (connect) => flood(connect, repeated(20_000, frame(frameType.settings, 0, 0)))],
  ['floods of PING', (connect) => flood(connect, repeated(20_000, frame(frameType.ping, 0, 0, Buffer.alloc(8))))],
  [
    'streams reset as soon as opened',
    (connect, authority) =>
      flood(
        connect,
        Array.from({ length: 5000 }, (_, index) => {
          const stream = index * 2 + 1;
          return Buffer.concat([
            frame(frameType.headers, endHeaders, stream, connectBlock(authority)),
            frame(frameType.reset, 0, stream, Buffer.from([0, 0, 0, 8])),
          ]);
        }),
      ),
  ],
  [
    'header lists without end',
    (connect, authority) =>
      flood(connect, [
        frame(frameType.headers, 0, 1, connectBlock(authority)),
        ...repeated(8000, frame(frameType.continuation, 0, 1, headerBlock([['x-more', 'x'.repeat(1000)]]))),
      ]),
  ],
  [
    'header lists beyond the limit',
    (connect, authority) => {
      const block = Buffer.concat([connectBlock(authority), headerBlock([['x-long', 'x'.repeat(1 << 20)]])]);
      const pieces = Array.from({ length: Math.ceil(block.length / 16_000) }, (_, index) => {
        const piece = block.subarray(index * 16_000, (index + 1) * 16_000);
        const last = (index + 1) * 16_000 >= block.length;
        return frame(index === 0 ? frameType.headers : frameType.continuation, last ? endHeaders : 0, 1, piece);
      });
      return flood(connect, pieces);
    },
  ],
  [
    'requests for places that do not exist',
    (connect) =>
      flood(
        connect,
        ['', ':', 'nowhere', '1.2.3.4', '[::1]:0', '10.96.0.20:99999', '127.0.0.1:15000', 'a'.repeat(10_000)].map(
          (authority, index) => frame(frameType.headers, endHeaders, index * 2 + 1, connectBlock(authority)),
        ),
      ),
  ],
  [
    'floods of empty frames in a tunnel',
    (connect, authority) =>
      flood(connect, [
        frame(frameType.headers, endHeaders, 1, connectBlock(authority)),
        ...repeated(20_000, frame(frameType.data, 0, 1)),
      ]),
  ],
  [
    'windows that overflow',
    (connect, authority) =>
      flood(connect, [
        frame(frameType.headers, endHeaders, 1, connectBlock(authority)),
        ...repeated(3, frame(frameType.windowUpdate, 0, 1, Buffer.from([0x7f, 0xff, 0xff, 0xff]))),
        frame(frameType.windowUpdate, 0, 0, Buffer.alloc(4)),
      ]),
  ],
  [
    'frames by chance',
    (connect, authority) => {
      const anyFrame = fc
        .tuple(fc.nat(12), fc.nat(255), fc.nat(9), fc.uint8Array({ maxLength: 200 }))
        .map(([type, flags, stream, payload]) => frame(type, flags, stream, payload));
      const runs = fc.sample(fc.array(anyFrame, { minLength: 1, maxLength: 60 }), { numRuns: 40, seed });
      const opened = frame(frameType.headers, endHeaders, 1, connectBlock(authority));
      return onEach(runs, (frames) => flood(connect, [opened, ...frames]));
    },
  ],
  [
    'tunnels cut at once',
    (connect, authority) =>
      onEach(Array.from({ length: 100 }), async (_, index) => {
        const tls = await connect();
        tls.write(greeting);
        tls.write(frame(frameType.headers, endHeaders, 1, connectBlock(authority)));
        if (index % 2 === 0) tls.write(frame(frameType.data, endStream, 1, Buffer.alloc(100)));
        tls.destroy();
      }),
  ],
];

/** Sends all of it, then leaves, unless it was shown the door before. */
async function flood(connect: () => Promise<TLSSocket>, frames: readonly Uint8Array[]): Promise<void> {
  const tls = await connect();
  const over = closed(tls);
  tls.resume();
  tls.write(greeting);
  for (let at = 0; at < frames.length && !tls.destroyed; at += 500) {
    const batch = Buffer.concat(frames.slice(at, at + 500));
    if (!tls.write(batch)) await Promise.race([once(tls, 'drain'), over]).catch(() => {});
  }
  if (!tls.destroyed) tls.end();
  await within('its end', over, 15_000).catch(() => tls.destroy());
}

function repeated(count: number, bytes: Buffer): readonly Buffer[] {
  return Array.from({ length: count }, () => bytes);
}

async function rawSocket(world: World, target: Address, use: (socket: Socket) => Promise<void>): Promise<void> {
  const socket = await connectRaw(world, target);
  if (socket === undefined) return;
  try {
    socket.resume();
    await use(socket);
    await within('the end of it', closed(socket), 12_000);
  } finally {
    socket.destroy();
  }
}

/** Undefined: nobody is reached there, which is as good. */
function connectRaw(world: World, target: Address): Promise<Socket | undefined> {
  return connectFrom(world.mesh.lab.namespace('outsider'), { ...target, deadlineMs: 2000 }).catch(() => undefined);
}

async function tunnelSocket(t: Test, world: World, target: Address, certificate: Certificate): Promise<TLSSocket> {
  const socket = await connectFrom(world.mesh.lab.namespace('outsider'), target);
  const tls = secure({ socket, ...certificate, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  tls.on('error', () => {});
  tls.once('close', () => socket.destroy());
  t.teardown(() => tls.destroy());
  await within('the handshake', once(tls, 'secureConnect'));
  return tls;
}

function closed(socket: Socket): Promise<unknown> {
  return socket.closed ? Promise.resolve() : new Promise((resolve) => socket.once('close', resolve));
}

/** The first flight of a TLS client. */
async function clientHello(): Promise<Buffer> {
  return await new Promise((resolve) => {
    const wire = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        resolve(chunk);
        done();
      },
    });
    secure({ socket: wire, ALPNProtocols: ['h2'] }).on('error', () => {});
  });
}

/** A good certificate of pod `client`, as somebody has it who took over that pod. */
async function certificateOfClient(world: World): Promise<Certificate> {
  const folder = path.dirname(world.mesh.trustRootFile);
  const authority = await openAuthority({ folder, create: false, trustDomain: 'cluster.local', clock: systemClock });
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { chainPem } = await authority.issue({
    publicKey: createPublicKey(privateKey).export({ type: 'spki', format: 'der' }),
    names: [{ type: 'url', value: 'spiffe://cluster.local/ns/default/sa/client' }],
    lifeMs: 3_600_000,
  });
  return { key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), cert: chainPem.join('\n') };
}

async function onEach<T>(items: readonly T[], act: (item: T, index: number) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += 20) {
    await Promise.all(items.slice(at, at + 20).map((item, offset) => act(item, at + offset)));
  }
}
