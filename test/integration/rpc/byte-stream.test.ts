/** Streams of bytes over TLS: one message at a time, ends as values, connections that cannot be made. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server, ServerCredentials, type ServerDuplexStream, status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { AggregatedDiscoveryService } from '../../../src/proto/gen/discovery_pb.js';
import type { RpcByteStream } from '../../../src/rpc/byte-stream.ts';
import { type ChannelOptions, createChannel } from '../../../src/rpc/channel.ts';
import { eventually, within } from '../../support/eventually.ts';
import { TestCa } from '../../support/test-ca.ts';

const method = AggregatedDiscoveryService.method.deltaAggregatedResources;
type ServerStream = ServerDuplexStream<Buffer, Buffer>;

async function serve(t: Test, ca: TestCa, onStream: (stream: ServerStream) => void) {
  const { keyPem, certPem } = await ca.issuePem([], { dnsNames: ['localhost'] });
  const server = new Server();
  const asIs = (bytes: Buffer) => bytes;
  const definition = {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: true,
    responseStream: true,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
  server.addService(
    { delta: definition },
    {
      delta: (stream: ServerStream) => {
        stream.on('error', () => {});
        onStream(stream);
      },
    },
  );
  const credentials = ServerCredentials.createSsl(null, [
    { private_key: Buffer.from(keyPem), cert_chain: Buffer.from(certPem) },
  ]);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  t.teardown(() => server.forceShutdown());
  return { host: 'localhost', port, tls: true };
}

function channel(t: Test, options: ChannelOptions) {
  const made = createChannel(options);
  t.teardown(() => made.close());
  return made;
}

async function open(t: Test, options: ChannelOptions): Promise<RpcByteStream> {
  const opened = await channel(t, options).openStream(method);
  if (opened.kind === 'error') throw new Error(opened.message);
  t.teardown(() => opened.stream.cancel());
  return opened.stream;
}

const textOf = (event: Awaited<ReturnType<RpcByteStream['next']>>) =>
  event.kind === 'message' ? Buffer.from(event.bytes).toString() : event;

t.test('messages go both ways as they are, and an end is told every time', async (t) => {
  const ca = await TestCa.create();
  const address = await serve(t, ca, (stream) => {
    stream.on('data', (bytes: Buffer) => {
      stream.write(Buffer.concat([Buffer.from(String(stream.metadata.get('clusterid')[0])), bytes]));
      if (bytes.toString() === 'last') stream.end();
    });
  });
  const metadata = { clusterid: 'east' };
  const stream = await open(t, { address, roots: { kind: 'text', text: ca.rootPem }, metadata });
  await within('it is sent', stream.send(Buffer.from('first')));
  t.equal(textOf(await stream.next()), 'eastfirst');
  await stream.send(Buffer.from('last'));
  t.equal(textOf(await stream.next()), 'eastlast');
  t.same(await stream.next(), { kind: 'end' });
  t.same(await stream.next(), { kind: 'end' });
  await within('nothing waits', stream.send(Buffer.from('too late')));
});

t.test('who reads slowly slows the sender', async (t) => {
  const ca = await TestCa.create();
  const large = Buffer.alloc(1 << 20, 'x');
  let written = 0;
  const address = await serve(t, ca, (stream) => {
    const more = () => {
      while (written < 200) {
        written++;
        if (!stream.write(large)) {
          stream.once('drain', more);
          return;
        }
      }
      stream.end();
    };
    more();
  });
  const stream = await open(t, { address, roots: { kind: 'text', text: ca.rootPem } });
  t.equal((await stream.next()).kind, 'message');
  let before = -1;
  await eventually('the sender stops', () => {
    const same = written === before;
    before = written;
    return same && written > 1;
  });
  t.ok(written < 50, `${written} were written while one was read`);
  let read = 1;
  for (let event = await stream.next(); event.kind === 'message'; event = await stream.next()) read++;
  t.equal(read, 200);
});

t.test('a failure comes as its code, a cancelled stream as CANCELLED', async (t) => {
  const ca = await TestCa.create();
  const address = await serve(t, ca, (stream) => {
    stream.on('data', () => stream.emit('error', { code: status.UNKNOWN, details: 'server is not ready' }));
  });
  const roots = { kind: 'text', text: ca.rootPem } as const;
  const failing = await open(t, { address, roots });
  await failing.send(Buffer.from('x'));
  t.match(await failing.next(), { kind: 'error', code: 'UNKNOWN', message: 'server is not ready', retryable: true });
  const cancelled = await open(t, { address, roots });
  const waiting = cancelled.next();
  cancelled.cancel();
  t.match(await within('the end', waiting), { kind: 'error', code: 'CANCELLED' });
});

t.test('a message over the limit ends the stream', async (t) => {
  const ca = await TestCa.create();
  const address = await serve(t, ca, (stream) => stream.write(Buffer.alloc(20_000)));
  const stream = await open(t, { address, roots: { kind: 'text', text: ca.rootPem }, maxReceiveBytes: 10_000 });
  t.match(await stream.next(), { kind: 'error', code: 'RESOURCE_EXHAUSTED' });
});

t.test('why there is no connection: nobody listens, a wrong root, silence', async (t) => {
  const ca = await TestCa.create();
  const other = await TestCa.create('other');
  const roots = { kind: 'text', text: ca.rootPem } as const;
  const silent = createServer();
  const sockets = new Set<Socket>();
  silent.on('connection', (socket) => sockets.add(socket.on('error', () => {})));
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  const bound = silent.address();
  if (bound === null || typeof bound === 'string') throw new Error('no port');
  const nobody = channel(t, { address: { host: 'localhost', port: 1, tls: true }, roots });
  t.match(await nobody.openStream(method), { kind: 'error', code: 'UNAVAILABLE', message: /ECONNREFUSED/ });
  const mute = channel(t, { address: { host: '127.0.0.1', port: bound.port, tls: true }, roots });
  t.match(await mute.openStream(method, { connectTimeoutMs: 100 }), { kind: 'error', code: 'DEADLINE_EXCEEDED' });
  const address = await serve(t, ca, () => {});
  const wrong = channel(t, { address, roots: { kind: 'text', text: other.rootPem } });
  t.match(await wrong.openStream(method), { kind: 'error', code: 'UNAVAILABLE' });
});

t.test('a new root is taken up by the next stream, at once', async (t) => {
  const ca = await TestCa.create();
  const other = await TestCa.create('other');
  const path = mkdtempSync(join(tmpdir(), 'ambit-stream-'));
  t.teardown(() => rmSync(path, { recursive: true }));
  const file = join(path, 'root.pem');
  writeFileSync(file, other.rootPem);
  const address = await serve(t, ca, (stream) => stream.write(Buffer.from('hello')));
  const rotating = channel(t, { address, roots: { kind: 'file', path: file } });
  t.match(await rotating.openStream(method), { kind: 'error' });
  writeFileSync(file, ca.rootPem);
  const opened = await within('a stream', rotating.openStream(method));
  if (opened.kind === 'error') throw new Error(opened.message);
  t.equal(textOf(await opened.stream.next()), 'hello');
  opened.stream.cancel();
});
