/**
 * Peers with a valid certificate and a mass of frames: each is bounded in memory and in what it makes us do. Known attacks by
 * their numbers. Memory is what is held after a collection, of both ends of the connection: both are in this process.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { onEachEngine } from '../../support/http2-engines.ts';
import {
  answer,
  connectBlock,
  connectTo,
  data,
  endHeaders,
  endStream,
  frame,
  frameType,
  greeting,
  headerBlock,
  largestWindow,
  ping,
  preface,
  reset,
  setting,
  settings,
  windowUpdate,
} from '../../support/http2-frames.ts';
import { greeted, type RawHttp2 } from '../../support/raw-http2.ts';
import { wireTunnels } from '../../support/wire-tunnels.ts';
import { wireWorld } from '../../support/wire-world.ts';

const mebibyte = 1024 * 1024;
const join = (...parts: readonly Buffer[]) => Buffer.concat(parts);
const repeated = (bytes: Buffer, times: number) => Buffer.alloc(bytes.length * times, bytes);
const headers = (id: number, block: Buffer, flags = endHeaders) => frame(frameType.headers, flags, id, block);

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function heldBytes(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Pours pieces until the connection is over, or nothing more is taken. Returns how many octets were. */
async function flood(peer: RawHttp2, pieces: Iterable<Buffer>): Promise<number> {
  let octets = 0;
  for (const piece of pieces) {
    if (!(await peer.pour(piece))) break;
    octets += piece.length;
  }
  return octets;
}

function* times(count: number, piece: Buffer | ((i: number) => Buffer)): Iterable<Buffer> {
  for (let i = 0; i < count; i++) yield typeof piece === 'function' ? piece(i) : piece;
}

/** The end of the session, or its answer behind all that was poured. */
async function aftermath(peer: RawHttp2): Promise<string> {
  peer.send(ping('after'));
  return await peer.outcome(0, () => peer.answers('after'));
}

const burst = { streamResetBurst: 50, streamResetRate: 1 };
const ids = (from: number, count: number) => Array.from({ length: count }, (_, i) => 2 * (from + i) + 1);
/** 50 streams at a time. */
const streams = (each: (id: number) => Buffer) => times(20, (i) => join(...ids(50 * i, 50).map(each)));

const calm = ['session ENHANCE_YOUR_CALM'];

const resets: Readonly<Record<string, (id: number) => Buffer>> = {
  'rapid reset (CVE-2023-44487)': (id) => join(connectTo(id, 'echo:1'), reset(id, 'CANCEL')),
  'rapid reset, with DATA': (id) => join(connectTo(id, 'echo:1'), data(id, 'x'), reset(id, 'CANCEL')),
  'MadeYouReset (CVE-2025-8671): WINDOW_UPDATE of 0': (id) => join(connectTo(id, 'echo:1'), windowUpdate(id, 0)),
  'MadeYouReset: a window beyond 2^31-1': (id) => join(connectTo(id, 'echo:1'), windowUpdate(id, largestWindow)),
  'MadeYouReset: DATA behind END_STREAM': (id) => join(connectTo(id, 'take:1', endStream), data(id, 'x')),
  'MadeYouReset: HEADERS behind END_STREAM': (id) =>
    join(connectTo(id, 'take:1', endStream), headers(id, connectBlock('a:1'))),
  'MadeYouReset: HEADERS in the middle': (id) => join(connectTo(id, 'echo:1'), headers(id, headerBlock([['x', 'y']]))),
  'malformed requests': (id) => headers(id, join(connectBlock('echo:1'), headerBlock([['UPPER', 'x']]))),
  'header lists beyond the limit': (id) =>
    headers(
      id,
      join(connectBlock('echo:1'), headerBlock([['x', 'y'.repeat(2000)]]), repeated(Buffer.from([0x83]), 3000)),
    ),
};

await onEachEngine('streams that are reset, or must be: the session ends after its burst', async (t, make, engine) => {
  const world = await wireWorld(t, make, { options: burst });
  for (const [name, each] of Object.entries(resets)) {
    world.asked.length = 0;
    const peer = await greeted(world.dial);
    await peer.frame(frameType.settings, 0);
    await flood(peer, streams(each));
    const outcome = await aftermath(peer);
    if (engine === 'node') t.comment(`${name}: ${outcome}, ${world.asked.length} asked`);
    else t.ok(calm.includes(outcome), `${name}: ${outcome}`);
    t.ok(engine === 'node' || world.asked.length <= 200, `${name}: ${world.asked.length} of 1000 were asked about`);
    await eventually('no stream is left', () => peer.over === undefined || world.server.stats().streams === 0);
    peer.socket.destroy();
  }
});

const stream = join(connectTo(1, 'take:1'));
const idle: Readonly<Record<string, Buffer>> = {
  SETTINGS: settings([setting.initialWindowSize, 1000]),
  'empty SETTINGS': settings(),
  PING: ping('flood'),
  'answers to no PING': ping('flood', 1),
  PRIORITY: frame(frameType.priority, 0, 3, Buffer.alloc(5)),
  'WINDOW_UPDATE of the connection': windowUpdate(0, 1),
  'WINDOW_UPDATE of a stream': windowUpdate(1, 1),
  'empty DATA': data(1, ''),
  'frames of an unknown type': frame(0xfe, 0, 0),
  'RST_STREAM of a stream that is gone': reset(3, 'CANCEL'),
};

await onEachEngine('frames that do nothing: answered or ended, and nothing is held', async (t, make) => {
  const world = await wireWorld(t, make);
  const before = heldBytes();
  for (const [name, one] of Object.entries(idle)) {
    const peer = await greeted(world.dial, { keep: false });
    peer.send(stream, connectTo(3, 'echo:1'), reset(3, 'CANCEL'));
    await world.taken();
    const cpu = process.cpuUsage();
    await flood(peer, times(15, repeated(one, 1000)));
    peer.send(ping('after'));
    await peer.until(name, () => peer.over !== undefined || (peer.counts.get(frameType.ping) ?? 0) > 0, 10_000);
    const { user } = process.cpuUsage(cpu);
    t.ok(heldBytes() - before < 8 * mebibyte, `${name}: little is held`);
    t.ok(user < 5_000_000, `${name}: ${user} µs`);
    t.ok(
      [undefined, 'ENHANCE_YOUR_CALM', 'PROTOCOL_ERROR', 'INTERNAL_ERROR'].includes(peer.failure()),
      `${name}: ${peer.failure()}`,
    );
    peer.socket.destroy();
    await eventually('the session is gone', () => world.server.stats().sessions === 0);
  }
});

/** GET http / with an authority of one letter. */
const get = Buffer.from([0x82, 0x84, 0x86, 0x41, 1, 0x61]);
const unread: Readonly<Record<string, (i: number) => Buffer>> = {
  PING: () => repeated(ping('flood'), 2000),
  SETTINGS: () => repeated(settings(), 2000),
  'requests that are refused': (i) => join(...ids(500 * i, 500).map((id) => connectTo(id, 'no:403'))),
  'requests that are no CONNECT': (i) => join(...ids(700 * i, 700).map((id) => headers(id, get))),
};

const most = 300;
await onEachEngine('a peer that asks and never reads: answers do not pile up', async (t, make) => {
  const world = await wireWorld(t, make);
  for (const [name, piece] of Object.entries(unread)) {
    const before = heldBytes();
    const peer = await greeted(world.dial, { keep: false });
    await peer.until('SETTINGS', () => peer.counts.has(frameType.settings));
    peer.socket.pause();
    const octets = await flood(peer, times(most, piece));
    const held = heldBytes() - before;
    t.ok(held < 16 * mebibyte, `${name}: ${held} held of ${octets} sent`);
    const isBounded = () => octets < most * piece(0).length || world.server.stats().sessions === 0;
    await eventually(`${name}: the session ends, or no more is taken`, isBounded);
    peer.socket.destroy();
    await eventually('the session is gone', () => world.server.stats().sessions === 0, 10_000);
  }
});

await onEachEngine('a peer whose windows are wide open and that never reads: writing stops', async (t, make) => {
  const world = await wireWorld(t, make);
  const before = heldBytes();
  const { peer, open } = await wireTunnels(t, world, 'server', {
    settings: [[setting.initialWindowSize, largestWindow]],
  });
  peer.send(windowUpdate(0, largestWindow - 65_535));
  const { stream: writer } = await open();
  peer.socket.pause();
  let written = 0;
  const chunk = Buffer.alloc(65_536);
  for (let stuck = false; !stuck && written < 64 * mebibyte; written += chunk.length) {
    if (writer.write(chunk)) continue;
    stuck = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(resolve, 500, true);
      writer.once('drain', () => {
        clearTimeout(timer);
        resolve(false);
      });
    });
  }
  t.ok(written < 32 * mebibyte, `${written} octets were taken, the kernel’s part included`);
  t.ok(heldBytes() - before < 16 * mebibyte, 'little is held');
});

const windowBytes = 128 * 1024;
await onEachEngine(
  'a window of DATA of one octet each, for nobody: held as octets, not as objects',
  async (t, make, engine) => {
    const world = await wireWorld(t, make, {
      options: { streamWindowBytes: windowBytes, connectionWindowBytes: windowBytes },
    });
    const { peer, open } = await wireTunnels(t, world, 'server', { keep: false });
    const { id } = await open();
    await eventually('SETTINGS are acknowledged', () => (peer.counts.get(frameType.settings) ?? 0) > 1);
    const before = heldBytes();
    await flood(peer, times(windowBytes / 4096, repeated(data(id, 'x'), 4096)));
    peer.send(ping('after'));
    await peer.until('the answer', () => peer.over !== undefined || peer.counts.has(frameType.ping));
    const held = heldBytes() - before;
    t.equal(peer.over, undefined, 'it is within the window');
    // Under node:http2 a Duplex holds objects up to its high-water mark, which is 64 KiB.
    t.ok(held < (engine === 'node' ? 16 : 6) * mebibyte, `${held} held for ${windowBytes}`);
  },
);

const open = headers(1, connectBlock('echo:1'), 0);
const piece = (bytes: Buffer) => frame(frameType.continuation, 0, 1, bytes);
const blocks: Readonly<Record<string, Buffer>> = {
  'empty ones (CVE-2024-27316)': repeated(piece(Buffer.alloc(0)), 1000),
  'of an octet each': repeated(piece(Buffer.from([0x83])), 1000),
  'of 16 KiB': piece(repeated(headerBlock([['x', 'y'.repeat(124)]]), 128)),
  'of fields that are thrown away': piece(repeated(Buffer.from([0xbe]), 16_000)),
};

await onEachEngine('§6.10 CONTINUATION without end: the session ends before much is held', async (t, make) => {
  const world = await wireWorld(t, make);
  for (const [name, one] of Object.entries(blocks)) {
    const before = heldBytes();
    const peer = await greeted(world.dial);
    await peer.frame(frameType.settings, 0);
    const first = name.includes('thrown') ? join(open, piece(Buffer.from([0x40, 1, 0x78, 1, 0x79]))) : open;
    peer.send(first);
    const octets = await flood(peer, times(200, one));
    await peer.until(`the end of ${name}`, () => peer.over);
    t.ok(heldBytes() - before < 8 * mebibyte, `${name}: little is held of ${octets}`);
    t.match(
      peer.failure() ?? 'closed',
      /^(ENHANCE_YOUR_CALM|PROTOCOL_ERROR|COMPRESSION_ERROR|INTERNAL_ERROR|closed)$/,
      name,
    );
    t.equal(world.asked.length, 0, `${name}: nobody was asked`);
  }
});

const half: Readonly<Record<string, Buffer>> = {
  nothing: Buffer.alloc(0),
  'half a preface': preface.subarray(0, 12),
  'half a header block': join(greeting, open),
  'half a frame': join(greeting, connectTo(1, 'echo:1').subarray(0, 14)),
  'half the head of a frame': join(greeting, connectTo(1, 'echo:1').subarray(0, 4)),
};

await onEachEngine('a peer that begins and does not go on is ended with those that answer no PING', async (t, make) => {
  const serverClock = new FakeClock();
  const world = await wireWorld(t, make, { serverClock });
  const peers: RawHttp2[] = [];
  for (const bytes of Object.values(half)) {
    const peer = await world.dial({ polite: false });
    peer.send(bytes);
    peers.push(peer);
  }
  await eventually('all stand', () => world.server.stats().sessions === peers.length);
  for (let i = 0; i < 5; i++) await serverClock.advanceAsync(10_000);
  for (const [i, name] of Object.keys(half).entries())
    await peers[i]?.until(`the end of ${name}`, () => peers[i]?.over);
  await eventually('nothing is left', () => world.server.stats().sessions === 0);
  t.equal(world.asked.length, 0);
});

await onEachEngine(
  'streams that are opened and left: as many as allowed, and all gone with the session',
  async (t, make) => {
    const world = await wireWorld(t, make);
    const before = heldBytes();
    const peers: RawHttp2[] = [];
    for (let i = 0; i < 10; i++) {
      const peer = await greeted(world.dial);
      peers.push(peer);
      await peer.frame(frameType.settings, 0);
      for (let id = 1; id < 400; id += 2) peer.send(connectTo(id, 'sink:1'));
      await peer.until('all of them', () => peer.serves(399));
    }
    t.equal(world.server.stats().streams, 2000);
    t.ok(heldBytes() - before < 32 * mebibyte, `${heldBytes() - before}`);
    for (const peer of peers) peer.socket.destroy();
    await eventually('none is left', () => world.server.stats().streams === 0 && world.server.stats().sessions === 0);
  },
);

await onEachEngine('§8.1 interim answers without end: bounded', async (t, make) => {
  const world = await wireWorld(t, make);
  const before = heldBytes();
  const { peer } = await wireTunnels(t, world, 'client', { keep: false });
  await peer.until('CONNECT', () => peer.counts.has(frameType.headers));
  await flood(peer, times(30, repeated(answer(1, 103, [['link', 'x'.repeat(100)]]), 1000)));
  peer.send(ping('after'));
  await peer.until('an answer', () => peer.over !== undefined || peer.counts.has(frameType.ping), 10_000);
  t.ok(heldBytes() - before < 8 * mebibyte);
});
