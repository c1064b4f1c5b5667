/**
 * What every tunnel must do with a TCP connection, whoever made its two ends: bytes whole, FIN as FIN, reset as reset,
 * in both directions. A path is an entry to connect to and the application's sockets at its other end.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Test } from 'tap';
import type { SocketAddress } from '../../src/base/address.ts';
import { within } from '../support/eventually.ts';
import { addressOf, readAll, tcpClient, tcpServer } from '../support/relay-world.ts';

/** A TCP server whose accepted sockets are taken one by one. */
export interface Application {
  readonly address: SocketAddress;
  accepted(): Promise<Socket>;
}

export async function startApplication(t: Test): Promise<Application> {
  const untaken: Socket[] = [];
  const waiting: ((socket: Socket) => void)[] = [];
  const server = await tcpServer(t, (socket) => {
    const take = waiting.shift();
    if (take === undefined) untaken.push(socket);
    else take(socket);
  });
  const next = () =>
    new Promise<Socket>((resolve) => {
      const socket = untaken.shift();
      if (socket === undefined) waiting.push(resolve);
      else resolve(socket);
    });
  return { address: addressOf(server), accepted: () => within('a connection at the application', next(), 10_000) };
}

export interface TcpPath {
  readonly entry: SocketAddress;
  readonly application: Application;
}

/** A client and the application's socket at the other end of the same tunnel. */
export async function connectThrough(t: Test, path: TcpPath): Promise<{ client: Socket; app: Socket }> {
  const client = await tcpClient(t, path.entry);
  // Some proxies open their upstream only once there is something to send.
  client.write('hello');
  const app = await path.application.accepted();
  const [greeting] = await within('the first bytes', once(app, 'data'));
  if (String(greeting) !== 'hello') throw new Error(`the application got ${greeting}`);
  app.pause();
  return { client, app };
}

export type PathEnd = 'client' | 'app';

/** `first` sends FIN, the other end then answers and closes. */
export async function checkHalfClose(t: Test, path: TcpPath, first: PathEnd): Promise<void> {
  const { client, app } = await connectThrough(t, path);
  const [opener, other] = first === 'client' ? [client, app] : [app, client];
  opener.end('the request');
  t.same(await within('request', readToEnd(other)), { data: Buffer.from('the request'), how: 'end' });
  other.write('the answer, ');
  other.end('after FIN');
  t.same(await within('answer', readToEnd(opener)), { data: Buffer.from('the answer, after FIN'), how: 'end' });
}

/** `resetter` resets in the middle of a body. Returns what the other end saw after it. */
export async function resetBy(t: Test, path: TcpPath, resetter: PathEnd): Promise<'end' | 'reset'> {
  const { client, app } = await connectThrough(t, path);
  const [from, to] = resetter === 'client' ? [client, app] : [app, client];
  const seen = readToEnd(to);
  from.write('half of a body');
  await within('body', once(to, 'data'));
  from.resetAndDestroy();
  const { data, how } = await within('the end', seen);
  t.equal(String(data), 'half of a body');
  return how;
}

/**
 * `bytes` in each direction at once, compared by digest. The client ends first: an Envoy that terminates CONNECT closes
 * its upstream wholly once that has sent FIN.
 */
export async function checkBulk(t: Test, path: TcpPath, bytes: number): Promise<void> {
  const { client, app } = await connectThrough(t, path);
  const gotUp = digest(app);
  const gotDown = digest(client);
  const up = send(client, bytes).finally(() => client.end());
  const down = Promise.all([send(app, bytes), gotUp]).finally(() => app.end());
  const all = Promise.all([up, gotUp, down, gotDown]);
  const [sentUp, receivedUp, [sentDown], receivedDown] = await within('the transfer', all, 60_000);
  t.equal(receivedUp, sentUp, 'to the application');
  t.equal(receivedDown, sentDown, 'to the client');
}

function readToEnd(socket: Socket): ReturnType<typeof readAll> {
  const read = readAll(socket);
  socket.resume();
  return read;
}

async function send(socket: Socket, bytes: number): Promise<string> {
  const hash = createHash('sha256');
  const block = randomBytes(256 * 1024);
  for (let sent = 0; sent < bytes; sent += block.length) {
    // No two blocks are equal, so that a lost or doubled one shows.
    const copy = Buffer.from(block.subarray(0, Math.min(block.length, bytes - sent)));
    copy.writeUInt32LE(sent, 0);
    hash.update(copy);
    if (!socket.write(copy)) await once(socket, 'drain');
  }
  return hash.digest('hex');
}

/** Not by `for await`: that destroys the socket at its end, although the other direction may still be going on. */
async function digest(socket: Socket): Promise<string> {
  const hash = createHash('sha256');
  const ended = once(socket, 'end');
  socket.on('data', (chunk: Buffer) => hash.update(chunk));
  socket.resume();
  await ended;
  return hash.digest('hex');
}
