/** Clients that leave an h2c connection at any moment: their requests end, and nothing is thrown (`serveH2c`, I1). */
import { connect } from 'node:http2';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setImmediate as turn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { createRelay } from '../../../src/hbone/relay.ts';
import type { Exchange } from '../../../src/http/exchange.ts';
import { serveH2c } from '../../../src/http/h2c-server.ts';
import { eventually, within } from '../../support/eventually.ts';
import { endHeaders, endStream, frame, frameType, greeting, headerBlock } from '../../support/http2-frames.ts';
import { makeWorld } from '../../support/relay-world.ts';

const piece = Buffer.alloc(100, 'a');
const goAway = frame(frameType.goAway, 0, 0, Buffer.alloc(8));

const ways: Readonly<Record<string, (client: Duplex) => void>> = {
  'ends its side': (client) => client.end(),
  'says GOAWAY and ends its side': (client) => client.end(goAway),
  'ends its side and is gone': (client) => client.end(() => client.destroy()),
  'is gone': (client) => client.destroy(),
};

/** The client's end of a tunnel whose other end `receive` gets. */
type Open = (receive: (server: Duplex) => void) => Promise<Duplex>;

async function tunnels(t: Test): Promise<Open> {
  let receive: ((server: Duplex) => void) | undefined;
  const world = await makeWorld(t, createRelay, {
    onConnect: () => ({ kind: 'bytes', headers: [], receive: (stream) => receive?.(stream) }),
  });
  return async (next) => {
    receive = next;
    const outcome = await world.client.open(world.request());
    if (outcome.kind !== 'open') throw new Error(outcome.kind);
    return outcome.stream;
  };
}

function request(id: number, method: string, flags: number): Buffer {
  const fields = { ':method': method, ':scheme': 'http', ':path': '/', ':authority': 'a' };
  return frame(frameType.headers, endHeaders | flags, id, headerBlock(Object.entries(fields)));
}

/** Answers in pieces, one a turn, for as long as the client is there. */
async function answerInPieces(exchange: Exchange, open: Set<Exchange>): Promise<void> {
  open.add(exchange);
  exchange.onClosed(() => open.delete(exchange));
  exchange.request.body?.on('error', () => {}).resume();
  exchange.start(200, [], false);
  while (open.has(exchange)) {
    exchange.write(piece);
    await turn();
  }
}

/** One client with requests whole and unfinished leaves after so many turns, and reads nothing until it has left. */
async function leaveAfter(turns: number, open: Open, leave: (client: Duplex) => void): Promise<void> {
  const exchanges = new Set<Exchange>();
  let seen = 0;
  const closed = Promise.withResolvers<void>();
  const client = await open((server) => {
    server.once('close', closed.resolve);
    const exchange = (exchange: Exchange) => {
      seen++;
      void answerInPieces(exchange, exchanges);
    };
    serveH2c(server, { exchange, refused: () => {} });
  });
  client.on('error', () => {});
  client.write(Buffer.concat([greeting, request(1, 'GET', endStream), request(3, 'POST', 0)]));
  await eventually('the requests to be served', () => seen === 2);
  for (let i = 0; i < turns; i++) await turn();
  leave(client);
  for (let i = 0; i < 10; i++) await turn();
  client.resume();
  await within('the connection to close', closed.promise);
  await eventually('the requests to end', () => exchanges.size === 0);
}

for (const [way, leave] of Object.entries(ways)) {
  t.test(`a client ${way} with requests under way`, async (t) => {
    const open = await tunnels(t);
    for (let turns = 0; turns < 20; turns++) await leaveAfter(turns, open, leave);
  });
}

t.test('after GOAWAY answers arrive whole, then the connection ends', async (t) => {
  const open = await tunnels(t);
  const answers: Exchange[] = [];
  const ended = Promise.withResolvers<void>();
  const client = await open((server) => {
    server.once('end', ended.resolve);
    serveH2c(server, { exchange: (exchange) => void answers.push(exchange), refused: () => {} });
  });
  const session = connect('http://a', { createConnection: () => client });
  t.teardown(() => session.destroy());
  const stream = session.request({ ':path': '/' });
  await eventually('the request', () => answers.length === 1);
  session.close();
  for (let i = 0; i < 10; i++) await turn();
  const [exchange] = answers;
  exchange?.start(200, [], false);
  for (let i = 0; i < 1000; i++) exchange?.write(piece);
  exchange?.end();
  t.equal((await within('the answer', text(stream))).length, 1000 * piece.length);
  await within('the end', ended.promise);
});
