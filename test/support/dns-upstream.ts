/** A DNS server on loopback, UDP and TCP on one port, that does as it is told: for tests of whoever asks it. */
import { createSocket, type RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Test } from 'tap';
import type { SocketAddress } from '../../src/base/address.ts';
import { patienceMs, within } from './eventually.ts';

/** What the server sends back, in order; nothing at all when empty. */
export type Script = (query: Buffer, transport: 'udp' | 'tcp') => readonly Buffer[] | Promise<readonly Buffer[]>;

export interface TestUpstream {
  readonly address: SocketAddress;
  readonly queries: { readonly message: Buffer; readonly transport: 'udp' | 'tcp'; readonly from: SocketAddress }[];
  script: Script;
  /** Sends a datagram to somebody, from a port that is not the server's. */
  spoof(message: Buffer, to: SocketAddress): void;
}

export async function startUpstream(t: Test, script: Script): Promise<TestUpstream> {
  const tcp = createServer();
  tcp.listen(0, '127.0.0.1');
  await once(tcp, 'listening');
  const { port } = tcp.address() as AddressInfo;
  const udp = createSocket('udp4');
  udp.bind(port, '127.0.0.1');
  const other = createSocket('udp4');
  other.bind(0, '127.0.0.1');
  await Promise.all([once(udp, 'listening'), once(other, 'listening')]);
  const sockets = new Set<Socket>();
  t.teardown(() => {
    udp.close();
    other.close();
    tcp.close();
    for (const socket of sockets) socket.destroy();
  });
  const upstream: TestUpstream = {
    address: { ip: '127.0.0.1', port },
    queries: [],
    script,
    spoof: (message, to) => other.send(message, to.port, to.ip),
  };
  udp.on('message', async (message: Buffer, { address: ip, port: from }: RemoteInfo) => {
    upstream.queries.push({ message, transport: 'udp', from: { ip, port: from } });
    for (const reply of await upstream.script(message, 'udp')) udp.send(reply, from, ip);
  });
  tcp.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    const from = { ip: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 };
    let bytes = Buffer.alloc(0);
    socket.on('data', async (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.length < 2 || bytes.length < 2 + bytes.readUInt16BE(0)) return;
      const message = bytes.subarray(2, 2 + bytes.readUInt16BE(0));
      bytes = bytes.subarray(2 + message.length);
      upstream.queries.push({ message, transport: 'tcp', from });
      for (const reply of await upstream.script(message, 'tcp')) socket.write(frame(reply));
    });
  });
  return upstream;
}

export function frame(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

/** One query from a socket of its own; rejects when nothing comes in time. */
export async function askUdp(to: SocketAddress, query: Buffer, timeoutMs = patienceMs): Promise<Buffer> {
  const socket = createSocket(to.ip.includes(':') ? 'udp6' : 'udp4');
  try {
    const answered = once(socket, 'message') as Promise<[Buffer]>;
    socket.send(query, to.port, to.ip);
    return (await within('an answer', answered, timeoutMs))[0];
  } finally {
    socket.close();
  }
}

/** Queries written at once on one connection; as many answers, in the order in which they came. */
export async function askTcp(to: SocketAddress, queries: readonly Buffer[], timeoutMs = patienceMs): Promise<Buffer[]> {
  const socket = connect({ host: to.ip, port: to.port });
  const answers: Buffer[] = [];
  let bytes = Buffer.alloc(0);
  try {
    const done = new Promise<void>((resolve, reject) => {
      socket.on('error', reject);
      socket.on('close', () => reject(new Error('closed')));
      socket.on('data', (chunk: Buffer) => {
        bytes = Buffer.concat([bytes, chunk]);
        while (bytes.length >= 2 && bytes.length >= 2 + bytes.readUInt16BE(0)) {
          const end = 2 + bytes.readUInt16BE(0);
          answers.push(bytes.subarray(2, end));
          bytes = bytes.subarray(end);
        }
        if (answers.length === queries.length) resolve();
      });
    });
    socket.write(Buffer.concat(queries.map(frame)));
    await within('answers', done, timeoutMs);
    return answers;
  } finally {
    socket.removeAllListeners('close');
    socket.destroy();
  }
}
