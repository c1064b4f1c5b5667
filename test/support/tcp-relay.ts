/** A TCP relay on loopback that is slow, or breaks off: between a client and a server that know nothing of it. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { Test } from 'tap';

export interface RelayBehaviour {
  /** What the server sends is passed on one byte at a time. */
  trickle?: boolean;
  /** Connections are cut after so many bytes of the server's. */
  cutAfterBytes?: number;
  /** Sent in place of everything the server says. */
  garbage?: Buffer;
}

/** Reads `behaviour` for each connection and chunk, so that it may be changed while it runs. Closed with the test. */
export async function startTcpRelay(t: Test, serverPort: number, behaviour: RelayBehaviour): Promise<number> {
  const sockets = new Set<Socket>();
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    return socket;
  };
  const server = createServer((client) => {
    keep(client);
    if (behaviour.garbage !== undefined) {
      client.end(behaviour.garbage);
      return;
    }
    const upstream = keep(connect(serverPort, '127.0.0.1'));
    let passed = 0;
    client.pipe(upstream);
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
    upstream.on('data', (chunk: Buffer) => {
      const { cutAfterBytes } = behaviour;
      if (cutAfterBytes !== undefined && passed + chunk.length > cutAfterBytes) {
        client.write(chunk.subarray(0, cutAfterBytes - passed), () => client.destroy());
        return;
      }
      passed += chunk.length;
      if (behaviour.trickle !== true) {
        client.write(chunk);
        return;
      }
      upstream.pause();
      let at = 0;
      const next = () => {
        if (at === chunk.length) upstream.resume();
        else client.write(chunk.subarray(at, ++at), () => setImmediate(next));
      };
      next();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
