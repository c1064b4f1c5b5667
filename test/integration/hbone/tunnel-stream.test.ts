/** Tunnels as Duplexes under the HTTP engines that the waypoint puts on them: node:http, undici, node:http2. */
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { connect as connectHttp2, performServerHandshake } from 'node:http2';
import type { Duplex } from 'node:stream';
import type { Test } from 'tap';
import { Client } from 'undici';
import { eventually, within } from '../../support/eventually.ts';
import { onEachEngine } from '../../support/http2-engines.ts';
import { type MakeRelay, makeWorld, type World } from '../../support/relay-world.ts';

function httpServer(t: Test) {
  const server = createHttpServer((request, response) => {
    request.on('error', () => {});
    if (request.url === '/cut') {
      response.write('partial');
      setImmediate(() => request.socket.destroy());
      return;
    }
    response.setHeader('x-method', String(request.method));
    request.pipe(response);
  });
  t.teardown(() => server.close());
  return server;
}

function worldOf(t: Test, make: MakeRelay, receive: (stream: Duplex) => void): Promise<World> {
  return makeWorld(t, make, { onConnect: () => ({ kind: 'bytes', headers: [], receive }) });
}

async function openStream(world: World): Promise<Duplex> {
  const outcome = await world.client.open(world.request());
  if (outcome.kind !== 'open') throw new Error(outcome.kind);
  return outcome.stream;
}

function client(t: Test, world: World): Client {
  const undici = new Client('http://app.example', {
    connect: (_options, callback) => {
      // undici asks for a socket and uses what every Duplex has.
      openStream(world).then(
        (stream) => callback(null, stream as never),
        (error) => callback(error, null),
      );
    },
  });
  t.teardown(() => undici.destroy());
  return undici;
}

await onEachEngine('undici over a tunnel to node:http over a tunnel, kept alive, with bodies', async (t, make) => {
  const server = httpServer(t);
  const world = await worldOf(t, make, (stream) => void server.emit('connection', stream));
  const undici = client(t, world);
  for (const size of [0, 1, 1_000_000]) {
    const body = Buffer.alloc(size, 'a');
    const answer = await within('answer', undici.request({ method: 'POST', path: '/', body }));
    t.equal(answer.headers['x-method'], 'POST');
    t.same(Buffer.from(await answer.body.arrayBuffer()), body);
  }
  t.equal(world.server.stats().streams, 1, 'one tunnel for all');
  await undici.close();
  await eventually('the tunnel ended', () => world.server.stats().streams + world.client.stats().streams === 0);
});

await onEachEngine('a response that is cut is an error at the client, not the end of a body', async (t, make) => {
  const server = httpServer(t);
  const world = await worldOf(t, make, (stream) => void server.emit('connection', stream));
  const answer = await client(t, world).request({ method: 'GET', path: '/cut' });
  await within('body', t.rejects(answer.body.text()));
});

await onEachEngine('a client that leaves in mid-request is noticed by the server', async (t, make) => {
  const server = createHttpServer();
  t.teardown(() => server.close());
  const aborted = new Promise<void>((resolve) => {
    server.on('request', (request) => {
      request.on('error', () => resolve());
      request.resume();
    });
  });
  const world = await worldOf(t, make, (stream) => void server.emit('connection', stream));
  const stream = await openStream(world);
  stream.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf');
  await once(server, 'request');
  stream.destroy();
  await within('aborted', aborted);
});

await onEachEngine('HTTP/2 over a tunnel, many streams at once', async (t, make) => {
  const world = await worldOf(t, make, (stream) => {
    const session = performServerHandshake(stream);
    session.on('error', () => {});
    session.on('stream', (inner) => {
      inner.respond({ ':status': 200 });
      inner.pipe(inner);
    });
  });
  const tunnel = await openStream(world);
  const session = connectHttp2('http://app.example', { createConnection: () => tunnel });
  session.on('error', () => {});
  const body = Buffer.alloc(300_000, 'b');
  const sizes = await within(
    'echoes',
    Promise.all(
      Array.from({ length: 20 }, async () => {
        const inner = session.request({ ':method': 'POST', ':path': '/' });
        inner.end(body);
        let size = 0;
        for await (const chunk of inner) size += (chunk as Buffer).length;
        return size;
      }),
    ),
    15_000,
  );
  t.ok(sizes.every((size) => size === body.length));
  session.close();
  await eventually('the tunnel ended', () => world.client.stats().streams === 0);
});

await onEachEngine(
  'what is written in one turn arrives whole and in order, little or much, and little of it at once',
  async (t, make) => {
    const served = Promise.withResolvers<Duplex>();
    const world = await worldOf(t, make, served.resolve);
    const stream = await openStream(world);
    const server = await served.promise;
    const chunks: Buffer[] = [];
    server.on('data', (chunk: Buffer) => chunks.push(chunk));
    const received = () => Buffer.concat(chunks);
    const write = (parts: readonly Buffer[]) => {
      stream.cork();
      for (const part of parts) stream.write(part);
      stream.uncork();
    };
    const little = ['head\r\n', 'size', '', 'body'].map((text) => Buffer.from(text));
    write(little);
    await eventually('little to arrive', () => received().length === 14);
    t.equal(chunks.length, 1);
    const much = Array.from({ length: 40 }, (_, i) => Buffer.alloc(60_000, i));
    write(much);
    stream.end();
    await within('the end', once(server, 'end'));
    t.ok(received().equals(Buffer.concat([...little, ...much])));
    server.end();
  },
);

/** A server's stream that has more to write than its peer takes, and the peer's stream, which reads nothing. */
async function blocked(t: Test, make: MakeRelay): Promise<{ readonly server: Duplex; readonly peer: Duplex }> {
  const served = Promise.withResolvers<Duplex>();
  const world = await worldOf(t, make, served.resolve);
  const peer = await openStream(world);
  const server = await served.promise;
  for (let i = 0; i < 100; i++) server.write(Buffer.alloc(100_000));
  return { server, peer };
}

await onEachEngine(
  'writing does not wait for a peer that ended and stopped listening, and what it sent can be read',
  async (t, make) => {
    const { server, peer } = await blocked(t, make);
    peer.end('last words', () => peer.destroy());
    await within('the writes to be over', once(server, 'drain'));
    t.equal(server.destroyed, false);
    const chunks: Buffer[] = [];
    server.on('data', (chunk: Buffer) => chunks.push(chunk));
    await within('the end', once(server, 'end'));
    t.equal(Buffer.concat(chunks).toString(), 'last words');
    t.equal(server.destroyed, true);
  },
);

await onEachEngine('nor does ending', async (t, make) => {
  const { server, peer } = await blocked(t, make);
  const ended = once(server, 'finish');
  server.end();
  peer.end('last words', () => peer.destroy());
  await within('our end', ended);
  server.resume();
  await eventually('the close', () => server.closed);
});
