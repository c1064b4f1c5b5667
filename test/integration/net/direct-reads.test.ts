/** A reader that pauses again and again gets every byte in order, of a socket, one that lends what it reads, and an HTTP/2 stream. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2, createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, connect, createServer } from 'node:net';
import type { Duplex } from 'node:stream';
import t, { type Test } from 'tap';
import { DirectReads } from '../../../src/net/direct-reads.ts';
import { PlainSocket } from '../../../src/net/plain-socket.ts';
import { within } from '../../support/eventually.ts';

const body = randomBytes(16 * 1024 * 1024);
const expected = digest(body);

/** When a reader pauses, and how long: in turns of the event loop, so that chunks come while it is paused, too. */
const habits: readonly (readonly [string, (chunk: number) => number])[] = [
  ['never', () => 0],
  ['at every chunk', () => 1],
  ['at every third chunk, for longer', (chunk) => (chunk % 3 === 0 ? 5 : 0)],
  ['twice, the second time while it takes what was kept for it', (chunk) => (chunk % 4 < 2 ? 2 : 0)],
];

async function servedBody(t: Test): Promise<number> {
  const server = createServer((socket) => socket.on('error', () => {}).end(body)).listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

t.test('a plain socket that nobody is lent reads like any other', async (t) => {
  const socket = new PlainSocket().connect(await servedBody(t), '127.0.0.1');
  t.teardown(() => socket.destroy());
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  t.equal(digest(Buffer.concat(chunks)), expected);
});

for (const [name, turns] of habits) {
  t.test(`a socket whose reader pauses ${name}`, async (t) => {
    const socket = connect(await servedBody(t), '127.0.0.1');
    t.teardown(() => socket.destroy());
    t.equal(await readAll(socket, turns), expected);
  });

  t.test(`a plain socket, read into one buffer for all, whose reader pauses ${name}`, async (t) => {
    const port = await servedBody(t);
    const sockets = Array.from({ length: 2 }, () => new PlainSocket().connect(port, '127.0.0.1'));
    t.teardown(() => sockets.forEach((socket) => void socket.destroy()));
    for (const read of await Promise.all(sockets.map((socket) => readAll(socket, turns)))) t.equal(read, expected);
  });

  t.test(`an HTTP/2 stream whose reader pauses ${name}`, async (t) => {
    const server = createHttp2Server().listen(0, '127.0.0.1');
    server.on('stream', (stream: ServerHttp2Stream) => {
      stream.on('error', () => {});
      stream.respond();
      stream.end(body);
    });
    await once(server, 'listening');
    const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, {
      settings: { initialWindowSize: 4 * 1024 * 1024 },
    });
    t.teardown(() => {
      session.destroy();
      server.close();
    });
    let most = 0;
    const read = await readAll(session.request({ ':path': '/' }), turns, (heldBytes) => {
      most = Math.max(most, heldBytes);
    });
    t.equal(read, expected);
    t.ok(most <= 4 * 1024 * 1024, `no more than its window is held: ${most} bytes`);
  });
}

async function readAll(
  duplex: Duplex,
  turns: (chunk: number) => number,
  look: (heldBytes: number) => void = () => {},
): Promise<string> {
  const chunks: Uint8Array[] = [];
  const ended = once(duplex, 'end');
  const reads = new DirectReads(duplex, (chunk, lent) => {
    chunks.push(lent ? Buffer.from(chunk) : chunk);
    look(reads.heldBytes);
    const wait = turns(chunks.length);
    if (wait === 0) return;
    reads.pause();
    resumeAfter(wait);
  });
  const resumeAfter = (left: number) => {
    if (left === 0) reads.resume();
    else setImmediate(() => resumeAfter(left - 1));
  };
  await within('the end', ended, 20_000);
  return digest(Buffer.concat(chunks));
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
