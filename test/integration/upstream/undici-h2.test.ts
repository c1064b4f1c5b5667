/** What undici's HTTP/2 client loses by itself arrives whole through the pools (`src/upstream/undici-h2.ts`). */
import { once } from 'node:events';
import { connect as connectHttp2, constants, createServer, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, connect, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { Duplex, Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import type { UpstreamEndpoint } from '../../../src/upstream/endpoint.ts';
import { createUpstreamPools, type RunningTry, type UpstreamPools } from '../../../src/upstream/pools.ts';
import { mendUndiciStreams } from '../../../src/upstream/undici-h2.ts';
import { eventually, within } from '../../support/eventually.ts';
import { frame, frameType } from '../../support/http2-frames.ts';
import { makeWorkload } from '../../support/mesh-records.ts';

t.test('a long answer with trailers reaches a slow reader whole', async (t) => {
  const size = 3_000_000;
  const world = await makeWorld(t, (stream) => {
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.resume().on('end', () => stream.end(Buffer.alloc(size, 1)));
  });
  const answer = await within('the answer', world.call(Readable.from([Buffer.from('ask')]), true), 20_000);
  t.equal(answer.bytes, size);
  t.same(answer.trailers, ['grpc-status', '0']);
});

t.test('a first message that comes with the head is told while the request is open', async (t) => {
  const world = await makeWorld(t, (stream) => {
    stream.once('data', (chunk: Buffer) => {
      stream.respond({ ':status': 200 });
      stream.write(chunk);
    });
    stream.on('end', () => stream.end());
  });
  const body = new Readable({ read() {} });
  body.push('first');
  const answer = world.call(body, false, () => body.push(null));
  t.equal((await within('the answer', answer)).bytes, 'first'.length);
});

t.test('a request that is given up while its body is queued is cancelled, not lost', async (t) => {
  mendUndiciStreams();
  const codes: (number | undefined)[] = [];
  const server = createServer();
  server.on('stream', (stream) => {
    stream.on('error', () => {});
    stream.on('close', () => codes.push(stream.rstCode));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  t.teardown(() => session.destroy());
  const stream = session.request({ ':method': 'POST', ':path': '/' });
  stream.on('error', () => {});
  // More than the window of a peer that does not read.
  stream.end(Buffer.alloc(1_000_000));
  await once(server, 'stream');
  stream.close();
  stream.destroy();
  await eventually('the peer is told', () => codes.length > 0);
  t.same(codes, [constants.NGHTTP2_CANCEL]);
});

t.test('a server that ends its connection in mid-request fails the request, whenever that is', async (t) => {
  let turns = 0;
  const server = createTcpServer({ allowHalfOpen: true }, async (socket) => {
    socket.on('error', () => {}).resume();
    t.teardown(() => socket.destroy());
    socket.write(frame(frameType.settings, 0, 0));
    await once(socket, 'data');
    for (let i = 0; i < turns; i++) await turn();
    socket.end(frame(frameType.ping, 0, 0, Buffer.alloc(8)));
  });
  const world = await worldOf(t, server);
  for (; turns < 20; turns++) {
    let written = 0;
    const body = new Readable({
      read() {
        setImmediate(() => this.push(Buffer.alloc(++written)));
      },
    });
    await within('the failure', t.rejects(world.call(body, false), { message: /closed/ }));
  }
});

interface Answer {
  readonly bytes: number;
  readonly trailers: readonly string[];
}

interface World {
  /** `slow`: pauses after every chunk. */
  call(body: Readable, slow: boolean, onData?: () => void): Promise<Answer>;
}

async function makeWorld(t: Test, serve: (stream: ServerHttp2Stream) => void): Promise<World> {
  const server = createServer();
  server.on('stream', (stream) => {
    stream.on('error', () => {});
    serve(stream as ServerHttp2Stream);
  });
  return await worldOf(t, server);
}

async function worldOf(t: Test, server: Server): Promise<World> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const pools = createUpstreamPools(
    {
      async connect() {
        const socket = connect(portOf(server), '127.0.0.1');
        await once(socket, 'connect');
        const stream = overBytes(socket);
        return { kind: 'connected', connected: { stream, local: endpoint.address, peer: endpoint.address } };
      },
    },
    systemClock,
  );
  t.teardown(async () => {
    await pools.close();
    server.close();
  });
  return { call: (body, slow, onData) => call(pools, body, slow, onData) };
}

const endpoint: UpstreamEndpoint = {
  workload: makeWorkload(),
  address: { ip: '10.1.2.3', port: 80 },
  transport: { kind: 'plain', socket: plainSocket },
};

function call(pools: UpstreamPools, body: Readable, slow: boolean, onData: () => void = () => {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let bytes = 0;
    const running: RunningTry = pools.send(
      endpoint,
      'h2c',
      { method: 'POST', path: '/', authority: 'echo', headers: ['te', 'trailers'], body, upgrade: undefined },
      {
        inform: () => {},
        head: () => {},
        data(chunk) {
          bytes += chunk.length;
          onData();
          if (slow) setImmediate(() => running.resume());
          return !slow;
        },
        end: (trailers) => resolve({ bytes, trailers }),
        upgraded: () => reject(new Error('upgraded')),
        failed: (_result, error) => reject(error),
      },
    );
  });
}

/** A socket's bytes as a Duplex that is no socket, as those of a tunnel are. */
function overBytes(socket: Socket): Duplex {
  socket.on('error', () => {});
  const duplex = new Duplex({
    read: () => void socket.resume(),
    write: (chunk, _encoding, written) => void socket.write(chunk, written),
    final: (finished) => void socket.end(finished),
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
  });
  socket.on('data', (chunk: Buffer) => {
    if (!duplex.push(chunk)) socket.pause();
  });
  socket.on('end', () => duplex.push(null));
  return duplex;
}

function portOf(server: Server): number {
  return (server.address() as { port: number }).port;
}
