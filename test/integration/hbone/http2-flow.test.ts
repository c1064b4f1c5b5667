/**
 * Windows of HTTP/2 and the bytes that pass through them (RFC 9113 §5.2, §6.9), with our relay as the server and as the
 * client: never a byte more than the peer allows, none lost, none held back; what is dropped is given back.
 */
import { createHash, randomBytes, randomInt } from 'node:crypto';
import type { Duplex } from 'node:stream';
import fc from 'fast-check';
import type { Test } from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { onEachEngine } from '../../support/http2-engines.ts';
import {
  connectTo,
  endStream,
  frame,
  frameType,
  largestWindow,
  reset,
  setting,
  settings,
  windowUpdate,
} from '../../support/http2-frames.ts';
import type { RawHttp2 } from '../../support/raw-http2.ts';
import { readAll } from '../../support/relay-world.ts';
import {
  type Role,
  roles,
  type WireTunnels,
  type WireTunnelsOptions,
  wireTunnels,
} from '../../support/wire-tunnels.ts';
import { type WireWorld, wireWorld } from '../../support/wire-world.ts';

const streamWindowBytes = 100_000;
const connectionWindowBytes = 300_000;

type Connect = (options?: WireTunnelsOptions) => Promise<WireTunnels>;

/** A test for each engine and each role of ours, in a world of small windows. */
async function inEachRole(
  name: string,
  body: (t: Test, connect: Connect, world: WireWorld, role: Role, engine: string) => Promise<void>,
): Promise<void> {
  await onEachEngine(name, async (t, make, engine) => {
    for (const role of roles) {
      await t.test(`as the ${role}`, async (t) => {
        const world = await wireWorld(t, make, { options: { streamWindowBytes, connectionWindowBytes } });
        await body(t, (options) => wireTunnels(t, world, role, options), world, role, engine);
      });
    }
  });
}

const came = (peer: RawHttp2, id: number) => peer.received.get(id) ?? 0;

/** All that is allowed has come, and no more. */
async function exactly(t: Test, peer: RawHttp2, id: number, octets: number, name: string): Promise<void> {
  await peer.until(`${octets} octets: ${name}`, () => came(peer, id) >= octets);
  await peer.answered(`${name} ${octets}`.slice(-8));
  t.equal(came(peer, id), octets, name);
}

await inEachRole('§6.9.2 a stream’s window, also below zero', async (t, connect) => {
  const content = randomBytes(3000);
  const { peer, open } = await connect({ settings: [[setting.initialWindowSize, 0]] });
  const { id, stream } = await open();
  stream.end(content);
  const initial = (bytes: number) => settings([setting.initialWindowSize, bytes]);
  const steps: readonly (readonly [string, Buffer, number])[] = [
    ['0', Buffer.alloc(0), 0],
    ['one', windowUpdate(id, 1), 1],
    ['17', windowUpdate(id, 17), 18],
    ['SETTINGS: 10 more', initial(10), 28],
    ['SETTINGS: all of it back', initial(0), 28],
    ['-10 + 9', windowUpdate(id, 9), 28],
    ['-1 + 1', windowUpdate(id, 1), 28],
    ['0 + 5', windowUpdate(id, 5), 33],
    [
      'SETTINGS twice in a frame: the last holds',
      settings([setting.initialWindowSize, 900], [setting.initialWindowSize, 7]),
      40,
    ],
    ['SETTINGS: 1000', initial(1000), 1033],
    ['SETTINGS: 1', initial(1), 1033],
    ['SETTINGS: 1000 again', initial(1000), 1033],
    ['the rest', windowUpdate(id, largestWindow - 1033), 3000],
  ];
  for (const [i, [name, bytes, octets]] of steps.entries()) {
    peer.send(bytes);
    await exactly(t, peer, id, octets, `${i} ${name}`);
  }
  await peer.until('END_STREAM', () => peer.endedStream(id));
  t.ok(peer.bytesOf(id).equals(content), 'every octet, in order');
});

await inEachRole('§6.9.1 the connection’s window, shared by streams', async (t, connect) => {
  const { peer, open } = await connect({ settings: [[setting.initialWindowSize, largestWindow]] });
  const contents = [randomBytes(50_000), randomBytes(50_000)];
  const tunnels = [await open(), await open()];
  for (const [i, { stream }] of tunnels.entries()) stream.end(contents[i]);
  let allowed = 65_535;
  await exactly(t, peer, 0, allowed, 'at first');
  for (const more of [1, 17, 1000, 16_384, 1]) {
    peer.send(windowUpdate(0, more));
    allowed += more;
    await exactly(t, peer, 0, allowed, `${more} more`);
  }
  peer.send(windowUpdate(0, 1_000_000));
  await peer.until('both ends', () => tunnels.every(({ id }) => peer.endedStream(id)));
  for (const [i, { id }] of tunnels.entries()) t.ok(peer.bytesOf(id).equals(contents[i] as Buffer), `stream ${id}`);
  t.ok(peer.largestPayload <= 16_384, '§4.2 no frame is larger than the peer takes');
});

await inEachRole('§4.2 frames as large as the peer takes, and no larger', async (t, connect) => {
  const { peer, open } = await connect({
    settings: [
      [setting.initialWindowSize, largestWindow],
      [setting.maxFrameSize, 20_000],
    ],
  });
  const { id, stream } = await open();
  stream.end(Buffer.alloc(60_000));
  await peer.until('the end', () => peer.endedStream(id));
  t.ok(peer.largestPayload <= 20_000, `${peer.largestPayload}`);
});

await inEachRole(
  '§6.9 what is not DATA needs no window, and a stream that waits holds up no other',
  async (t, connect, _world, _role, engine) => {
    const { peer, open } = await connect({ settings: [[setting.initialWindowSize, 0]] });
    const [empty, waiting, cut, going] = [await open(), await open(), await open(), await open()];
    empty.stream.end();
    // nghttp2 waits for a window, which only costs time.
    if (engine !== 'node') await peer.until('END_STREAM without a window', () => peer.endedStream(empty.id));
    waiting.stream.write(Buffer.alloc(1000));
    cut.stream.write(Buffer.alloc(1000));
    cut.stream.destroy();
    await peer.until('RST_STREAM without a window', () => peer.resetOn(cut.id) !== undefined);
    t.notOk(peer.endedStream(cut.id), 'a cut stream does not look whole');
    // nghttp2 wants one octet more for the END_STREAM behind them.
    peer.send(windowUpdate(going.id, 6));
    going.stream.end('whole');
    await peer.until('the one that may', () => peer.endedStream(going.id));
    t.equal(peer.bytesOf(going.id).toString(), 'whole');
    t.equal(came(peer, waiting.id), 0);
    peer.send(windowUpdate(cut.id, 1000));
    await peer.answered('late');
    t.equal(came(peer, cut.id), 0, 'nothing of a stream that was cut');
  },
);

/** Grants of 1 to `most` octets, to the stream or the connection, or another initial window. */
const grant = fc.oneof(
  fc.record({ kind: fc.constant('stream' as const), octets: fc.integer({ min: 1, max: 3000 }) }),
  fc.record({ kind: fc.constant('connection' as const), octets: fc.integer({ min: 1, max: 3000 }) }),
  fc.record({ kind: fc.constant('initial' as const), octets: fc.integer({ min: 0, max: 2000 }) }),
);

await inEachRole('§6.9 any sequence of odd grants: never too much, and every octet in the end', async (t, connect) => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom<number[]>(0, 1, 17, 999),
      fc.array(grant, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 6 }),
      async (initial, grants, sizes) => {
        const { peer, open } = await connect({ settings: [[setting.initialWindowSize, initial]] });
        const { id, stream } = await open();
        const content = sizes.map((size) => randomBytes(size));
        for (const chunk of content) stream.write(chunk);
        stream.end();
        let [current, more] = [initial, 0];
        let most = initial;
        for (const [i, { kind, octets }] of grants.entries()) {
          if (kind === 'stream') more += octets;
          if (kind === 'initial') current = octets;
          // What was allowed may have left before less was.
          most = Math.max(most, current + more);
          if (kind === 'initial') peer.send(settings([setting.initialWindowSize, octets]));
          else peer.send(windowUpdate(kind === 'stream' ? id : 0, octets));
          await peer.answered(`${i}`);
          if (came(peer, id) > most) return false;
        }
        peer.send(windowUpdate(0, 1_000_000), windowUpdate(id, 1_000_000));
        await peer.until('the end', () => peer.endedStream(id));
        peer.socket.destroy();
        return peer.bytesOf(id).equals(Buffer.concat(content));
      },
    ),
    { numRuns: 10 },
  );
  t.pass('held');
});

const fits: readonly string[] = ['nothing'];
const filled: readonly string[] = ['stream FLOW_CONTROL_ERROR', 'session FLOW_CONTROL_ERROR'];

/** What becomes of DATA on a stream that nobody reads. */
async function outcomeOf(peer: RawHttp2, id: number): Promise<string> {
  peer.send(frame(frameType.ping, 0, 0, Buffer.from('outcome.')));
  return await peer.outcome(id, () => peer.answers('outcome'));
}

/** Sends as `send` does until a stream's window has no room for so many octets, and the other side takes no more of it. */
async function fill(peer: RawHttp2, id: number, octets: number, send: (room: number) => void): Promise<void> {
  for (let round = 0; peer.over === undefined && peer.room(id) >= octets; round++) {
    while (peer.room(id) >= octets) send(peer.room(id));
    await peer.answered(`f${id}-${round}`);
  }
}

await inEachRole('§6.9.1 DATA up to our window is taken, one octet more is an error', async (t, connect) => {
  for (const [more, accepted] of [
    [0, fits],
    [1, filled],
  ] as const) {
    const { peer, open } = await connect();
    const { id } = await open();
    await fill(peer, id, 1, (room) => peer.sendData(id, Buffer.alloc(Math.min(room, 16_384))));
    if (more > 0) peer.sendData(id, Buffer.alloc(more));
    const outcome = await outcomeOf(peer, id);
    t.ok(accepted.includes(outcome), `${more} beyond the window: ${outcome}`);
  }
});

await inEachRole(
  '§6.9.1 a frame larger than the window of the connection ends the session',
  async (t, connect, ...rest) => {
    // nghttp2 lets the stream fail alone.
    if (rest.at(-1) === 'node') return;
    const { peer, open } = await connect();
    const { id } = await open();
    peer.send(frame(frameType.data, 0, id, Buffer.alloc(connectionWindowBytes + 1)));
    t.equal(await outcomeOf(peer, id), 'session FLOW_CONTROL_ERROR');
  },
);

await inEachRole('§5.2.2 tunnels that nobody reads leave the connection open for others', async (t, connect) => {
  const { peer, open } = await connect();
  for (let tunnels = 0; tunnels < 6; tunnels++) {
    const { id } = await open();
    await fill(peer, id, 1, (room) => peer.sendData(id, Buffer.alloc(Math.min(room, 16_384))));
    t.equal(peer.room(id), 0, 'nobody takes more');
  }
  await eventually('room for others', () => peer.room(0) > 0);
});

await onEachEngine(
  '§5.2.2 a session that keeps all it may stops its connection, until somebody reads',
  async (t, make, engine) => {
    if (engine === 'node') return;
    const sessionKeptBytes = 200_000;
    const world = await wireWorld(t, make, { options: { streamWindowBytes, connectionWindowBytes, sessionKeptBytes } });
    const { peer, open } = await wireTunnels(t, world, 'server');
    const streams: Duplex[] = [];
    for (let tunnels = 0; tunnels < 12 && peer.room(0) > 0; tunnels++) {
      const { id, stream } = await open();
      streams.push(stream);
      await fill(peer, id, 1, (room) => peer.sendData(id, Buffer.alloc(Math.min(room, 16_384))));
    }
    t.equal(peer.room(0), 0, 'used up');
    for (const stream of streams) stream.resume();
    await eventually('room again', () => peer.room(0) > 0);
  },
);

await inEachRole('§6.9 what many updates allow leaves in one frame', async (t, connect) => {
  const { peer, open } = await connect({ settings: [[setting.initialWindowSize, 0]] });
  const { id, stream } = await open();
  stream.write(Buffer.alloc(100_000));
  const updates = 500;
  peer.send(...Array.from({ length: updates }, () => windowUpdate(id, 1)));
  await peer.until('what they allow', () => peer.received.get(id) === updates);
  t.equal(peer.counts.get(frameType.data), 1);
});

await inEachRole('§6.1 padding fills windows', async (t, connect) => {
  for (const [more, accepted] of [
    [0, fits],
    [1, filled],
  ] as const) {
    const { peer, open } = await connect();
    const { id } = await open();
    // Nobody takes the first of it, and then not the rest.
    await fill(peer, id, 16_384, () => peer.sendData(id, Buffer.alloc(16_384)));
    await fill(peer, id, 257, () => peer.sendData(id, Buffer.from('x'), 0, 255));
    for (let i = 0; i < more; i++) peer.sendData(id, Buffer.from('x'), 0, 255);
    const outcome = await outcomeOf(peer, id);
    t.ok(accepted.includes(outcome), `${more} frames beyond the window: ${outcome}`);
  }
});

await inEachRole('§6.1 and is given back, also where there is nothing else', async (t, connect) => {
  const { peer, open } = await connect();
  const { id, stream } = await open();
  const reading = readAll(stream);
  for (let sent = 0; sent < 4 * connectionWindowBytes; sent += 256 * 20) {
    await peer.roomFor(id, 256 * 20);
    for (let i = 0; i < 20; i++) peer.sendData(id, Buffer.alloc(0), 0, 255);
  }
  peer.sendData(id, Buffer.from('content'), endStream);
  t.same(await within('the end', reading), { data: Buffer.from('content'), how: 'end' });
});

/** Ways in which DATA comes to be dropped. */
const drops: Readonly<Record<string, (peer: RawHttp2, open: WireTunnels['open']) => Promise<void>>> = {
  'kept for nobody, then reset by us': async (peer, open) => {
    const { id, stream } = await open();
    await filledWith(peer, id);
    stream.destroy();
    await peer.until('RST_STREAM', () => peer.resetOn(id) !== undefined);
  },
  'kept for nobody, then reset by the peer': async (peer, open) => {
    const { id } = await open();
    await filledWith(peer, id);
    peer.send(reset(id, 'CANCEL'));
  },
  'kept for nobody with END_STREAM, then reset by us': async (peer, open) => {
    const { id, stream } = await open();
    await filledWith(peer, id, endStream);
    stream.destroy();
    await peer.until('RST_STREAM', () => peer.resetOn(id) !== undefined);
  },
  'behind a reset of ours': async (peer, open) => {
    const { id, stream } = await open();
    stream.destroy();
    await peer.until('RST_STREAM', () => peer.resetOn(id) !== undefined);
    await filledWith(peer, id);
  },
  'behind our END_STREAM, when nobody listens': async (peer, open) => {
    const { id, stream } = await open();
    stream.end();
    await peer.until('END_STREAM', () => peer.endedStream(id));
    await filledWith(peer, id);
    stream.destroy();
    await peer.until('RST_STREAM', () => peer.resetOn(id) !== undefined);
  },
};

async function filledWith(peer: RawHttp2, id: number, flags = 0): Promise<void> {
  await peer.roomFor(id, 90_000);
  for (let i = 0; i < 9; i++) peer.sendData(id, Buffer.alloc(10_000), i === 8 ? flags : 0);
  await peer.answered(`full${id}`);
}

await inEachRole('§5.1 §6.9 what is dropped is given back to the connection', async (t, connect) => {
  for (const [name, drop] of Object.entries(drops)) {
    const { peer, open } = await connect();
    // More than the connection's window in all.
    for (let i = 0; i < 8; i++) await drop(peer, open);
    t.equal(peer.over, undefined, name);
    peer.socket.destroy();
  }
});

await onEachEngine('§6.9 what comes behind a refusal is given back to the connection', async (t, make) => {
  const world = await wireWorld(t, make, { options: { streamWindowBytes, connectionWindowBytes } });
  // Without a table each answer shows its status.
  const { peer } = await wireTunnels(t, world, 'server', { settings: [[setting.headerTableSize, 0]] });
  for (let id = 1; id < 20; id += 2) {
    peer.send(connectTo(id, 'no:403'));
    await peer.until('403', () => peer.statusOn(id) === 403);
    await filledWith(peer, id);
  }
  t.equal(peer.over, undefined);
});

const eightMiB = 8 * 1024 * 1024;

await inEachRole('8 MiB each way, in odd pieces with pauses', async (t, connect) => {
  const { peer, open } = await connect({ keep: false });
  const { id, stream } = await open();
  const content = randomBytes(eightMiB);
  const taking = takeWithPauses(stream);
  const writing = writeOddly(stream, content);
  const digest = createHash('sha256');
  let ended = false;
  let [owed, enough] = [0, 1];
  peer.onData((bytes, isLast) => {
    digest.update(bytes);
    ended ||= isLast;
    owed += bytes.length;
    if (owed < enough) return;
    // Given back in odd parts.
    peer.send(windowUpdate(0, owed), windowUpdate(id, owed));
    [owed, enough] = [0, randomInt(1, 40_000)];
  });
  for (let at = 0; at < content.length; ) {
    // Room for padding as well.
    await peer.roomFor(id, 300);
    if (peer.over !== undefined) throw new Error(`the session ended: ${peer.described()}`);
    const octets = Math.min(content.length - at, randomInt(0, Math.min(peer.room(id) - 256, 20_000)));
    const isLast = at + octets === content.length;
    if (randomInt(4) === 0)
      peer.sendData(id, content.subarray(at, at + octets), isLast ? endStream : 0, randomInt(256));
    else peer.sendData(id, content.subarray(at, at + octets), isLast ? endStream : 0);
    at += octets;
  }
  const whole = createHash('sha256').update(content).digest('hex');
  t.equal(await within('what was sent', taking, 10_000), whole, 'towards us');
  await within('what was written', writing, 10_000);
  await peer.until('END_STREAM', () => ended, 10_000);
  t.equal(digest.digest('hex'), whole, 'from us');
});

async function takeWithPauses(stream: Duplex): Promise<string> {
  const digest = createHash('sha256');
  stream.on('data', (chunk: Buffer) => {
    digest.update(chunk);
    if (randomInt(10) > 0) return;
    stream.pause();
    setImmediate(() => stream.resume());
  });
  await new Promise<void>((resolve, reject) => {
    stream.once('end', resolve);
    stream.once('error', reject);
  });
  return digest.digest('hex');
}

async function writeOddly(stream: Duplex, content: Buffer): Promise<void> {
  for (let at = 0; at < content.length; ) {
    const octets = randomInt(1, 100_000);
    const isRoom = stream.write(content.subarray(at, at + octets));
    at += octets;
    if (!isRoom) await new Promise((resolve) => stream.once('drain', resolve));
    else if (randomInt(4) === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  stream.end();
}
