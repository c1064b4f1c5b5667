/**
 * Queries that come as datagrams. An answer goes back from the socket the query came to.
 *
 * I1: nothing is answered that claims to come from ourselves, or from no port (Node throws at that). I2: answers the kernel does not take are dropped; the client
 * asks again, as it must for any datagram.
 */
import type { RemoteInfo, Socket } from 'node:dgram';
import { canonicalIp, type SocketAddress } from '../base/address.ts';
import { bindDatagrams, closeDatagrams, type DatagramSpec } from '../net/datagrams.ts';
import type { Reply, Responder } from './responder.ts';

/** Answers that wait in Node for the kernel to take them. */
const mostUnsent = 256;

export interface RunningUdpServer {
  readonly address: SocketAddress;
  /** Answers what has been asked, then stops. */
  close(): Promise<void>;
  destroy(): void;
}

/** Rejects with an AmbitError when it cannot listen. */
export async function startUdpServer(spec: DatagramSpec, responder: Responder): Promise<RunningUdpServer> {
  const socket = await bindDatagrams(spec);
  const { port } = socket.address();
  const waiting = new Set<Promise<void>>();
  let closed = false;
  socket.on('message', (message, from) => {
    if (!isAnswerable(from, { ip: spec.ip, port })) return;
    const reply = responder.handle(message, 'udp');
    if (!(reply instanceof Promise)) {
      send(socket, reply, from, ignore);
      return;
    }
    const sent = reply
      .then((late) => new Promise<void>((done) => (closed ? done() : send(socket, late, from, done))))
      .then(() => void waiting.delete(sent));
    waiting.add(sent);
  });
  const destroy = () => {
    if (closed) return;
    closed = true;
    closeDatagrams(socket);
  };
  return {
    address: { ip: spec.ip, port },
    async close() {
      await Promise.all(waiting);
      destroy();
    },
    destroy,
  };
}

/** Whether an answer could go there, and should: whoever may send raw packets writes any sender on them. */
export function isAnswerable(from: Pick<RemoteInfo, 'address' | 'port'>, own: SocketAddress): boolean {
  return from.port !== 0 && !(from.port === own.port && canonicalIp(from.address) === own.ip);
}

/** `done` is called once the kernel has it, or nobody will. */
function send(socket: Socket, reply: Reply, to: RemoteInfo, done: () => void): void {
  // Without a callback a failure is an 'error' event; either way it is the client's loss alone.
  if (reply !== undefined && socket.getSendQueueCount() < mostUnsent)
    socket.send(reply, to.port, to.address, () => done());
  else done();
}

function ignore(): void {}
