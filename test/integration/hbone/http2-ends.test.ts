/**
 * How a tunnel ends, with our relay as the server and as the client (RFC 9113 §5.1, §8.5): END_STREAM is an end, everything else
 * is a reset, and what was cut never looks whole. And octets that are changed at random.
 */
import { once } from 'node:events';
import fc from 'fast-check';
import type { Test } from 'tap';
import { eventually, within } from '../../support/eventually.ts';
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
  goAway,
  greeting,
  headerBlock,
  paddedData,
  ping,
  reset,
  setting,
  settings,
  windowUpdate,
} from '../../support/http2-frames.ts';
import { greeted, rawServer } from '../../support/raw-http2.ts';
import { readAll } from '../../support/relay-world.ts';
import { roles, type WireTunnels, wireTunnels } from '../../support/wire-tunnels.ts';
import { type WireWorld, wireWorld } from '../../support/wire-world.ts';

const join = (...parts: readonly Buffer[]) => Buffer.concat(parts);
const trailers = (...fields: readonly (readonly [string, string])[]) =>
  frame(frameType.headers, endHeaders | endStream, 1, headerBlock(fields));

async function inEachRole(
  name: string,
  body: (t: Test, connect: () => Promise<WireTunnels>, world: WireWorld) => Promise<void>,
): Promise<void> {
  await onEachEngine(name, async (t, make) => {
    for (const role of roles) {
      await t.test(`as the ${role}`, async (t) => {
        const world = await wireWorld(t, make);
        await body(t, () => wireTunnels(t, world, role), world);
      });
    }
  });
}

type Ending = readonly [sends: Buffer, how: 'end' | 'reset'];

const last = data(1, 'the end', endStream);
const endings: Readonly<Record<string, Ending>> = {
  'END_STREAM with octets': [last, 'end'],
  'END_STREAM alone': [join(data(1, 'the end'), data(1, '', endStream)), 'end'],
  'END_STREAM with padding alone': [join(data(1, 'the end'), paddedData(1, '', 99, endStream)), 'end'],
  'END_STREAM on trailers': [join(data(1, 'the end'), trailers(['x', 'y'])), 'end'],
  'END_STREAM on trailers in pieces': [
    join(
      data(1, 'the end'),
      frame(frameType.headers, endStream, 1),
      frame(frameType.continuation, endHeaders, 1, headerBlock([['x', 'y']])),
    ),
    'end',
  ],
  'END_STREAM, then RST_STREAM(NO_ERROR)': [join(last, reset(1, 'NO_ERROR')), 'end'],
  'END_STREAM, then RST_STREAM(CANCEL), in one write': [join(last, reset(1, 'CANCEL')), 'reset'],
  'END_STREAM, then RST_STREAM(CONNECT_ERROR), in one write': [join(last, reset(1, 'CONNECT_ERROR')), 'reset'],
  'END_STREAM, then RST_STREAM(REFUSED_STREAM), in one write': [join(last, reset(1, 'REFUSED_STREAM')), 'reset'],
  'RST_STREAM(NO_ERROR) alone': [join(data(1, 'the end'), reset(1, 'NO_ERROR')), 'reset'],
  'RST_STREAM(CANCEL) alone': [join(data(1, 'the end'), reset(1, 'CANCEL')), 'reset'],
  'trailers with a pseudo header': [join(data(1, 'the end'), trailers([':path', '/'])), 'reset'],
  'trailers with a name in capitals': [join(data(1, 'the end'), trailers(['X', 'y'])), 'reset'],
};

await inEachRole('§8.5 END_STREAM is an end, everything else is a reset', async (t, connect) => {
  for (const [name, [sends, how]] of Object.entries(endings)) {
    const { peer, open } = await connect();
    const { stream } = await open();
    const reading = readAll(stream);
    peer.send(sends);
    const seen = await within(name, reading);
    t.equal(seen.how, how, name);
    if (how === 'end') t.equal(seen.data.toString(), 'the end', name);
    await peer.answered('alive');
    t.equal(peer.over, undefined, `${name}: its session goes on`);
    peer.socket.destroy();
  }
});

const cuts: Readonly<Record<string, Buffer>> = {
  'behind a frame': data(1, 'x'),
  'within a frame': data(1, Buffer.alloc(1000)).subarray(0, 500),
  'within the last frame': data(1, Buffer.alloc(1000), endStream).subarray(0, 1008),
  'within the head of the last frame': join(data(1, 'x'), data(1, '', endStream).subarray(0, 8)),
  'within the padding of the last frame': paddedData(1, 'x', 99, endStream).subarray(0, 50),
  'within trailers': join(data(1, 'x'), frame(frameType.headers, endStream, 1)),
  'behind GOAWAY': join(data(1, 'x'), goAway(1)),
};

await inEachRole(
  'a connection that ends without END_STREAM is a reset, wherever it is cut',
  async (t, connect, world) => {
    for (const [name, bytes] of Object.entries(cuts)) {
      for (const leave of ['end', 'destroy'] as const) {
        const { peer, open } = await connect();
        const { stream } = await open();
        const reading = readAll(stream);
        peer.socket.write(bytes, () => peer.socket[leave]());
        t.equal((await within(name, reading)).how, 'reset', `${name}, ${leave}`);
      }
    }
    await eventually('nothing is left', () => world.client.stats().sessions + world.server.stats().sessions === 0);
  },
);

await inEachRole('half-closed by either side first, the other direction goes on', async (t, connect) => {
  for (const first of ['peer', 'relay'] as const) {
    const { peer, open } = await connect();
    const { id, stream } = await open();
    const reading = readAll(stream);
    if (first === 'relay') {
      stream.end('from us');
      await peer.until('our END_STREAM', () => peer.endedStream(id));
      peer.send(data(id, 'still '), data(id, 'here', endStream));
      t.same(await within('the peer’s end', reading), { data: Buffer.from('still here'), how: 'end' });
    } else {
      peer.send(data(id, 'from the peer', endStream));
      t.same(await within('the peer’s end', reading), { data: Buffer.from('from the peer'), how: 'end' });
      stream.write('still ');
      await peer.until('octets behind the peer’s end', () => peer.bytesOf(id).length === 6);
      stream.end('here');
      await peer.until('our END_STREAM', () => peer.endedStream(id));
    }
    t.equal(peer.bytesOf(id).toString(), first === 'relay' ? 'from us' : 'still here');
    await peer.answered('alive');
    t.equal(peer.resetOn(id), undefined, 'closed in peace');
    t.equal(peer.over, undefined);
    if (!stream.closed) await within('its close', once(stream, 'close'));
    peer.socket.destroy();
  }
});

await inEachRole('what we cut is never ended: RST_STREAM without END_STREAM', async (t, connect) => {
  for (const written of [0, 10, 200_000]) {
    const { peer, open } = await connect();
    const { id, stream } = await open();
    if (written > 0) stream.write(Buffer.alloc(written));
    stream.destroy();
    await peer.until('RST_STREAM', () => peer.resetOn(id) !== undefined);
    await peer.answered('behind');
    t.notOk(peer.endedStream(id), `${written} octets`);
    t.not(peer.resetOn(id), 'NO_ERROR');
    peer.socket.destroy();
  }
});

await onEachEngine('§8.5 END_STREAM on the CONNECT: nothing comes, and what is answered goes out', async (t, make) => {
  const world = await wireWorld(t, make);
  const peer = await greeted(world.dial);
  peer.send(connectTo(1, 'take:1', endStream));
  const stream = await world.taken();
  t.same(await within('the end', readAll(stream)), { data: Buffer.alloc(0), how: 'end' });
  stream.end('an answer');
  await peer.until('END_STREAM', () => peer.endedStream(1));
  t.equal(peer.bytesOf(1).toString(), 'an answer');
});

const replies = join(
  ping('between'),
  answer(1, 103, [['link', 'x']]),
  frame(frameType.headers, 0, 1, Buffer.from([0x88])),
  frame(frameType.continuation, endHeaders, 1, headerBlock([['x', 'y']])),
  frame(0xfe, 0xff, 0, Buffer.from('unknown')),
  paddedData(1, 'padded', 7),
  settings([setting.initialWindowSize, 70_000], [setting.maxFrameSize, 20_000]),
  windowUpdate(0, 1000),
  data(1, ''),
  data(1, ' and whole', endStream),
);

await onEachEngine('§4.1 a client understands frames in one piece, in two, and octet by octet', async (t, make) => {
  const world = await wireWorld(t, make);
  const seen = async (places: readonly number[]) => {
    const server = await rawServer(t, world);
    const opening = world.client.open(world.request({ peer: server.address }));
    const peer = await server.accepted();
    await peer.frame(frameType.headers, 1);
    const bounds = [0, ...places, replies.length];
    for (const [i, end] of bounds.slice(1).entries()) peer.send(replies.subarray(bounds[i], end));
    const outcome = await within('an answer', opening);
    if (outcome.kind !== 'open') return outcome.kind;
    const read = await within('its end', readAll(outcome.stream));
    peer.socket.destroy();
    return `${read.data} ${read.how} ${outcome.established.headers}`;
  };
  const expected = 'padded and whole end x,y';
  t.equal(await seen([]), expected, 'one piece');
  t.equal(await seen(Array.from({ length: replies.length - 1 }, (_, i) => i + 1)), expected, 'octets');
  const stride = Math.ceil(replies.length / 4);
  for (let first = 1; first <= stride; first++) {
    const places = [0, 1, 2, 3].map((i) => first + i * stride).filter((place) => place < replies.length);
    t.equal(await seen(places), expected, `cut at ${places.join(', ')}`);
  }
});

const session = join(
  greeting,
  settings([setting.initialWindowSize, 70_000]),
  connectTo(1, 'echo:1'),
  data(1, 'some octets'),
  paddedData(1, 'padded', 7),
  ping('marked'),
  frame(frameType.headers, 0, 3, connectBlock('echo:1').subarray(0, 9)),
  frame(frameType.continuation, endHeaders, 3, connectBlock('echo:1').subarray(9)),
  windowUpdate(3, 1000),
  reset(3, 'CANCEL'),
  data(1, '', endStream),
  goAway(0),
);

await onEachEngine(
  'octets changed, left out or doubled anywhere: the session ends, and others are served',
  async (t, make) => {
    const world = await wireWorld(t, make);
    const change = fc.record({
      at: fc.integer({ min: 0, max: session.length - 1 }),
      kind: fc.constantFrom('set' as const, 'drop' as const, 'double' as const),
      to: fc.integer({ min: 0, max: 255 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        const bytes = [...session];
        for (const { at, kind, to } of changes) {
          if (kind === 'set') bytes[at] = to;
          else if (kind === 'drop') bytes.splice(at, 1);
          else bytes.splice(at, 0, bytes[at] ?? 0);
        }
        const peer = await world.dial();
        peer.send(Buffer.from(bytes));
        peer.socket.end();
        await peer.until('the end of the session', () => peer.over);
      }),
      { numRuns: 100 },
    );
    await eventually(
      'nothing is left',
      () => world.server.stats().sessions === 0 && world.server.stats().streams === 0,
    );
    const honest = await greeted(world.dial);
    honest.send(connectTo(1, 'echo:1'), data(1, 'hello', endStream));
    await honest.until('the echo', () => honest.endedStream(1));
    t.equal(honest.bytesOf(1).toString(), 'hello');
  },
);
