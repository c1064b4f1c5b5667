/**
 * What any implementation of the seam must do about sessions and verdicts: statuses, limits, deadlines, GOAWAY, dead
 * peers, rotation, clients that leave. Part of the suite that begins in `relay-compliance.ts`.
 */
import { once } from 'node:events';
import {
  connect as connectHttp2,
  constants,
  createSecureServer,
  type Http2SecureServer,
  type ServerHttp2Stream,
} from 'node:http2';
import { connect, createServer as createTcpServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Test } from 'tap';
import type { SocketAddress } from '../../src/base/address.ts';
import { Cancellation } from '../../src/base/cancellation.ts';
import { AmbitError } from '../../src/base/errors.ts';
import type { ConnectRequest, ConnectVerdict, Join, OpenOutcome } from '../../src/hbone/seam.ts';
import { plainSocket } from '../../src/net/socket-spec.ts';
import { deafListener } from './deaf-listener.ts';
import { eventually, within } from './eventually.ts';
import { FakeClock } from './fake-clock.ts';
import { bothEnded, pair } from './relay-compliance.ts';
import {
  addressOf,
  clientId,
  type MakeRelay,
  makeWorld,
  readAll,
  serverId,
  streamsLeft,
  tcpServer,
  type World,
} from './relay-world.ts';

const bytes = (receive: (stream: Duplex) => void): ConnectVerdict => ({ kind: 'bytes', headers: [], receive });
const echo = () => bytes((stream) => void stream.pipe(stream));

export async function sessionCompliance(t: Test, make: MakeRelay): Promise<void> {
  await t.test('a refusal carries its status, and resets a captured client', async (t) => {
    for (const status of [400, 401, 403, 404, 503]) {
      const world = await makeWorld(t, make, {
        onConnect: () => ({ kind: 'refuse', status, headers: [['x-why', 'because']] }),
      });
      t.match(await world.client.open(world.request()), {
        kind: 'refused',
        status,
        headers: [['x-why', 'because']],
        established: { peerIdentity: serverId },
      });
      const client = await world.connect();
      t.equal((await within('reset', readAll(client))).how, 'reset');
      t.match(world.clientEnds[0], { kind: 'refused', by: 'upstream', status });
      await eventually('no streams left', () => streamsLeft(world) === 0);
    }
  });

  await t.test('an application that refuses is 503, with both ends told', async (t) => {
    const closed = await closedPort();
    const world = await makeWorld(t, make, {
      onConnect: (_request, w) => ({
        kind: 'dial',
        destination: closed,
        socket: plainSocket,
        headers: [],
        observer: w.serverObserver,
      }),
    });
    t.match(await world.client.open(world.request()), { kind: 'refused', status: 503 });
    t.match(world.serverEnds[0], {
      kind: 'failed',
      status: 503,
      error: { code: 'NET_CONNECT_REFUSED', flag: 'CONNECT' },
    });
  });

  await t.test('an HBONE server that refuses TCP is a failure that resets the captured client', async (t) => {
    const closed = await closedPort();
    const world = await makeWorld(t, make, {
      onConnection: (connection, w) => void connection.tunnel(w.request({ peer: closed }), w.clientObserver),
    });
    const client = await world.connect();
    t.equal((await within('reset', readAll(client))).how, 'reset');
    await eventually('end', () => world.clientEnds.length === 1);
    t.match(world.clientEnds[0], { kind: 'failed', established: undefined, error: { retry: 'unsent' } });
  });

  await t.test('a handler that throws ends one stream with 500; its neighbours live on', async (t) => {
    let calls = 0;
    const world = await makeWorld(t, make, {
      onConnect: () => {
        calls++;
        if (calls === 2) throw new Error('a bug');
        return echo();
      },
    });
    const first = opened(await world.client.open(world.request()));
    t.match(await world.client.open(world.request()), { kind: 'refused', status: 500 });
    first.end('still here');
    t.equal((await within('echo', readAll(first))).data.toString(), 'still here');
  });

  await t.test('a stream of bytes: end is END_STREAM, a reset is an error and never an end', async (t) => {
    const received: Duplex[] = [];
    const world = await makeWorld(t, make, { onConnect: () => bytes((stream) => void received.push(stream)) });
    for (const ending of ['end', 'destroy', 'destroy after half-close'] as const) {
      for (const ender of ['client', 'server'] as const) {
        const own = opened(await world.client.open(world.request()));
        const other = await eventually('received', () => received.pop());
        const [from, to] = ender === 'client' ? [own, other] : [other, own];
        const events: string[] = [];
        for (const event of ['end', 'error', 'close']) to.on(event, () => events.push(event));
        let text = '';
        to.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        if (ending === 'destroy after half-close') {
          to.end();
          from.resume();
          await within('half-close', once(from, 'end'));
        }
        from.write('partial');
        await eventually('bytes', () => text === 'partial');
        if (ending === 'end') {
          from.end();
          await eventually('end', () => events.includes('end'));
          to.end();
          from.resume();
        } else {
          from.destroy();
        }
        await eventually(`${ending} by ${ender}`, () => events.includes('close'));
        t.same(events, ending === 'end' ? ['end', 'close'] : ['error', 'close'], `${ending} by ${ender}`);
      }
    }
    await eventually('no streams left', () => streamsLeft(world) === 0);
  });

  await t.test('a client that leaves before the verdict aborts the request, and nothing is dialled', async (t) => {
    const requests: ConnectRequest[] = [];
    let decide: ((verdict: ConnectVerdict) => void) | undefined;
    const world = await makeWorld(t, make, {
      onConnect: (request) => {
        requests.push(request);
        return new Promise((resolve) => {
          decide = resolve;
        });
      },
    });
    const client = await world.connect();
    const request = await eventually('asked', () => requests[0]);
    client.resetAndDestroy();
    await eventually('gone', () => request.gone.cancelled);
    decide?.({
      kind: 'dial',
      destination: world.app,
      socket: plainSocket,
      headers: [],
      observer: world.serverObserver,
    });
    await bothEnded(world);
    t.match(world.clientEnds[0], { kind: 'reset', by: 'downstream' });
    t.match(world.serverEnds[0], { kind: 'reset', by: 'downstream' });
    t.equal(world.appSockets.length, 0);
  });

  await t.test(
    'who stops a CONNECT before it is answered is told as the reason, and the client sees a reset',
    async (t) => {
      const joins: Join[] = [];
      const deaf = await deafListener(t);
      const world = await makeWorld(t, make, {
        onConnect: (_request, w) => ({
          kind: 'dial',
          destination: deaf,
          socket: plainSocket,
          headers: [],
          observer: w.serverObserver,
          joined: (join) => joins.push(join),
        }),
      });
      const opening = world.client.open(world.request());
      const join = await eventually('asked', () => joins[0]);
      const error = new AmbitError('the policy has changed', { code: 'POLICY_CHANGED', origin: 'local', flag: 'DENY' });
      join.stop(error);
      t.match(await within('the reset', opening), { kind: 'failed', error: { code: 'HBONE_STREAM_RESET' } });
      t.match(world.serverEnds, [{ kind: 'stopped', by: 'local', error }]);
    },
  );

  await t.test('a tunnel may be joined with another tunnel', async (t) => {
    const world = await makeWorld(t, make, {
      onConnect: (request, w) =>
        request.authority === 'inner:80'
          ? echo()
          : {
              kind: 'tunnel',
              request: { ...w.request(), authority: 'inner:80' },
              headers: [['x-hop', '1']],
              observer: w.serverObserver,
            },
    });
    world.serverSecrets.put(await world.ca.issue(clientId));
    const outcome = await world.client.open(world.request());
    t.match(outcome, { kind: 'open', established: { headers: [['x-hop', '1']] } });
    const stream = opened(outcome);
    stream.end('there and back');
    t.same(await within('echo', readAll(stream)), { data: Buffer.from('there and back'), how: 'end' });
    await eventually('end', () => world.serverEnds.length === 1);
    t.match(world.serverEnds[0], { kind: 'closed', counts: { toUpstream: 14, toDownstream: 14 } });
  });

  await t.test("the peer's stream limit is honoured by opening further sessions", async (t) => {
    const world = await makeWorld(t, make, { onConnect: echo, serve: { maxStreamsPerSession: 10 } });
    const outcomes = await within(
      '25 tunnels',
      Promise.all(Array.from({ length: 25 }, () => world.client.open(world.request()))),
    );
    t.ok(outcomes.every((outcome) => outcome.kind === 'open'));
    t.equal(world.server.stats().sessions, 3);
    t.equal(world.server.stats().streams, 25);
  });

  await t.test('after GOAWAY the next tunnel takes a new session, and the old one lives on', async (t) => {
    const world = await makeWorld(t, make);
    const peer = await rawServer(t, world, (stream) => respondEcho(stream));
    const first = opened(await world.client.open(world.request({ peer: peer.address })));
    for (const session of peer.sessions) session.goaway(constants.NGHTTP2_NO_ERROR);
    await eventually('second session', async () => {
      opened(await world.client.open(world.request({ peer: peer.address }))).destroy();
      return peer.sessions.size === 2;
    });
    first.end('still here');
    t.equal((await within('echo', readAll(first))).data.toString(), 'still here');
  });

  await t.test('a CONNECT that the peer did not process is tried again', async (t) => {
    const world = await makeWorld(t, make);
    let refusals = 0;
    const peer = await rawServer(t, world, (stream) => {
      if (++refusals <= 2) stream.close(constants.NGHTTP2_REFUSED_STREAM);
      else respondEcho(stream);
    });
    t.equal((await world.client.open(world.request({ peer: peer.address }))).kind, 'open');
    t.equal(refusals, 3);
    const stubborn = await rawServer(t, world, (stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM));
    t.match(await world.client.open(world.request({ peer: stubborn.address })), {
      kind: 'failed',
      error: { code: 'HBONE_NOT_PROCESSED', retry: 'unsent' },
    });
    const broken = await rawServer(t, world, (stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
    t.match(await world.client.open(world.request({ peer: broken.address })), {
      kind: 'failed',
      error: { code: 'HBONE_STREAM_RESET', retry: 'never' },
    });
  });

  await t.test('every wait of a client has a deadline', async (t) => {
    const clientClock = new FakeClock();
    const world = await makeWorld(t, make, { clientClock });
    const mute = await tcpServer(t, () => {});
    const answerless = await rawServer(t, world, () => {});
    const cases: readonly (readonly [string, SocketAddress, string])[] = [
      ['TCP', await deafListener(t), 'HBONE_CONNECT_TIMEOUT'],
      ['TLS', addressOf(mute), 'HBONE_TLS_TIMEOUT'],
      ['CONNECT', answerless.address, 'HBONE_ANSWER_TIMEOUT'],
    ];
    for (const [name, peer, code] of cases) {
      const opening = world.client.open(world.request({ peer }));
      if (name === 'CONNECT') await eventually('asked', () => answerless.streams === 1);
      else await eventually('waiting', () => clientClock.pending >= 2);
      await clientClock.advanceAsync(20_000);
      t.match(await within(name, opening), { kind: 'failed', error: { code } }, name);
    }
    await eventually('cancelled', () => answerless.openStreams === 0);
    const leaving = new Cancellation();
    const opening = world.client.open(world.request({ peer: answerless.address }), leaving);
    await eventually('asked', () => answerless.streams === 2);
    leaving.cancel();
    t.match(await within('abort', opening), { kind: 'failed', error: { code: 'HBONE_ABANDONED' } });
    await eventually('cancelled', () => answerless.openStreams === 0);
  });

  await t.test('a handshake that does not end is denied by the server', async (t) => {
    const serverClock = new FakeClock();
    const world = await makeWorld(t, make, { serverClock });
    const { ip: host, port } = world.served.address;
    const socket = connect({ host, port });
    await eventually('accepted', () => serverClock.pending >= 1);
    serverClock.advance(10_000);
    await within('closed', readAll(socket));
    t.match(world.denied, [{ code: 'HBONE_TLS_FAILED' }]);
  });

  await t.test('one address cannot hold all of a listener, with a certificate or without', async (t) => {
    const world = await makeWorld(t, make, {
      onConnect: echo,
      options: { maxServerSessions: 6, maxSessionsPerPeer: 3, maxHandshakesPerPeer: 2 },
    });
    const { ip: host, port } = world.served.address;
    const mute: Socket[] = [];
    for (let i = 0; i < 4; i++) {
      const socket = connect({ host, port });
      t.teardown(() => socket.destroy());
      socket.on('error', () => {});
      mute.push(socket);
    }
    await eventually('two refused', () => world.denied.length === 2);
    t.match(world.denied, [{ code: 'HBONE_PEER_LIMIT' }, { code: 'HBONE_PEER_LIMIT' }]);
    const neighbour = world.request({ socket: { ...plainSocket, source: '127.0.0.2' } });
    t.equal((await within('another address', world.client.open(neighbour))).kind, 'open');
    for (const socket of mute) socket.destroy();
    await eventually('the two have left', () => world.denied.length === 4);
    const { serverMaterial } = await world.ca.issue(clientId);
    const session = async () => {
      const raw = connectHttp2(`https://${host}:${port}`, { ...serverMaterial, checkServerIdentity: () => undefined });
      t.teardown(() => raw.destroy());
      raw.on('error', () => {});
      return await once(raw, 'remoteSettings').then(
        () => raw,
        () => undefined,
      );
    };
    const held = [await session(), await session(), await session()];
    t.notOk(held.includes(undefined), 'finished handshakes do not count as unfinished ones');
    t.equal(await within('the refusal', session()), undefined);
    t.match(world.denied[4], { code: 'HBONE_PEER_LIMIT' });
    held[0]?.destroy();
    await eventually('its place is free', async () => (await session()) !== undefined);
  });

  await t.test('a peer that answers no PING is dead after 30 s, and its tunnels are reset', async (t) => {
    const clientClock = new FakeClock();
    const world = await makeWorld(t, make, { clientClock });
    const between = await freezable(t, world.served.address);
    const echoing = opened(await world.client.open(world.request({ peer: between.address })));
    const reading = readAll(echoing);
    await clientClock.advanceAsync(10_000);
    // Answered after the PING of this beat, on the same session.
    opened(await world.client.open(world.request({ peer: between.address }))).destroy();
    t.equal(world.client.stats().sessions, 1);
    between.freeze();
    await clientClock.advanceAsync(29_000);
    t.equal(world.client.stats().sessions, 1);
    await clientClock.advanceAsync(11_000);
    t.equal((await within('reset', reading)).how, 'reset');
    await eventually('session closed', () => world.client.stats().sessions === 0);
  });

  await t.test('a session without streams is released after five minutes', async (t) => {
    const clientClock = new FakeClock();
    const world = await makeWorld(t, make, { clientClock, onConnect: echo });
    const stream = opened(await world.client.open(world.request()));
    await beats(clientClock, 40);
    t.equal(world.client.stats().sessions, 1, 'not while it has one');
    stream.end();
    await within('end', readAll(stream));
    await eventually('stream closed', () => world.client.stats().streams === 0);
    await beats(clientClock, 20);
    t.equal(world.client.stats().sessions, 1);
    await beats(clientClock, 20);
    await eventually('released', () => world.client.stats().sessions === 0);
  });

  await t.test('rotation keeps live tunnels, and new ones use the new certificates on both sides', async (t) => {
    const world = await makeWorld(t, make, { onConnect: echo });
    const before = opened(await world.client.open(world.request()));
    world.clientSecrets.put(await world.ca.issue(clientId, { generation: 2 }));
    world.serverSecrets.put(await world.ca.issue(serverId, { generation: 2 }));
    const after = opened(await world.client.open(world.request()));
    t.equal(world.client.stats().sessions, 2);
    for (const stream of [before, after]) {
      stream.end('alive');
      t.equal((await within('echo', readAll(stream))).data.toString(), 'alive');
    }
    await eventually('the old session went', () => world.client.stats().sessions === 1);
  });

  await t.test('whoever waits for a new session is not given to one that is leaving', async (t) => {
    const world = await makeWorld(t, make, { onConnect: echo });
    const held: (() => void)[] = [];
    let connections = 0;
    const gate = await tcpServer(t, (socket) => {
      const pass = () => {
        const onward = connect(world.target().peer.port, '127.0.0.1').on('error', () => socket.destroy());
        socket.pipe(onward).pipe(socket);
      };
      if (connections++ === 0) pass();
      else held.push(pass);
    });
    const request = world.request({ peer: addressOf(gate) });
    const old: Duplex[] = [];
    for (let i = 0; i < 6; i++) old.push(opened(await world.client.open(request)));
    world.clientSecrets.put(await world.ca.issue(clientId, { generation: 2 }));
    const waiting = world.client.open(request);
    const release = await eventually('a new session is being opened', () => held.shift());
    // Streams of the old one end meanwhile, one after another, so that it has room.
    for (const stream of old.splice(1)) {
      const { streams } = world.client.stats();
      stream.end('gone');
      await within('echo', readAll(stream));
      await eventually('its end is known', () => world.client.stats().streams < streams);
    }
    release();
    const after = opened(await waiting);
    for (const stream of [after, ...old]) {
      stream.end('alive');
      t.equal((await within('echo', readAll(stream))).data.toString(), 'alive');
    }
  });

  await t.test('a forgotten peer or identity gets no new stream on its old session', async (t) => {
    const world = await makeWorld(t, make, { onConnect: echo });
    const first = opened(await world.client.open(world.request()));
    world.client.forgetPeer('127.0.0.1');
    const second = opened(await world.client.open(world.request()));
    t.equal(world.client.stats().sessions, 2);
    world.client.forgetIdentity(clientId);
    const third = opened(await world.client.open(world.request()));
    t.equal(world.client.stats().sessions, 3);
    for (const stream of [first, second, third]) {
      stream.end('alive');
      t.equal((await within('echo', readAll(stream))).data.toString(), 'alive');
    }
    await eventually('one left', () => world.client.stats().sessions === 1);
  });

  await t.test('a closed listener sends GOAWAY and lets live tunnels finish', async (t) => {
    const world = await makeWorld(t, make);
    const { client, app } = await pair(world);
    await world.served.close();
    t.match(await world.client.open(world.request()), { kind: 'failed' });
    client.end('until the end');
    t.equal((await within('bytes', readAll(app))).data.toString(), 'until the end');
    app.end();
    await bothEnded(world);
    t.equal(world.serverEnds[0]?.kind, 'closed');
    await eventually('session ended', () => world.server.stats().sessions === 0);
  });

  await t.test('destroying a listener or closing a relay resets what is left', async (t) => {
    const world = await makeWorld(t, make);
    const { client, app } = await pair(world);
    const seen = [readAll(client), readAll(app)];
    client.write('established');
    await within('bytes', once(app, 'data'));
    world.served.destroy();
    for (const { how } of await within('resets', Promise.all(seen))) t.equal(how, 'reset');
    await bothEnded(world);
    t.not(world.clientEnds[0]?.kind, 'closed');
    t.not(world.serverEnds[0]?.kind, 'closed');
  });

  await t.test('a raw client meets the limits of the server', async (t) => {
    const world = await makeWorld(t, make, { serve: { maxStreamsPerSession: 3 }, onConnect: echo });
    const { serverMaterial } = await world.ca.issue(clientId);
    const session = connectHttp2(`https://127.0.0.1:${world.served.address.port}`, {
      ...serverMaterial,
      checkServerIdentity: () => undefined,
    });
    session.on('error', () => {});
    t.teardown(() => session.destroy());
    await within('settings', once(session, 'remoteSettings'));
    t.match(session.remoteSettings, { maxConcurrentStreams: 3, maxHeaderListSize: 65_536, maxFrameSize: 1_048_576 });
    for (const headers of [
      { ':method': 'GET', ':path': '/', ':authority': 'x:1', ':scheme': 'https' },
      { ':method': 'POST', ':path': '/', ':authority': 'x:1', ':scheme': 'https' },
    ]) {
      const stream = session.request(headers);
      const [answer] = (await within('answer', once(stream, 'response'))) as [{ ':status': number }];
      t.equal(answer[':status'], 400);
      stream.resume();
      await within('closed', once(stream, 'close'));
    }
    const big = session.request({ ':method': 'CONNECT', ':authority': 'x:1', 'x-big': 'x'.repeat(70_000) });
    const end = await within(
      'refused',
      new Promise((resolve) => {
        big.once('response', ({ ':status': status }) => resolve(status));
        big.once('error', () => resolve('reset'));
      }),
    );
    t.match(String(end), /431|reset/);
  });

  await t.test('a client that resets streams without end loses its session, and others do not notice', async (t) => {
    const world = await makeWorld(t, make, { onConnect: echo, options: { streamResetBurst: 20, streamResetRate: 1 } });
    const neighbour = opened(await world.client.open(world.request()));
    const { serverMaterial } = await world.ca.issue(clientId);
    const session = connectHttp2(`https://127.0.0.1:${world.served.address.port}`, {
      ...serverMaterial,
      checkServerIdentity: () => undefined,
    });
    session.on('error', () => {});
    t.teardown(() => session.destroy());
    const goaway = within('GOAWAY', once(session, 'goaway'));
    for (let i = 0; i < 100 && !session.destroyed; i++) {
      const stream = session.request({ ':method': 'CONNECT', ':authority': 'x:1' });
      stream.on('error', () => {});
      stream.close(constants.NGHTTP2_CANCEL);
    }
    const [code] = await goaway;
    t.not(code, constants.NGHTTP2_NO_ERROR);
    neighbour.end('alive');
    t.equal((await within('echo', readAll(neighbour))).data.toString(), 'alive');
    await eventually('one session left', () => world.server.stats().sessions === 1);
  });
}

function opened(outcome: OpenOutcome): Duplex {
  if (outcome.kind === 'open') return outcome.stream;
  throw new Error(`not open: ${outcome.kind} ${outcome.kind === 'failed' ? outcome.error.message : outcome.status}`);
}

function respondEcho(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200 });
  stream.pipe(stream);
}

interface RawServer {
  readonly address: SocketAddress;
  readonly sessions: Set<{ goaway(code: number): void }>;
  streams: number;
  openStreams: number;
}

/** A plain node:http2 server with the world's server certificate: a peer that is not ours. */
async function rawServer(t: Test, world: World, onStream: (stream: ServerHttp2Stream) => void): Promise<RawServer> {
  const { serverMaterial } = await world.ca.issue(serverId);
  const server: Http2SecureServer = createSecureServer({
    ...serverMaterial,
    requestCert: true,
    rejectUnauthorized: true,
  });
  const live = new Set<{ destroy(): void }>();
  server.on('session', (session) => {
    raw.sessions.add(session);
    live.add(session);
    session.on('error', () => {});
  });
  server.on('stream', (stream: ServerHttp2Stream) => {
    raw.streams++;
    raw.openStreams++;
    stream.on('error', () => {});
    stream.once('close', () => raw.openStreams--);
    onStream(stream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const session of live) session.destroy();
    server.close();
  });
  const raw: RawServer = { address: addressOf(server), sessions: new Set(), streams: 0, openStreams: 0 };
  return raw;
}

async function closedPort(): Promise<SocketAddress> {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = addressOf(server);
  server.close();
  await once(server, 'close');
  return address;
}

/** A TCP forwarder that can stop moving bytes, as a dead network does. */
async function freezable(t: Test, to: SocketAddress): Promise<{ address: SocketAddress; freeze(): void }> {
  const sockets: Socket[] = [];
  const server = await tcpServer(t, (socket) => {
    const onward = connect({ host: to.ip, port: to.port });
    onward.on('error', () => {});
    t.teardown(() => onward.destroy());
    socket.pipe(onward);
    onward.pipe(socket);
    sockets.push(socket, onward);
  });
  return {
    address: addressOf(server),
    freeze: () => {
      for (const socket of sockets) socket.unpipe().pause();
    },
  };
}

/** Ten-second beats, with turns of the event loop for the answers to their PINGs: both ends are in this process. */
async function beats(clock: FakeClock, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    clock.advance(10_000);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
}
