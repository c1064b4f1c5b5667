/** What the pool of either engine does when sessions are few, fail, or are worth nothing; and what ours does better. */
import { once } from 'node:events';
import { createServer as createTcpServer } from 'node:net';
import type { Duplex } from 'node:stream';
import t, { type Test } from 'tap';
import { Cancellation } from '../../../src/base/cancellation.ts';
import { AmbitError } from '../../../src/base/errors.ts';
import { framing } from '../../../src/hbone/http2/framing.ts';
import { createRelay } from '../../../src/hbone/relay.ts';
import type { OpenOutcome, TunnelRequest } from '../../../src/hbone/seam.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import { eventually, within } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { onEachEngine } from '../../support/http2-engines.ts';
import { answer, frameType, goAway, setting, settings } from '../../support/http2-frames.ts';
import { rawServer } from '../../support/raw-http2.ts';
import {
  addressOf,
  clientId,
  type MakeRelay,
  makeWorld,
  readAll,
  type World,
  type WorldOptions,
} from '../../support/relay-world.ts';

const ours: MakeRelay = (dependencies) => createRelay({ ...dependencies, http2: framing });
const echo = () => ({ kind: 'bytes', headers: [], receive: (stream: Duplex) => void stream.pipe(stream) }) as const;

/** Requests from different addresses are of different sources, and share no session. */
function from(world: World, ip: string): TunnelRequest {
  return world.request({ socket: { ...plainSocket, source: ip } });
}

t.test('with all places taken idle sessions go, and who finds none waits', async (t) => {
  const clientClock = new FakeClock();
  const world = await makeOurs(t, { clientClock, onConnect: echo, options: { maxClientSessions: 2 } });
  const { client } = world;
  const kept = opened(await client.open(from(world, '127.0.0.2')));
  const used = opened(await client.open(from(world, '127.0.0.3')));
  await echoed(used);
  await eventually('the second is idle', () => client.stats().streams === 1);
  const third = opened(await within('its place', client.open(from(world, '127.0.0.4'))));
  t.equal(client.stats().sessions, 2);
  const late = client.open(from(world, '127.0.0.5'));
  const waiting = client.open(from(world, '127.0.0.6'));
  await echoed(kept);
  const fourth = opened(await within('the place of the first', late));
  t.equal(client.stats().sessions, 2);
  await clientClock.advanceAsync(60_000);
  t.match(await within('the deadline', waiting), {
    kind: 'failed',
    error: { code: 'HBONE_SESSION_TIMEOUT', retry: 'unsent' },
  });
  for (const stream of [third, fourth]) await echoed(stream);
});

await onEachEngine(
  'a session that cannot be opened fails all who waited for it, and is tried anew',
  async (t, make) => {
    const world = await makeWorld(t, make, { onConnect: echo });
    let connections = 0;
    const server = createTcpServer((socket) => {
      connections++;
      socket.on('error', () => {});
      socket.once('data', () => socket.destroy());
    }).listen(0, '127.0.0.1');
    t.teardown(() => server.close());
    await once(server, 'listening');
    const request = world.request({ peer: addressOf(server) });
    const all = await within('failures', Promise.all([1, 2, 3].map(() => world.client.open(request))));
    for (const outcome of all)
      t.match(outcome, { kind: 'failed', error: { code: 'HBONE_TLS_FAILED', retry: 'unsent' } });
    t.equal(connections, 1, 'one for all');
    t.match(await within('another', world.client.open(request)), { kind: 'failed' });
    t.equal(connections, 2);
  },
);

await onEachEngine(
  'a peer that ends the session before its SETTINGS, or never sends them, is no session',
  async (t, make) => {
    const clientClock = new FakeClock();
    const world = await makeWorld(t, make, { clientClock });
    const server = await rawServer(t, world);
    const request = world.request({ peer: server.address });
    const ended = world.client.open(request);
    (await server.accepted({ greet: Buffer.alloc(0) })).socket.end();
    t.match(await within('its end', ended), { kind: 'failed', error: { code: 'HBONE_SESSION', retry: 'unsent' } });
    const silent = world.client.open(request);
    await server.accepted({ greet: Buffer.alloc(0) });
    await eventually('the deadline of SETTINGS runs', () => clientClock.nextInMs === 10_000);
    await clientClock.advanceAsync(10_000);
    t.match(await within('the deadline', silent), {
      kind: 'failed',
      error: { code: 'HBONE_SESSION', retry: 'unsent' },
    });
    t.equal(world.client.stats().sessions, 0);
  },
);

await onEachEngine('who gives up while a session is opened leaves it to the others', async (t, make) => {
  const world = await makeWorld(t, make);
  const server = await rawServer(t, world);
  const request = world.request({ peer: server.address });
  const leaver = new Cancellation();
  const first = world.client.open(request, leaver);
  const second = world.client.open(request);
  const peer = await server.accepted({ greet: Buffer.alloc(0) });
  leaver.cancel();
  t.match(await within('the first', first), { kind: 'failed', error: { code: 'HBONE_ABANDONED' } });
  peer.send(settings());
  await peer.frame(frameType.headers, 1);
  peer.send(answer(1, 200));
  opened(await within('the second', second)).destroy();
  t.equal(world.client.stats().sessions, 1);
});

t.test(
  'a peer that allows no streams is one session, whoever asks, and serves them in order when it allows some',
  async (t) => {
    const clientClock = new FakeClock();
    const world = await makeOurs(t, { clientClock });
    const server = await rawServer(t, world);
    const ask = (authority: string) => world.client.open({ ...world.request({ peer: server.address }), authority });
    const early = ask('early:80');
    const peer = await server.accepted({ greet: settings([setting.maxConcurrentStreams, 0]) });
    await eventually('it stands', () => world.client.stats().sessions === 1);
    await clientClock.advanceAsync(20_000);
    const rest = [ask('first:80'), ask('second:80')];
    await clientClock.advanceAsync(20_000);
    t.match(await within('the deadline', early), { kind: 'failed', error: { code: 'HBONE_SESSION_TIMEOUT' } });
    t.equal(world.client.stats().sessions, 1);
    peer.send(settings([setting.maxConcurrentStreams, 1]));
    const head = await peer.frame(frameType.headers, 1);
    t.match(head.payload.toString('latin1'), /first/);
    // It allows one at a time now: another session is wanted for the other.
    const next = await server.accepted({ greet: settings([setting.maxConcurrentStreams, 1]) });
    t.match((await next.frame(frameType.headers, 1)).payload.toString('latin1'), /second/);
    for (const one of [peer, next]) one.send(answer(1, 200));
    for (const stream of rest) opened(await within('an answer', stream)).destroy();
  },
);

t.test('a session that goes as soon as it stands gives back who waited, unsent', async (t) => {
  const world = await makeOurs(t, { options: { unsentRetries: 0 } });
  const server = await rawServer(t, world);
  const opening = world.client.open(world.request({ peer: server.address }));
  const peer = await server.accepted({ greet: Buffer.alloc(0) });
  peer.send(Buffer.concat([settings(), goAway(0)]));
  t.match(await within('the outcome', opening), {
    kind: 'failed',
    error: { code: 'HBONE_NOT_PROCESSED', retry: 'unsent' },
  });
  await eventually('nothing is left', () => world.client.stats().sessions === 0);
});

t.test(
  'a peer or an identity that is forgotten while its session is opened: that serves who waited, and no more',
  async (t) => {
    for (const what of ['peer', 'identity'] as const) {
      const world = await makeOurs(t);
      const server = await rawServer(t, world);
      const request = world.request({ peer: server.address });
      const before = world.client.open(request);
      const old = await server.accepted({ greet: Buffer.alloc(0) });
      if (what === 'peer') world.client.forgetPeer(server.address.ip);
      else world.client.forgetIdentity(clientId);
      // It came when nothing vouched for the session any more, and before that stood.
      const between = world.client.open({ ...request, authority: 'between:80' });
      old.send(settings());
      await old.frame(frameType.headers, 1);
      const after = world.client.open({ ...request, authority: 'after:80' });
      const fresh = await server.accepted();
      await fresh.frame(frameType.headers, 3);
      for (const peer of [old, fresh]) peer.send(answer(1, 200));
      fresh.send(answer(3, 200));
      for (const stream of [before, between, after]) opened(await within('an answer', stream)).destroy();
      t.notOk(
        old.frames.some(({ type, id }) => type === frameType.headers && id !== 1),
        what,
      );
    }
  },
);

t.test('a relay that is closed fails who waits, and nothing it was opening is left', async (t) => {
  const world = await makeOurs(t);
  const server = await rawServer(t, world);
  const request = world.request({ peer: server.address });
  const waiting = world.client.open(request);
  const peer = await server.accepted({ greet: Buffer.alloc(0) });
  await world.client.close();
  t.match(await within('the end', waiting), { kind: 'failed', error: { code: 'HBONE_ABANDONED' } });
  await peer.until('the connection is closed', () => peer.over !== undefined);
  t.match(await world.client.open(request), { kind: 'failed', error: { code: 'HBONE_ABANDONED' } });
});

t.test('headers that cannot be sent fail their own CONNECT, and no neighbour', async (t) => {
  const world = await makeOurs(t, { onConnect: echo });
  const bad: TunnelRequest = { ...world.request(), headers: [['x-bad', 'a\nb']] };
  const outcomes = [world.client.open(bad), world.client.open(world.request()), world.client.open(bad)];
  const [first, good, last] = await within('outcomes', Promise.all(outcomes));
  for (const outcome of [first, last]) {
    t.match(outcome, { kind: 'failed', error: { code: 'HBONE_NOT_PROCESSED', cause: TypeError } });
    t.ok(outcome?.kind === 'failed' && outcome.error instanceof AmbitError);
  }
  if (good !== undefined) await echoed(opened(good));
  t.equal(world.client.stats().sessions, 1);
});

function makeOurs(t: Test, options: WorldOptions = {}): Promise<World> {
  return makeWorld(t, ours, options);
}

function opened(outcome: OpenOutcome): Duplex {
  if (outcome.kind === 'open') return outcome.stream;
  throw new Error(`not open: ${outcome.kind} ${outcome.kind === 'failed' ? outcome.error.message : outcome.status}`);
}

async function echoed(stream: Duplex): Promise<void> {
  stream.end('bye');
  await within('the echo', readAll(stream));
}
