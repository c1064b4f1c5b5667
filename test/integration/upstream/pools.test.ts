/** Pools of upstream connections: reuse, eviction, departure, failures, GOAWAY. */
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createHttp2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import { connect } from 'node:net';
import t, { type Test } from 'tap';
import { Cancellation } from '../../../src/base/cancellation.ts';
import { AmbitError } from '../../../src/base/errors.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import { Circuit } from '../../../src/upstream/circuit.ts';
import type { Connector } from '../../../src/upstream/connector.ts';
import type { UpstreamEndpoint, UpstreamProtocol } from '../../../src/upstream/endpoint.ts';
import { createUpstreamPools, type UpstreamPools } from '../../../src/upstream/pools.ts';
import { type ConnectionLimits, plainConnections, type UpstreamProfile } from '../../../src/upstream/profile.ts';
import { eventually, within } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { makeWorkload } from '../../support/mesh-records.ts';

interface World {
  readonly pools: UpstreamPools;
  readonly clock: FakeClock;
  readonly endpoint: UpstreamEndpoint;
  /** Connections made so far. */
  readonly made: () => number;
  send(protocol?: UpstreamProtocol, method?: string): Promise<string>;
}

async function world(
  t: Test,
  server: Server | ReturnType<typeof createHttp2Server>,
  down = false,
  fields: { readonly leaving?: Cancellation; readonly connections?: Partial<ConnectionLimits> } = {},
): Promise<World> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  let made = 0;
  const connector: Connector = {
    connect: (endpoint) =>
      new Promise((resolve) => {
        made++;
        if (down) {
          resolve({ kind: 'failed', error: new AmbitError('down', { code: 'TEST_DOWN', origin: 'upstream' }) });
          return;
        }
        const socket = connect(endpoint.address.port, endpoint.address.ip);
        socket.on('error', () => {});
        const local = { ip: '127.0.0.1', port: 1 };
        socket.once('connect', () =>
          resolve({
            kind: 'connected',
            connected: { stream: socket, local, peer: endpoint.address, leaving: fields.leaving },
          }),
        );
      }),
  };
  const clock = new FakeClock();
  const pools = createUpstreamPools(connector, clock);
  t.teardown(async () => {
    await pools.close();
    server.close();
  });
  const workload = makeWorkload({ name: 'pod' });
  const address = { ip: '127.0.0.1', port };
  const profile: UpstreamProfile | undefined = fields.connections && {
    key: 'test',
    circuit: new Circuit(),
    queues: false,
    connectTimeoutMs: undefined,
    tcp: undefined,
    tls: undefined,
    proxyProtocol: undefined,
    origin: undefined,
    everywhere: true,
    connections: { ...plainConnections, ...fields.connections },
    refusal: undefined,
  };
  const endpoint: UpstreamEndpoint = { workload, address, transport: { kind: 'plain', socket: plainSocket }, profile };
  return {
    pools,
    clock,
    endpoint,
    made: () => made,
    send: (protocol = 'h1', method = 'GET') =>
      new Promise((resolve) => {
        let status = 0;
        const request = { method, path: '/', authority: 'a', headers: [], body: undefined, upgrade: undefined };
        pools.send(endpoint, protocol, request, {
          inform: () => {},
          head: (got) => {
            status = got;
          },
          data: () => true,
          // undici lets a connection rest for one turn.
          end: () => setImmediate(setImmediate, resolve, String(status)),
          upgraded: () => resolve('upgraded'),
          failed: ({ kind }) => resolve(kind),
        });
      }),
  };
}

const ok: RequestListener = (_request, response) => response.end('ok');

t.test('requests of one endpoint share connections, HEAD too', async (t) => {
  const { send, made, pools } = await world(t, createServer(ok));
  for (const method of ['GET', 'HEAD', 'HEAD', 'POST']) t.equal(await send('h1', method), '200', method);
  t.equal(made(), 1);
  t.equal(pools.size, 1);
});

t.test('a pool without requests is closed after a minute', async (t) => {
  const { send, clock, pools, made } = await world(t, createServer(ok));
  await send();
  clock.advance(59_000);
  t.equal(pools.size, 1);
  await send();
  clock.advance(59_000);
  t.equal(pools.size, 1, 'a request begins the minute anew');
  clock.advance(1000);
  t.equal(pools.size, 0);
  t.equal(await send(), '200');
  t.equal(made(), 2);
});

t.test('a workload that left gets no further request, those under way end', async (t) => {
  let answer: () => void = () => {};
  const server = createServer((_request, response) => {
    answer = () => response.end('late');
  });
  const { send, pools, endpoint } = await world(t, server);
  const running = send();
  await eventually('the request to arrive', () => answer.length === 0 && answer.toString().includes('late'));
  pools.forget(endpoint.workload.uid);
  t.equal(pools.size, 0);
  answer();
  t.equal(await within('the request under way', running), '200');
});

t.test('no connection is told apart from a broken one', async (t) => {
  const dead = await world(t, createServer(ok), true);
  t.equal(await within('the failure', dead.send()), 'connect-failure');
  const breaking = await world(
    t,
    createServer((request) => request.socket.resetAndDestroy()),
  );
  t.equal(await within('the failure', breaking.send()), 'reset');
});

t.test('after GOAWAY a new session is opened while an old stream lives on', async (t) => {
  const sessions: ServerHttp2Session[] = [];
  const held: (() => void)[] = [];
  const server = createHttp2Server();
  server.on('session', (session) => void sessions.push(session.on('error', () => {})));
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => {});
    if (held.length === 0) held.push(() => stream.respond({ ':status': 200 }, { endStream: true }));
    else stream.respond({ ':status': 201 }, { endStream: true });
  });
  const { send, made } = await world(t, server);
  const first = send('h2c');
  await eventually('the stream to arrive', () => held.length === 1);
  sessions[0]?.goaway(0);
  t.equal(
    await within(
      'the second answer',
      eventually('a free session', async () => await send('h2c')),
    ),
    '201',
  );
  t.equal(made(), 2);
  held[0]?.();
  t.equal(await within('the first answer', first), '200');
});

t.test('idle connections go when the way to the endpoint is leaving, requests find another', async (t) => {
  let open = 0;
  const server = createServer(ok).on('connection', (socket) => {
    open++;
    socket.on('close', () => open--);
  });
  const leaving = new Cancellation();
  const { send, pools, made } = await world(t, server, false, { leaving });
  t.equal(await send(), '200');
  t.equal(open, 1);
  leaving.cancel();
  await eventually('the idle connection to be closed', () => open === 0);
  t.equal(pools.size, 0);
  t.equal(await send(), '200');
  t.equal(made(), 2);
});

t.test('a connection stands no longer than the rule says, and serves no more requests', async (t) => {
  const duration = await world(t, createServer(ok), false, {
    connections: { maxDurationMs: 60_000 * 60, idleMs: Infinity },
  });
  await duration.send();
  duration.clock.advance(60_000 * 60 - 1);
  await duration.send();
  t.equal(duration.made(), 1, 'never idle for too long');
  duration.clock.advance(1);
  await duration.send();
  t.equal(duration.made(), 2);
  const server = createHttp2Server();
  server.on('stream', (stream: ServerHttp2Stream) => stream.respond({ ':status': 200 }, { endStream: true }));
  const requests = await world(t, server, false, { connections: { maxRequests: 2 } });
  for (let i = 0; i < 5; i++) t.equal(await requests.send('h2c'), '200');
  t.equal(requests.made(), 3, 'HTTP/2: five requests, two a connection');
});
