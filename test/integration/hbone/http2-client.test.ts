/**
 * RFC 9113 as a client, one row for each rule: octets that a server sends to a CONNECT of ours, what becomes of the stream
 * and the session on the wire, and what `open` says. Then GOAWAY and refused streams. How a tunnel ends stands in
 * `http2-ends.test.ts`.
 */
import type { Duplex } from 'node:stream';
import type { Test } from 'tap';
import type { OpenOutcome } from '../../../src/hbone/seam.ts';
import { eventually, within } from '../../support/eventually.ts';
import { onEachEngine } from '../../support/http2-engines.ts';
import {
  ack,
  answer,
  data,
  endHeaders,
  endStream,
  frame,
  frameType,
  goAway,
  headerBlock,
  largestWindow,
  ping,
  reset,
  setting,
  settings,
  windowUpdate,
  word,
} from '../../support/http2-frames.ts';
import { type RawHttp2, type RawServer, rawServer } from '../../support/raw-http2.ts';
import { makeWorld, readAll, type World } from '../../support/relay-world.ts';

interface Row {
  /** Octets in answer to the CONNECT on stream 1. */
  readonly sends: Buffer;
  /** Consequences on the wire that will do; see `RawHttp2.outcome`. */
  readonly wire: readonly string[];
  /** What `open` says: `open`, `refused STATUS`, `failed`; `cut` is a stream that was open, and reset. */
  readonly opens: readonly string[];
  /** What Node does where the RFC wants something else. */
  readonly node?: { readonly wire: string; readonly opens: string };
}

type Rows = Readonly<Record<string, Row>>;
type Fields = readonly (readonly [string, string])[];

const join = (...parts: readonly Buffer[]) => Buffer.concat(parts);
const raw = (fields: Fields, flags = 0) => frame(frameType.headers, endHeaders | flags, 1, headerBlock(fields));
const then200 = answer(1, 200);
const tooLarge = frame(frameType.data, 0, 1);
tooLarge.writeUIntBE(1024 * 1024 + 1, 0, 3);

const fails = (sends: Buffer, ...wire: readonly string[]): Row => ({ sends, wire, opens: ['failed'] });
const streamFails = (sends: Buffer): Row => fails(sends, 'stream PROTOCOL_ERROR');
const sessionFails = (sends: Buffer, code = 'PROTOCOL_ERROR'): Row => fails(sends, `session ${code}`);
/** Behind an answer, which may have been told before. */
const cut = (sends: Buffer, ...wire: readonly string[]): Row => ({ sends, wire, opens: ['cut', 'failed'] });
const goesOn = (sends: Buffer, opens = 'open'): Row => ({ sends, wire: ['nothing'], opens: [opens] });

const answers: Rows = {
  'an answer 200 opens the tunnel': goesOn(then200),
  'an answer 200 with END_STREAM opens it': goesOn(answer(1, 200, [], endStream)),
  ...Object.fromEntries(
    [201, 204, 299, 302, 400, 403, 404, 500, 503].map((status) => [
      `an answer ${status} refuses it`,
      goesOn(answer(1, status, [], endStream), `refused ${status}`),
    ]),
  ),
  '§8.1 interim answers are passed over': goesOn(join(answer(1, 100), answer(1, 103, [['link', 'x']]), then200)),
  '§8.1 interim answers before a refusal': goesOn(join(answer(1, 103), answer(1, 403, [], endStream)), 'refused 403'),
  '§8.1 an interim answer with END_STREAM': streamFails(answer(1, 100, [], endStream)),
  '§8.6 an answer 101': streamFails(answer(1, 101)),
  '§8.3.2 no :status': streamFails(raw([['x', 'y']])),
  '§8.3.2 no field at all': streamFails(raw([])),
  '§8.3.2 :status twice': streamFails(
    raw([
      [':status', '200'],
      [':status', '403'],
    ]),
  ),
  ...Object.fromEntries(
    ['', '20', '2000', 'abc', '+20', ' 200', '2e2', '000', '099'].map((status) => [
      `§8.3.2 :status “${status}”`,
      streamFails(answer(1, status)),
    ]),
  ),
  '§8.3 :status behind a field': streamFails(
    raw([
      ['x', 'y'],
      [':status', '200'],
    ]),
  ),
  '§8.3 a pseudo header of requests': streamFails(answer(1, 200, [[':path', '/']])),
  '§8.3 an unknown pseudo header': streamFails(answer(1, 200, [[':x', 'y']])),
  '§8.2.1 a name in capitals': streamFails(answer(1, 200, [['X-Upper', 'y']])),
  '§8.2.2 connection': streamFails(answer(1, 200, [['connection', 'close']])),
  '§8.2.2 transfer-encoding': streamFails(answer(1, 200, [['transfer-encoding', 'chunked']])),
  '§8.2.2 upgrade': streamFails(answer(1, 200, [['upgrade', 'h2c']])),
  '§8.1 DATA before the answer': fails(data(1, 'x'), 'stream PROTOCOL_ERROR', 'session PROTOCOL_ERROR'),
  '§8.1 HEADERS behind the answer, without END_STREAM': cut(join(then200, raw([['x', 'y']])), 'stream PROTOCOL_ERROR'),
  '§8.1 two answers': cut(join(then200, then200), 'stream PROTOCOL_ERROR'),
  '§8.1 trailers with a pseudo header': cut(
    join(then200, raw([[':status', '200']], endStream)),
    'stream PROTOCOL_ERROR',
  ),
  '§8.1 trailers': goesOn(join(then200, raw([['x', 'y']], endStream))),
  // Node keeps to a limit of its own, 64 KiB.
  '§6.5.2 an answer beyond our MAX_HEADER_LIST_SIZE': {
    ...fails(
      answer(1, 200, [['x', 'y'.repeat(20_000)]]),
      'stream PROTOCOL_ERROR',
      'stream ENHANCE_YOUR_CALM',
      'stream INTERNAL_ERROR',
      'stream CANCEL',
    ),
    node: { wire: 'nothing', opens: 'open' },
  },
  '§8.7 RST_STREAM in place of an answer': fails(reset(1, 'CANCEL'), 'nothing'),
};

const connection: Rows = {
  '§4.1 unknown types and flags, reserved bits': goesOn(
    join(
      frame(0xfe, 0xff, 0, Buffer.alloc(9)),
      frame(0xfe, 0xff, 77),
      frame(1, 0x56, 0x80000001, headerBlock([[':status', '200']])),
    ),
  ),
  '§4.2 DATA beyond our MAX_FRAME_SIZE': cut(join(then200, tooLarge), 'session FRAME_SIZE_ERROR'),
  '§4.2 PING of 7 octets': sessionFails(frame(frameType.ping, 0, 0, Buffer.alloc(7)), 'FRAME_SIZE_ERROR'),
  '§4.2 SETTINGS of 5 octets': sessionFails(frame(frameType.settings, 0, 0, Buffer.alloc(5)), 'FRAME_SIZE_ERROR'),
  '§4.2 RST_STREAM of 3 octets': sessionFails(frame(frameType.reset, 0, 1, Buffer.alloc(3)), 'FRAME_SIZE_ERROR'),
  '§4.2 WINDOW_UPDATE of 3 octets': sessionFails(
    frame(frameType.windowUpdate, 0, 0, Buffer.alloc(3)),
    'FRAME_SIZE_ERROR',
  ),
  '§4.2 GOAWAY of 7 octets': sessionFails(frame(frameType.goAway, 0, 0, Buffer.alloc(7)), 'FRAME_SIZE_ERROR'),
  '§4.3 an index behind both tables': sessionFails(
    frame(frameType.headers, endHeaders, 1, Buffer.from([0x88, 0xff, 0x80, 0x01])),
    'COMPRESSION_ERROR',
  ),
  '§4.3 a table larger than ours': sessionFails(
    frame(frameType.headers, endHeaders, 1, Buffer.from([0x3f, 0xe2, 0x1f, 0x88])),
    'COMPRESSION_ERROR',
  ),
  '§6.10 CONTINUATION without HEADERS': sessionFails(frame(frameType.continuation, endHeaders, 1, Buffer.from([0x88]))),
  '§6.10 PING within a header block': sessionFails(
    join(frame(frameType.headers, 0, 1, Buffer.from([0x88])), ping('x')),
  ),
  '§6.10 a header block in pieces': goesOn(
    join(
      frame(frameType.headers, 0, 1),
      frame(frameType.continuation, 0, 1, Buffer.from([0x48])),
      frame(frameType.continuation, endHeaders, 1, Buffer.from('\x03200', 'latin1')),
    ),
  ),
  '§5.1.1 HEADERS on a stream that nobody opened': sessionFails(answer(3, 200)),
  '§5.1.1 HEADERS on a stream of an even number': sessionFails(answer(2, 200)),
  '§5.1 DATA on an idle stream': sessionFails(data(3, 'x')),
  '§5.1 WINDOW_UPDATE on an idle stream': sessionFails(windowUpdate(3, 1)),
  '§5.1 RST_STREAM on an idle stream': sessionFails(reset(3, 'CANCEL')),
  '§6.1 DATA on stream 0': sessionFails(data(0, 'x')),
  '§6.1 padding longer than DATA': cut(
    join(then200, frame(frameType.data, 8, 1, Buffer.from([9, 0]))),
    'session PROTOCOL_ERROR',
  ),
  '§6.5.2 ENABLE_PUSH 1 from a server': sessionFails(settings([setting.enablePush, 1])),
  '§6.5.2 INITIAL_WINDOW_SIZE 2^31': sessionFails(settings([setting.initialWindowSize, 2 ** 31]), 'FLOW_CONTROL_ERROR'),
  '§6.5.2 MAX_FRAME_SIZE 0': sessionFails(settings([setting.maxFrameSize, 0])),
  '§6.5.3 an acknowledgment with a payload': sessionFails(
    frame(frameType.settings, ack, 0, Buffer.alloc(6)),
    'FRAME_SIZE_ERROR',
  ),
  '§6.6 PUSH_PROMISE, which was not allowed': sessionFails(
    frame(frameType.pushPromise, endHeaders, 1, join(word(2), headerBlock([[':method', 'GET']]))),
  ),
  '§6.7 PING on a stream': sessionFails(frame(frameType.ping, 0, 1, Buffer.alloc(8))),
  '§6.8 GOAWAY on a stream': sessionFails(frame(frameType.goAway, 0, 1, Buffer.alloc(8))),
  '§6.9 WINDOW_UPDATE of 0 on the connection': sessionFails(windowUpdate(0, 0)),
  '§6.9 WINDOW_UPDATE of 0 on a stream': fails(windowUpdate(1, 0), 'stream PROTOCOL_ERROR', 'session PROTOCOL_ERROR'),
  '§6.9.1 a stream window beyond 2^31-1': fails(
    windowUpdate(1, largestWindow),
    'stream FLOW_CONTROL_ERROR',
    'session FLOW_CONTROL_ERROR',
  ),
  '§6.9.1 a connection window beyond 2^31-1': sessionFails(windowUpdate(0, largestWindow), 'FLOW_CONTROL_ERROR'),
};

for (const [table, rows] of Object.entries({ answers, connection })) {
  await onEachEngine(table, async (t, make, engine) => {
    const world = await makeWorld(t, make);
    for (const [name, row] of Object.entries(rows)) {
      const { wire, opens } = await play(t, world, row);
      const known = engine === 'node' ? row.node : undefined;
      const asKnown = known?.wire === wire && known.opens === opens;
      t.ok(asKnown || row.wire.includes(wire), `${name}: ${wire}, of ${row.wire.join(', ')}`);
      t.ok(asKnown || row.opens.includes(opens), `${name}: ${opens}, of ${row.opens.join(', ')}`);
    }
  });
}

const beginnings: Readonly<Record<string, Buffer>> = {
  'HTTP/1.1': Buffer.from('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n'),
  'PING before SETTINGS': join(ping('early'), settings()),
  'an acknowledgment in place of SETTINGS': frame(frameType.settings, ack, 0),
  'GOAWAY in place of SETTINGS': goAway(0, 'ENHANCE_YOUR_CALM'),
  'the end of the connection': Buffer.alloc(0),
};

await onEachEngine('§3.4 a server that begins otherwise is no session, and nothing was sent to it', async (t, make) => {
  const world = await makeWorld(t, make);
  for (const [name, greet] of Object.entries(beginnings)) {
    const server = await rawServer(t, world);
    const opening = open(world, server);
    const peer = await server.accepted({ greet });
    if (greet.length === 0) peer.socket.end();
    else await peer.until('the end of the session', () => peer.over);
    const outcome = await within(name, opening);
    t.match(outcome, { kind: 'failed', error: { retry: 'unsent' } }, name);
    t.notOk(peer.counts.has(frameType.headers), `${name}: no request`);
    await eventually('no session is left', () => world.client.stats().sessions === 0);
  }
});

await onEachEngine(
  '§6.8 streams above a GOAWAY’s last one are tried elsewhere, those below go on',
  async (t, make, engine) => {
    const world = await makeWorld(t, make);
    for (const code of ['NO_ERROR', 'ENHANCE_YOUR_CALM'] as const) {
      const server = await rawServer(t, world);
      const first = open(world, server);
      const peer = await server.accepted();
      await peer.frame(frameType.headers, 1);
      const second = open(world, server);
      await peer.frame(frameType.headers, 3);
      peer.send(goAway(1, code));
      if (engine === 'node' && code !== 'NO_ERROR') {
        // Node ends all streams of the session.
        for (const outcome of await within('both', Promise.all([first, second]))) t.equal(outcome.kind, 'failed');
        continue;
      }
      const other = await server.accepted();
      await other.frame(frameType.headers, 1);
      other.send(answer(1, 200));
      t.equal((await within('the second', second)).kind, 'open', `${code}: above`);
      peer.send(answer(1, 200), data(1, 'goes on'));
      const below = opened(await within('the first', first));
      t.equal(String((await within('bytes', nextBytes(below))) ?? ''), 'goes on', `${code}: below`);
      below.end('until its end');
      await peer.until('END_STREAM', () => peer.endedStream(1));
      t.equal(peer.bytesOf(1).toString(), 'until its end');
      peer.send(data(1, '', endStream));
      await peer.until('the connection’s end', () => peer.over);
    }
  },
);

await onEachEngine('§6.8 GOAWAY twice: first of all numbers, then of the last one', async (t, make) => {
  const world = await makeWorld(t, make);
  const server = await rawServer(t, world);
  const first = open(world, server);
  const peer = await server.accepted();
  await peer.frame(frameType.headers, 1);
  peer.send(goAway(largestWindow));
  await peer.answered('first');
  const second = open(world, server);
  const other = await server.accepted();
  await other.frame(frameType.headers, 1);
  other.send(answer(1, 200));
  t.equal((await within('the second', second)).kind, 'open', 'a new stream takes a new session');
  peer.send(goAway(1), answer(1, 200));
  t.equal((await within('the first', first)).kind, 'open');
  t.equal(peer.counts.get(frameType.headers), 1);
});

await onEachEngine('§8.7 REFUSED_STREAM is tried again, within bounds; another code is not', async (t, make) => {
  const world = await makeWorld(t, make);
  const server = await rawServer(t, world);
  const opening = open(world, server);
  const peer = await server.accepted();
  for (const id of [1, 3, 5]) {
    await peer.frame(frameType.headers, id);
    peer.send(reset(id, 'REFUSED_STREAM'));
  }
  t.match(await within('the failure', opening), {
    kind: 'failed',
    error: { code: 'HBONE_NOT_PROCESSED', retry: 'unsent' },
  });
  for (const [id, code] of [
    [7, 'CANCEL'],
    [9, 'NO_ERROR'],
    [11, 'ENHANCE_YOUR_CALM'],
  ] as const) {
    const reset1 = open(world, server);
    await peer.frame(frameType.headers, id);
    peer.send(reset(id, code));
    t.match(
      await within(code, reset1),
      { kind: 'failed', error: { code: 'HBONE_STREAM_RESET', retry: 'never' } },
      code,
    );
  }
  t.equal(peer.counts.get(frameType.headers), 6);
  t.equal(peer.over, undefined);
});

await onEachEngine('§5.1.2 never more streams than the server allows', async (t, make) => {
  const world = await makeWorld(t, make);
  const server = await rawServer(t, world);
  const openings = [open(world, server), open(world, server), open(world, server)];
  const peers: RawHttp2[] = [];
  for (let i = 0; i < 2; i++) {
    const peer = await server.accepted({ greet: settings([setting.maxConcurrentStreams, 2]) });
    peers.push(peer);
    await peer.frame(frameType.headers, 1);
    const headers = () => peer.counts.get(frameType.headers) ?? 0;
    if (i === 0) await peer.until('two streams', () => headers() === 2);
    for (let id = 1; id < 2 * headers(); id += 2) peer.send(answer(id, 200));
  }
  for (const outcome of await within('all three', Promise.all(openings))) t.equal(outcome.kind, 'open');
  t.same(
    peers.map((peer) => peer.counts.get(frameType.headers)),
    [2, 1],
  );
});

const last = data(1, 'the end', endStream);
await onEachEngine('the first octets of a tunnel, its end and the connection’s, all in one write', async (t, make) => {
  const world = await makeWorld(t, make);
  const server = await rawServer(t, world);
  const opening = open(world, server);
  const peer = await server.accepted();
  await peer.frame(frameType.headers, 1);
  peer.send(answer(1, 200), last);
  peer.socket.end();
  const stream = opened(await within('the answer', opening));
  t.same(await within('its end', readAll(stream)), { data: Buffer.from('the end'), how: 'end' });
});

function open(world: World, server: RawServer): Promise<OpenOutcome> {
  return world.client.open(world.request({ peer: server.address }));
}

function opened(outcome: OpenOutcome): Duplex {
  if (outcome.kind !== 'open') throw new Error(`not open but ${outcome.kind}`);
  outcome.stream.on('error', () => {});
  return outcome.stream;
}

async function nextBytes(stream: Duplex): Promise<Buffer | undefined> {
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) return chunk as Buffer;
  return undefined;
}

/** A CONNECT on a session of its own, and what the row makes of it. */
async function play(t: Test, world: World, row: Row): Promise<{ readonly wire: string; readonly opens: string }> {
  const server = await rawServer(t, world);
  const opening = open(world, server);
  const peer = await server.accepted();
  await peer.frame(frameType.headers, 1);
  // In one write: see the server's table.
  peer.send(row.sends, ping('alive'));
  const wire = await peer.outcome(1, () => peer.answers('alive'));
  const outcome = await within('an outcome', opening, 2000).catch(() => undefined);
  const opens = outcome === undefined ? 'nothing' : await described(outcome, row.opens.includes('cut'));
  peer.socket.destroy();
  return { wire, opens };
}

async function described(outcome: OpenOutcome, cut: boolean): Promise<string> {
  if (outcome.kind === 'refused') return `refused ${outcome.status}`;
  if (outcome.kind === 'failed') return 'failed';
  outcome.stream.on('error', () => {});
  if (cut) {
    const { stream } = outcome;
    const how = stream.errored === null ? (await within('the stream’s end', readAll(stream))).how : 'reset';
    return how === 'reset' ? 'cut' : 'ended';
  }
  outcome.stream.destroy();
  return 'open';
}
