/**
 * RFC 9113 as a server, where one row of octets does not show it: the preface, the table of HPACK across requests that are not
 * served, limits of streams and header lists, GOAWAY, and frames that come in pieces.
 */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { eventually, within } from '../../support/eventually.ts';
import { onEachEngine } from '../../support/http2-engines.ts';
import {
  ack,
  connectBlock,
  connectTo,
  data,
  endHeaders,
  endStream,
  frame,
  frameType,
  greeting,
  headerBlock,
  indexedField,
  paddedData,
  ping,
  preface,
  reset,
  setting,
  settings,
  windowUpdate,
} from '../../support/http2-frames.ts';
import { greeted, type RawHttp2 } from '../../support/raw-http2.ts';
import { readAll } from '../../support/relay-world.ts';
import { outcomeOf, type WireWorld, wireWorld } from '../../support/wire-world.ts';

const join = (...parts: readonly Buffer[]) => Buffer.concat(parts);
const headers = (id: number, block: Buffer, flags = endHeaders) => frame(frameType.headers, flags, id, block);

await onEachEngine('§3.4 one wrong octet of the preface, wherever it is', async (t, make, engine) => {
  const world = await wireWorld(t, make);
  const accepted = ['session PROTOCOL_ERROR', 'closed', ...(engine === 'node' ? ['session INTERNAL_ERROR'] : [])];
  for (let at = 0; at < preface.length; at++) {
    const wrong = Buffer.from(greeting);
    wrong[at] = (wrong[at] as number) ^ 0x20;
    const outcome = await outcomeOf(world, { after: Buffer.alloc(0), sends: wrong });
    t.ok(accepted.includes(outcome), `octet ${at}: ${outcome}`);
  }
});

await onEachEngine('§3.4 a client that leaves within the preface or its SETTINGS leaves nothing', async (t, make) => {
  const world = await wireWorld(t, make);
  for (const length of [0, 1, 23, 24, 25, 32]) {
    const peer = await world.dial();
    peer.send(greeting.subarray(0, length));
    peer.socket.end();
    await peer.until(`the end, after ${length} octets`, () => peer.over);
  }
  await eventually('no session is left', () => world.server.stats().sessions === 0);
  t.same(world.denied, []);
});

await onEachEngine(
  '§3.4 §6.5 the server begins with its SETTINGS, and acknowledges each of the client’s',
  async (t, make, engine) => {
    const world = await wireWorld(t, make);
    const peer = await greeted(world.dial, {}, join(greeting, settings(), settings([setting.headerTableSize, 0])));
    await peer.answered('behind');
    const [first] = peer.frames;
    t.match(first, { type: frameType.settings, flags: 0, id: 0 });
    const told = new Map<number, number>();
    for (let at = 0; at < (first?.payload.length ?? 0); at += 6) {
      told.set(first?.payload.readUInt16BE(at) ?? 0, first?.payload.readUInt32BE(at + 2) ?? 0);
    }
    t.match(Object.fromEntries(told), {
      [setting.maxConcurrentStreams]: 200,
      // Ours is as wide only for a peer that is far.
      [setting.initialWindowSize]: (engine === 'node' ? 4 : 1) * 1024 * 1024,
      [setting.maxFrameSize]: 1024 * 1024,
      [setting.maxHeaderListSize]: 64 * 1024,
    });
    t.equal(told.get(setting.enablePush) ?? 0, 0, 'a server never offers push');
    t.equal(peer.frames.filter(({ type, flags }) => type === frameType.settings && flags === ack).length, 3);
  },
);

await onEachEngine('§6.7 every PING is answered with its octets, in order', async (t, make) => {
  const world = await wireWorld(t, make);
  const peer = await greeted(world.dial);
  const sent = Array.from({ length: 50 }, () => randomBytes(8));
  peer.send(...sent.map((bytes) => frame(frameType.ping, 0, 0, bytes)));
  await peer.answered('last');
  const answers = peer.frames.filter(({ type, flags }) => type === frameType.ping && flags === ack);
  t.same(
    answers.slice(0, 50).map(({ payload }) => payload.toString('hex')),
    sent.map((bytes) => bytes.toString('hex')),
  );
});

const kept = indexedField('x-kept', 'in the table');
/** The newest entry of the table. */
const newest = Buffer.from([0x80 | 62]);
const repeated = (bytes: Buffer, times: number) => Buffer.alloc(bytes.length * times, bytes);
const unserved: Readonly<Record<string, readonly Buffer[]>> = {
  'a request that was served': [headers(1, join(connectBlock('sink:1'), kept))],
  'a request that was refused': [headers(1, join(connectBlock('no:403'), kept))],
  'a GET': [
    headers(
      1,
      join(
        headerBlock([
          [':method', 'GET'],
          [':authority', 'a'],
          [':scheme', 'http'],
          [':path', '/'],
        ]),
        kept,
      ),
    ),
  ],
  'a malformed request, the entry behind the fault': [
    headers(1, join(connectBlock('sink:1'), headerBlock([['UPPER', 'x']]), kept)),
  ],
  'a request without a method': [headers(1, join(headerBlock([[':authority', 'sink:1']]), kept))],
  'a header list beyond our limit': [
    headers(1, join(connectBlock('sink:1'), indexedField('y', 'y'.repeat(3900)), repeated(newest, 20), kept)),
  ],
  'a request that is reset at once': [headers(1, join(connectBlock('sink:1'), kept)), reset(1, 'CANCEL')],
  trailers: [connectTo(1, 'sink:1'), headers(1, kept, endHeaders | endStream)],
  'malformed trailers': [
    connectTo(1, 'sink:1'),
    headers(1, join(headerBlock([[':path', '/']]), kept), endHeaders | endStream),
  ],
  'a block in pieces, cut within the entry': [
    headers(1, join(connectBlock('sink:1'), kept.subarray(0, 5)), 0),
    frame(frameType.continuation, endHeaders, 1, kept.subarray(5)),
  ],
  'a request beyond the limit of streams': [
    connectTo(1, 'sink:1'),
    connectTo(3, 'sink:1'),
    headers(5, join(connectBlock('sink:1'), kept)),
    reset(1, 'CANCEL'),
  ],
};

await onEachEngine('§4.3 the table stays in step, whatever became of the request', async (t, make, engine) => {
  const world = await wireWorld(t, make, { serve: { maxStreamsPerSession: 2 } });
  for (const [name, frames] of Object.entries(unserved)) {
    const peer = await greeted(world.dial);
    await peer.frame(frameType.settings, 0);
    peer.send(...frames);
    await peer.answered('behind');
    if (engine === 'node' && peer.over !== undefined) {
      // nghttp2 ends the session where the RFC has a stream error.
      t.match(name, /limit of streams/);
      continue;
    }
    world.asked.length = 0;
    peer.send(headers(7, join(connectBlock('echo:1'), newest)));
    await peer.until(name, () => peer.serves(7));
    t.equal(world.asked[0]?.header('x-kept'), 'in the table', name);
    peer.socket.destroy();
  }
});

const large = (i: number) => indexedField(`x-${i}`, 'v'.repeat(1300));
await onEachEngine('RFC 7541 §4.4 the table forgets its oldest entries, and all of them at size 0', async (t, make) => {
  const world = await wireWorld(t, make);
  const three = join(connectBlock('sink:1'), large(1), large(2), large(3));
  const cases: readonly (readonly [string, Buffer, string])[] = [
    ['the newest of three that leave room for no fourth', newest, 'nothing'],
    ['the second', Buffer.from([0x80 | 63]), 'nothing'],
    ['the third', Buffer.from([0x80 | 64]), 'nothing'],
    ['one more', Buffer.from([0x80 | 65]), 'session COMPRESSION_ERROR'],
    ['the oldest, pushed out by a fourth', join(large(4), Buffer.from([0x80 | 65])), 'session COMPRESSION_ERROR'],
    [
      'any, behind an entry larger than the table',
      join(indexedField('x', 'v'.repeat(5000)), newest),
      'session COMPRESSION_ERROR',
    ],
  ];
  for (const [name, fields, expected] of cases) {
    const sends = join(headers(1, three), headers(3, join(connectBlock('sink:1'), fields)));
    t.equal(await outcomeOf(world, { sends, on: 3 }), expected, name);
  }
  const emptied = join(headers(1, three), headers(3, join(Buffer.from([0x20]), connectBlock('sink:1'), newest)));
  t.equal(await outcomeOf(world, { sends: emptied, on: 3 }), 'session COMPRESSION_ERROR', 'size 0');
});

const tooMuch = [
  'answer 431',
  'stream ENHANCE_YOUR_CALM',
  'stream PROTOCOL_ERROR',
  'stream REFUSED_STREAM',
  'stream CANCEL',
];
/** What is longer than the limit before it is decoded need not be decoded. */
const notDecoded: readonly string[] = ['one long value'];
/** nghttp2 decodes no string beyond 64 KiB, and does not count what it leaves out. */
const nodes: Readonly<Record<string, readonly string[]>> = {
  'one long value': ['session COMPRESSION_ERROR'],
  'empty names': ['nothing'],
};
await onEachEngine('§6.5.2 a header list beyond our MAX_HEADER_LIST_SIZE is no request', async (t, make, engine) => {
  const world = await wireWorld(t, make);
  const lists: Readonly<Record<string, Buffer>> = {
    'one long value': headerBlock([['x', 'y'.repeat(70_000)]]),
    'very many short fields': repeated(headerBlock([['a', '']]), 3000),
    'one entry of the table, 10000 times': join(indexedField('x', 'y'.repeat(4000)), repeated(newest, 10_000)),
    'empty names': repeated(Buffer.from([0, 0, 0]), 5000),
  };
  for (const [name, list] of Object.entries(lists)) {
    world.asked.length = 0;
    const outcome = await outcomeOf(world, { sends: headers(1, join(connectBlock('sink:1'), list)) });
    const node = engine === 'node' ? nodes[name] : [];
    const unread = notDecoded.includes(name) ? ['session ENHANCE_YOUR_CALM'] : [];
    t.ok([...tooMuch, ...unread, ...(node ?? [])].includes(outcome), `${name}: ${outcome}`);
    const asked = world.asked.some(({ authority }) => authority === 'sink:1');
    t.equal(asked, outcome === 'nothing', `${name}: nobody was asked`);
  }
  const fits = headers(1, join(connectBlock('sink:1'), headerBlock([['x', 'y'.repeat(64_000)]])));
  t.equal(await outcomeOf(world, { sends: fits }), 'nothing', 'just below');
});

await onEachEngine(
  '§5.1.2 a stream beyond the limit is refused, and the next one served when there is room',
  async (t, make, engine) => {
    const world = await wireWorld(t, make, { serve: { maxStreamsPerSession: 3 } });
    const opened = async () => {
      const peer = await greeted(world.dial);
      await peer.frame(frameType.settings, 0);
      peer.send(connectTo(1, 'echo:1'), connectTo(3, 'echo:1'), connectTo(5, 'echo:1'));
      await peer.until('three', () => peer.serves(1) && peer.serves(3) && peer.serves(5));
      return peer;
    };
    const peer = await opened();
    world.asked.length = 0;
    peer.send(connectTo(7, 'echo:1'));
    await peer.answered('refusal');
    t.equal(world.asked.length, 0, 'nobody was asked');
    if (engine === 'node') t.equal(peer.failure(), 'PROTOCOL_ERROR', 'nghttp2 ends the session');
    else t.match(peer.resetOn(7), /^(REFUSED_STREAM|PROTOCOL_ERROR)$/);
    const ways: Readonly<Record<string, (peer: RawHttp2) => void>> = {
      'by RST_STREAM': (other) => other.send(reset(1, 'CANCEL')),
      'by END_STREAM both ways': (other) => other.send(data(1, '', endStream)),
    };
    for (const [name, leave] of Object.entries(ways)) {
      const other = await opened();
      leave(other);
      if (name !== 'by RST_STREAM') await other.until('its end', () => other.endedStream(1));
      let id = 7;
      other.send(connectTo(id, 'echo:1'));
      // Node counts a stream until its object is closed, which is later.
      while (engine === 'node' && !other.serves(id)) {
        await other.until('a decision', () => other.serves(id) || other.resetOn(id) !== undefined);
        if (other.serves(id)) break;
        id += 2;
        other.send(connectTo(id, 'echo:1'));
      }
      await other.until(`room, ${name}`, () => other.serves(id));
    }
  },
);

await onEachEngine('§6.8 a server that leaves finishes what it has begun and begins nothing else', async (t, make) => {
  const world = await wireWorld(t, make);
  const peer = await greeted(world.dial);
  peer.send(connectTo(1, 'echo:1'), connectTo(3, 'sink:1'), connectTo(5, 'no:403'));
  await peer.until('all three', () => peer.serves(1) && peer.serves(3) && peer.statusOn(5) === 403);
  void world.served.close();
  const goAway = await peer.until('GOAWAY', () => peer.frames.findLast(({ type }) => type === frameType.goAway));
  t.equal(goAway.payload.readUInt32BE(4), 0, 'NO_ERROR');
  t.ok(goAway.payload.readUInt32BE(0) >= 5, 'of all that it has begun');
  world.asked.length = 0;
  peer.send(connectTo(7, 'echo:1'), data(1, 'still '));
  await peer.answered('behind');
  t.equal(world.asked.length, 0, 'nothing new');
  t.ok([undefined, 'REFUSED_STREAM'].includes(peer.resetOn(7)), 'and that is known to be unprocessed');
  peer.send(data(1, 'here', endStream), reset(3, 'CANCEL'));
  await peer.until('the end of the last stream', () => peer.endedStream(1));
  t.equal(peer.bytesOf(1).toString(), 'still here');
  await peer.until('the end of the connection', () => peer.over);
  t.equal(peer.failure(), undefined);
  await within('the drain', world.server.drained());
});

await onEachEngine('a session that ends leaves no stream', async (t, make) => {
  const world = await wireWorld(t, make);
  for (const leave of ['end', 'destroy'] as const) {
    const peer = await greeted(world.dial);
    const taking = Array.from({ length: 20 }, () => world.taken());
    for (let id = 1; id < 40; id += 2) peer.send(connectTo(id, 'take:1'), data(id, 'x'));
    const streams = await Promise.all(taking);
    const endings = streams.map(readAll);
    peer.socket[leave]();
    for (const { how } of await within('their ends', Promise.all(endings))) t.equal(how, 'reset', leave);
    await eventually('none is left', () => world.server.stats().streams === 0 && world.server.stats().sessions === 0);
  }
});

const session = join(
  greeting,
  settings([setting.initialWindowSize, 70_000], [setting.maxFrameSize, 20_000]),
  connectTo(1, 'echo:1'),
  frame(0xfe, 0xff, 0, Buffer.from('unknown')),
  paddedData(1, 'padded', 7),
  ping('marked'),
  connectTo(3, 'no:403', endStream),
  headers(5, connectBlock('echo:1').subarray(0, 9), 0),
  frame(frameType.continuation, endHeaders, 5, connectBlock('echo:1').subarray(9)),
  frame(frameType.priority, 0, 9, Buffer.alloc(5)),
  data(5, ''),
  data(5, 'and whole', endStream),
  windowUpdate(0, 1000),
  headers(
    7,
    headerBlock([
      [':method', 'GET'],
      [':authority', 'a'],
      [':scheme', 'http'],
      [':path', '/'],
    ]),
  ),
  data(1, '', endStream),
);

const expected = {
  1: { status: 200, bytes: 'padded', ended: true },
  3: { status: 403, bytes: '', ended: true },
  5: { status: 200, bytes: 'and whole', ended: true },
  7: { status: 400, bytes: '', ended: true },
};

function cutAt(places: readonly number[]): Buffer[] {
  const bounds = [0, ...places.toSorted((a, b) => a - b), session.length];
  return bounds.slice(1).map((end, i) => session.subarray(bounds[i], end));
}

async function transcriptOf(world: WireWorld, pieces: readonly Buffer[]): Promise<unknown> {
  const peer = await world.dial();
  // Each write is a TLS record, and each record a read of its own.
  for (const piece of pieces) peer.send(piece);
  const ids = [1, 3, 5, 7];
  await peer.until('all ends', () => ids.every((id) => peer.endedStream(id)) && peer.answers('marked'));
  peer.socket.destroy();
  return Object.fromEntries(
    ids.map((id) => [
      id,
      { status: peer.statusOn(id), bytes: peer.bytesOf(id).toString(), ended: peer.endedStream(id) },
    ]),
  );
}

await onEachEngine('§4.1 frames mean the same in one piece, in two, and octet by octet', async (t, make) => {
  const world = await wireWorld(t, make);
  t.same(await transcriptOf(world, [session]), expected, 'one piece');
  t.same(
    await transcriptOf(
      world,
      [...session].map((_, at) => session.subarray(at, at + 1)),
    ),
    expected,
    'octets',
  );
  // Each boundary once, several in a session.
  const stride = Math.ceil(session.length / 5);
  for (let first = 1; first <= stride; first++) {
    const places = [0, 1, 2, 3, 4].map((i) => first + i * stride).filter((place) => place < session.length);
    t.same(await transcriptOf(world, cutAt(places)), expected, `cut at ${places.join(', ')}`);
  }
  const cuts = fc.uniqueArray(fc.integer({ min: 1, max: session.length - 1 }), { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(cuts, async (places) => {
      return JSON.stringify(await transcriptOf(world, cutAt(places))) === JSON.stringify(expected);
    }),
    { numRuns: 10 },
  );
});
