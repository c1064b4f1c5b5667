/**
 * Tricks of an application with its responses, one row each, through real tunnels: whatever it sends, a request gets its own
 * answer or none, and nothing of the answer to one request reaches another.
 */
import type { Socket } from 'node:net';
import t, { type Test } from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { rawBackend } from '../../support/raw-backend.ts';
import { http2 } from '../waypoint/client.ts';
import { createHarness } from '../waypoint/harness.ts';

const backend = rawBackend();
const harness = await createHarness(t, { podKind: 'tcp', pods: [backend.pod] });

const good = 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood';
const evil = 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil';

/** Two requests of two clients, the first of which is answered with the bytes; everything the second got. */
async function twoClients(bytes: string, method = 'GET') {
  let answered = false;
  backend.answer = (_request, socket: Socket) => {
    socket.write(Buffer.from(answered ? good : bytes, 'latin1'));
    answered = true;
  };
  const first = await ask(method);
  const second = await ask('GET');
  return { first, second };
}

async function ask(method: string): Promise<string> {
  const stream = await harness.tunnel();
  stream.on('error', () => {});
  let got = '';
  stream.on('data', (chunk: Buffer) => {
    got += chunk.toString('latin1');
  });
  const over = new Promise((resolve) => stream.once('close', resolve).once('end', resolve));
  stream.write(`${method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
  await within('the answer to end', over);
  stream.destroy();
  return got;
}

const head = (...fields: readonly string[]) =>
  `HTTP/1.1 200 OK\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`;

/** Nobody can tell where they end, or they are none: 503 for the client. */
const refused: Readonly<Record<string, string>> = {
  'two content-lengths': `${head('content-length: 4', 'content-length: 5')}four${evil}`,
  'a list of content-lengths': `${head('content-length: 4, 5')}four${evil}`,
  'a negative content-length': `${head('content-length: -1')}${evil}`,
  'a signed content-length': `${head('content-length: +4')}four${evil}`,
  'a hexadecimal content-length': `${head('content-length: 0x4')}four${evil}`,
  'a content-length beyond 64 bits': `${head('content-length: 99999999999999999999')}four${evil}`,
  'an empty content-length': `${head('content-length:')}${evil}`,
  'length beside a coding': `${head('content-length: 4', 'transfer-encoding: chunked')}0\r\n\r\n${evil}`,
  'coding beside a length': `${head('transfer-encoding: chunked', 'content-length: 4')}0\r\n\r\n${evil}`,
  'a line feed alone': `HTTP/1.1 200 OK\nx: y\r\ncontent-length: 4\r\n\r\nfour`,
  'a line feed in a value': `${head('x: a\nset-cookie: b', 'content-length: 4')}four`,
  'a carriage return in a value': `${head('x: a\rset-cookie: b', 'content-length: 4')}four`,
  'a NUL in a value': `${head('x: a\0b', 'content-length: 4')}four`,
  'a folded line': `${head('x: a', ' b', 'content-length: 4')}four`,
  'a space before a colon': `${head('content-length : 4')}four`,
  'a name with a space': `${head('x y: a', 'content-length: 4')}four`,
  'a line without a colon': `${head('nonsense', 'content-length: 4')}four`,
  'no status': 'HTTP/1.1 OK\r\ncontent-length: 4\r\n\r\nfour',
  'a status of two digits': 'HTTP/1.1 20 OK\r\ncontent-length: 4\r\n\r\nfour',
  'a status of four digits': 'HTTP/1.1 2000 OK\r\ncontent-length: 4\r\n\r\nfour',
  'no version': '200 OK\r\ncontent-length: 4\r\n\r\nfour',
  'another protocol': 'SSH-2.0-OpenSSH_9.9\r\n\r\n',
  'a switch of protocols that nobody asked for': `HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n${evil}`,
  'a head without end': `${'HTTP/1.1 200 OK\r\n'}${'x: yyyyyyyy\r\n'.repeat(20_000)}`,
  'one header without end': `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`,
  'interim responses without end': 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'.repeat(5000),
};

/** Their head is good: the client gets it, and then a break, never an end. */
const broken: Readonly<Record<string, string>> = {
  'a chunk size that is none': `${head('transfer-encoding: chunked')}zz\r\nfour\r\n0\r\n\r\n`,
  'a negative chunk size': `${head('transfer-encoding: chunked')}-4\r\nfour\r\n0\r\n\r\n`,
  'a chunk longer than its size': `${head('transfer-encoding: chunked')}3\r\nfour\r\n0\r\n\r\n`,
  'a chunk that ends with a line feed': `${head('transfer-encoding: chunked')}4\r\nfour\n0\r\n\r\n`,
};

/** The answer is good, and what stands behind it is nobody's. */
const behind: Readonly<Record<string, readonly [bytes: string, body: string, method?: string]>> = {
  'a second response': [`${head('content-length: 4')}four${evil}`, 'four'],
  'more bytes than its length': [`${head('content-length: 4')}fourteen`, 'four'],
  'a second response behind chunks': [`${head('transfer-encoding: chunked')}4\r\nfour\r\n0\r\n\r\n${evil}`, 'four'],
  'a second response behind one without body': [`HTTP/1.1 204 No Content\r\n\r\n${evil}`, ''],
  'a body of a 304': [`HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\n${evil}`, ''],
  'a body of an answer to HEAD': [`${head(`content-length: ${evil.length}`)}${evil}`, '', 'HEAD'],
};

t.test('an answer whose end is in doubt is none', async (t) => {
  for (const [name, bytes] of Object.entries(refused)) {
    const { first, second } = await twoClients(bytes);
    const last = first.slice(first.lastIndexOf('HTTP/1.1 '));
    t.match(last, /^HTTP\/1\.1 503 /, `${name}: ${last.slice(0, 60)}`);
    t.notMatch(first, /evil|set-cookie|four/, `${name}: nothing of it`);
    checkSecond(t, name, second);
  }
});

t.test('an answer that breaks off does not end', async (t) => {
  for (const [name, bytes] of Object.entries(broken)) {
    const { first, second } = await twoClients(bytes);
    t.notMatch(first, /\r\n0\r\n\r\n$/, `${name}: no end`);
    checkSecond(t, name, second);
  }
});

t.test('what stands behind an answer reaches nobody', async (t) => {
  for (const [name, [bytes, body, method]] of Object.entries(behind)) {
    const { first, second } = await twoClients(bytes, method);
    t.notMatch(first, 'evil', `${name}: not this client`);
    const [, text = ''] = first.split('\r\n\r\n');
    t.ok(text === body || text.includes(`\r\n${body}\r\n`), `${name}: its body (${text.slice(0, 30)})`);
    checkSecond(t, name, second);
  }
});

function checkSecond(t: Test, name: string, second: string): void {
  t.match(second, /^HTTP\/1\.1 200 OK/, `${name}: the next request has an answer`);
  t.match(second, /good/, `${name}: which is its own`);
  t.notMatch(second, 'evil', `${name}: and no other`);
}

t.test(
  'an answer before the whole request ends the connection to the application, whose rest nobody takes for a request',
  async (t) => {
    backend.answer = () => {};
    const sockets: Socket[] = [];
    let heads = 0;
    const early = (socket: Socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
      socket.on('data', (chunk: Buffer) => {
        if (/^(?:GET|POST) /.test(chunk.toString('latin1'))) {
          heads++;
          socket.write(good);
        }
      });
    };
    const other = await createHarness(t, { podKind: 'tcp', pods: [early] });
    const stream = await other.tunnel();
    stream.on('error', () => {});
    stream.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\npart');
    let got = '';
    stream.on('data', (chunk: Buffer) => {
      got += chunk;
    });
    await eventually('the early answer', () => got.includes('good'));
    const next = await other.tunnel();
    next.on('error', () => {});
    next.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    let gotNext = '';
    next.on('data', (chunk: Buffer) => {
      gotNext += chunk;
    });
    await eventually('the next answer', () => gotNext.includes('good'));
    t.equal(heads, 2);
    t.equal(sockets.length, 2, 'on a connection of its own');
  },
);

t.test('the same for a client of HTTP/2: an error of the stream or 503', async (t) => {
  for (const name of ['two content-lengths', 'a line feed in a value', 'interim responses without end']) {
    backend.answer = (_request, socket) => void socket.write(Buffer.from(refused[name] ?? '', 'latin1'));
    const stream = await harness.tunnel();
    const answer = await within(
      name,
      http2(stream, {}).then(
        ({ headers }) => String(headers[':status']),
        () => 'reset',
      ),
    );
    t.ok(answer === '503' || answer === 'reset', `${name}: ${answer}`);
  }
});
