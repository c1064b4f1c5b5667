/** gRPC of grpc-js through a waypoint on real tunnels: every kind of stream, statuses, metadata, deadlines. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import {
  credentials,
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  status,
} from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { makeChange } from '../../support/mesh-records.ts';
import { createHarness, type Harness, podIp, serviceKey } from './harness.ts';

const asIs = (bytes: Buffer): Buffer => bytes;
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/ambit.test.Kinds/${name}`,
  requestStream,
  responseStream,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
});
const kinds = {
  unary: method('Unary', false, false),
  upload: method('Upload', true, false),
  download: method('Download', false, true),
  both: method('Both', true, true),
};

const unary: handleUnaryCall<Buffer, Buffer> = (call, answer) => {
  const [wanted] = call.metadata.get('x-status');
  if (wanted === 'never') return;
  if (wanted !== undefined) {
    const metadata = new Metadata();
    metadata.set('x-why-bin', Buffer.from([0, 255, 10]));
    answer({ code: Number(wanted), details: 'as asked: ü %', metadata });
    return;
  }
  call.sendMetadata(call.metadata);
  answer(null, call.request);
};
const upload: handleClientStreamingCall<Buffer, Buffer> = (call, answer) => {
  let bytes = 0;
  call.on('data', (message: Buffer) => {
    bytes += message.length;
  });
  call.on('end', () => answer(null, Buffer.from(String(bytes))));
};
const download: handleServerStreamingCall<Buffer, Buffer> = (call) => {
  const times = Number(call.request.toString());
  let sent = 0;
  const push = () => {
    while (sent < times) if (!call.write(Buffer.alloc(1000, `${sent++}`))) return void call.once('drain', push);
    const trailers = new Metadata();
    trailers.set('x-sent', String(sent));
    call.end(trailers);
  };
  push();
};
const both: handleBidiStreamingCall<Buffer, Buffer> = (call) => {
  call.on('error', () => {});
  call.on('data', (message: Buffer) => call.write(message));
  call.on('end', () => call.end());
};

async function world(t: Test) {
  const harness = await createHarness(t, { pods: ['down'], appProtocol: 'grpc' });
  const server = new Server();
  server.addService(kinds, { unary, upload, download, both });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${podIp(0)}:0`, ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  t.teardown(() => server.forceShutdown());
  const pod = [...harness.mesh.workloads()].find(({ name }) => name === 'productpage-0');
  if (pod === undefined) throw new Error('the pod is not in the mesh');
  harness.mesh.apply(
    makeChange({ workloads: [{ ...pod, services: new Map([[serviceKey, new Map([[9080, port]])]]) }] }),
  );
  const Client = makeGenericClientConstructor(kinds, 'Kinds');
  const client = new Client(`127.0.0.1:${await entry(t, harness)}`, credentials.createInsecure(), {
    'grpc.default_authority': 'productpage:9080',
  });
  t.teardown(() => client.close());
  return { harness, client };
}

/** Where a client connects to get into a tunnel. */
async function entry(t: Test, harness: Harness): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    void harness.tunnel().then((stream) => {
      stream.on('error', () => socket.destroy());
      socket.pipe(stream).pipe(socket);
    });
  });
  t.teardown(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

const soon = () => ({ deadline: Date.now() + 10_000 });

t.test('all kinds of calls', async (t) => {
  const { client, harness } = await world(t);
  const metadata = new Metadata();
  metadata.set('x-tag', 'a b');
  metadata.set('x-raw-bin', Buffer.from([1, 0, 254]));
  let initial: Metadata | undefined;
  const answer = await new Promise<Buffer | undefined>((resolve, reject) => {
    client
      .makeUnaryRequest(kinds.unary.path, asIs, asIs, Buffer.from('hi'), metadata, soon(), (error, message) =>
        error === null ? resolve(message) : reject(error),
      )
      .on('metadata', (got) => {
        initial = got;
      });
  });
  t.equal(String(answer), 'hi');
  t.same([initial?.get('x-tag'), initial?.get('x-raw-bin')], [['a b'], [Buffer.from([1, 0, 254])]]);

  const counted = await new Promise<Buffer | undefined>((resolve, reject) => {
    const call = client.makeClientStreamRequest(kinds.upload.path, asIs, asIs, soon(), (error, message) =>
      error === null ? resolve(message) : reject(error),
    );
    for (let i = 0; i < 100; i++) call.write(Buffer.alloc(10_000));
    call.end();
  });
  t.equal(String(counted), '1000000');

  const down = client.makeServerStreamRequest(kinds.download.path, asIs, asIs, Buffer.from('500'), soon());
  let messages = 0;
  down.on('data', () => messages++);
  const [end] = await within('the status', once(down, 'status'));
  t.match(end, { code: status.OK });
  t.same([messages, end.metadata.get('x-sent')], [500, ['500']]);

  const chat = client.makeBidiStreamRequest(kinds.both.path, asIs, asIs, soon());
  for (const word of ['one', 'two']) {
    chat.write(Buffer.from(word));
    t.equal(String((await within(word, once(chat, 'data')))[0]), word, 'while it is open');
  }
  chat.end();
  chat.resume();
  t.match((await within('the status', once(chat, 'status')))[0], { code: status.OK });
  await eventually('the reports', () => harness.requests.length === 4);
  t.same(
    harness.requests.map(({ request }) => [request.requestProtocol, request.grpcStatus]),
    Array.from({ length: 4 }, () => ['grpc', '0']),
  );
});

t.test(
  'statuses, with their words and what goes with them; and a deadline, which the application is told of',
  async (t) => {
    const { client, harness } = await world(t);
    const fail = (wanted: string, deadlineMs: number) =>
      new Promise<{ code: number; details: string; metadata: Metadata } | null>((resolve) => {
        const metadata = new Metadata();
        metadata.set('x-status', wanted);
        const options = { deadline: Date.now() + deadlineMs };
        client.makeUnaryRequest(kinds.unary.path, asIs, asIs, Buffer.alloc(0), metadata, options, (error) =>
          resolve(error),
        );
      });
    for (const code of [status.NOT_FOUND, status.RESOURCE_EXHAUSTED, status.UNAUTHENTICATED]) {
      const error = await fail(String(code), 10_000);
      t.match(error, { code, details: 'as asked: ü %' });
      t.same(error?.metadata.get('x-why-bin'), [Buffer.from([0, 255, 10])]);
    }
    t.match(await fail('never', 300), { code: status.DEADLINE_EXCEEDED });
    await eventually('its report', () => harness.requests.length === 4);
  },
);

/** A message in its frame (gRPC over HTTP/2, "Length-Prefixed-Message"). */
function framed(kind: number, text: string): Buffer {
  const frame = Buffer.alloc(5 + text.length);
  frame[0] = kind;
  frame.writeUInt32BE(text.length, 1);
  frame.write(text, 5);
  return frame;
}

t.test('gRPC-Web of browsers, binary and text, over HTTP/1.1', async (t) => {
  const { harness } = await world(t);
  const call = async (name: string, type: string, body: Buffer, headers: Record<string, string> = {}) => {
    const stream = await harness.tunnel();
    let got = Buffer.alloc(0);
    stream.on('error', () => {});
    stream.on('data', (chunk: Buffer) => {
      got = Buffer.concat([got, chunk]);
    });
    const lines = Object.entries({ 'content-type': type, 'content-length': String(body.length), ...headers });
    const fields = lines.map(([field, value]) => `${field}: ${value}\r\n`).join('');
    stream.write(`POST /ambit.test.Kinds/${name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${fields}\r\n`);
    stream.write(body);
    await within('the answer to end', once(stream, 'end'));
    const split = got.indexOf('\r\n\r\n');
    return { head: got.toString('latin1', 0, split), body: unchunked(got.subarray(split + 4)) };
  };
  const binary = await call('Unary', 'application/grpc-web+proto', framed(0, 'hello'));
  t.match(binary.head, /content-type: application\/grpc-web\+proto/i);
  checkWhole(t, binary.body, ['hello']);
  const first = framed(0, 'one').toString('base64');
  const second = framed(0, 'two!').toString('base64');
  const text = await call('Both', 'application/grpc-web-text', Buffer.from(first + second));
  t.match(text.head, /content-type: application\/grpc-web-text\r\n/i);
  const parts = text.body.toString('latin1').match(/[^=]+=*/g) ?? [];
  checkWhole(t, Buffer.concat(parts.map((part) => Buffer.from(part, 'base64'))), ['one', 'two!']);
  const failed = await call('Unary', 'application/grpc-web', framed(0, ''), { 'x-status': '5' });
  t.match(failed.head + failed.body.toString('latin1'), /grpc-status: 5/i);
  const broken = await call('Unary', 'application/grpc-web-text', Buffer.from('?????'));
  t.notMatch(broken.head + broken.body.toString('latin1'), /grpc-status: 0/i);
});

/** The bytes of a body in chunks. */
function unchunked(body: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length; ) {
    const line = body.indexOf('\r\n', at);
    const size = line < 0 ? Number.NaN : Number.parseInt(body.toString('latin1', at, line), 16);
    if (!(size > 0)) break;
    parts.push(body.subarray(line + 2, line + 2 + size));
    at = line + 4 + size;
  }
  return Buffer.concat(parts);
}

/** Messages, then the trailers of a success as the last frame. */
function checkWhole(t: Test, body: Buffer, messages: readonly string[]): void {
  const expected = Buffer.concat(messages.map((message) => framed(0, message)));
  t.same(body.subarray(0, expected.length), expected);
  const last = body.subarray(expected.length);
  t.same([last[0], last.readUInt32BE(1)], [0x80, last.length - 5]);
  t.match(last.toString('latin1', 5), 'grpc-status: 0\r\n');
}
