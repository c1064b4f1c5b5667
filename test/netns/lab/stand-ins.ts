/**
 * ztunnel and waypoint reduced to what moves addresses: TPROXY listeners, spoofed sockets, and one text line in place of
 * TLS and CONNECT. They prove the lab and the redirection without the proxies.
 */
import { createServer, type Server, Socket } from 'node:net';
import { bind, closeFd, createSocket, listen, openNamespace } from 'node-tproxy-native';
import type { Lab } from '../../../src/lab/lab.ts';
import type { LabNamespace } from '../../../src/lab/namespace.ts';
import { connectFrom, listenIn } from '../../../src/lab/sockets.ts';
import { ztunnelName } from '../../../src/lab/topology.ts';

export interface Seen {
  readonly at: string;
  /** `ip:port` pairs without the client's ephemeral port. */
  readonly peer: string;
  readonly local: string;
}

export interface ZtunnelOptions {
  /** Where its listeners live: ztunnel's pod unless told. */
  readonly place?: string;
  readonly waypointIp: string;
  readonly seen: Seen[];
}

/** Listens as the article's ztunnel does. The servers are the caller's to close. */
export async function startZtunnel(lab: Lab, node: string, options: ZtunnelOptions): Promise<readonly Server[]> {
  const namespace = lab.namespace(options.place ?? ztunnelName({ name: node }));
  const note = (at: string, socket: Socket) =>
    options.seen.push({ at, peer: socket.remoteAddress ?? '', local: `${socket.localAddress}:${socket.localPort}` });
  const outbound = await listenTransparent(namespace, 15001, 0x401, (socket) => {
    note(`15001@${node}`, socket);
    const line = `CONNECT ${socket.localAddress}:${socket.localPort}\n`;
    join(socket, dialAs(namespace, socket.remoteAddress ?? '', options.waypointIp, 15006), line);
  });
  const inbound = await listenTransparent(namespace, 15008, 0x402, (socket) => {
    note(`15008@${node}`, socket);
    withTarget(socket, (ip, port) => join(socket, dialAs(namespace, socket.remoteAddress ?? '', ip, port)));
  });
  const plaintext = await listenTransparent(namespace, 15006, 0x402, (socket) => {
    note(`15006@${node}`, socket);
    const { localAddress = '', localPort = 0, remoteAddress = '' } = socket;
    join(socket, dialAs(namespace, remoteAddress, localAddress, localPort));
  });
  return [outbound, inbound, plaintext];
}

/** Listens on 15006 and sends what is for a service's address to the pod it is told. */
export async function startWaypoint(lab: Lab, podIp: string, seen: Seen[]): Promise<Server> {
  const namespace = lab.namespace('waypoint');
  const { server } = await listenIn(namespace, { port: 15006 }, (socket) => {
    seen.push({
      at: 'waypoint',
      peer: socket.remoteAddress ?? '',
      local: `${socket.localAddress}:${socket.localPort}`,
    });
    withTarget(socket, (_ip, port) => {
      void connectFrom(namespace, { host: podIp, port: 15008 }).then(
        (upstream) => join(socket, upstream, `CONNECT ${podIp}:${port}\n`),
        () => socket.destroy(),
      );
    });
  });
  return server;
}

async function listenTransparent(
  namespace: LabNamespace,
  port: number,
  mark: number,
  onConnection: (socket: Socket) => void,
): Promise<Server> {
  const fd = inside(namespace, (netnsFd) =>
    createSocket({ family: 4, netnsFd, transparent: true, reuseAddress: true, mark }),
  );
  bind(fd, '127.0.0.1', port);
  listen(fd, 128);
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen({ fd }, resolve));
  return server;
}

function dialAs(namespace: LabNamespace, source: string, host: string, port: number): Socket {
  const fd = inside(namespace, (netnsFd) =>
    createSocket({ family: 4, netnsFd, transparent: true, bindAddressNoPort: true, mark: 0x4d2 }),
  );
  bind(fd, source, 0);
  return new Socket({ fd, allowHalfOpen: true, readable: true, writable: true }).connect({ host, port });
}

function inside<T>(namespace: LabNamespace, make: (netnsFd: number) => T): T {
  const netnsFd = openNamespace(namespace.path);
  try {
    return make(netnsFd);
  } finally {
    closeFd(netnsFd);
  }
}

function join(downstream: Socket, upstream: Socket, line = ''): void {
  for (const [from, to] of [
    [downstream, upstream],
    [upstream, downstream],
  ] as const) {
    from.on('error', () => to.destroy());
    from.pipe(to);
  }
  upstream.write(line);
}

/** Reads the `CONNECT ip:port` line and leaves what follows it in the socket. */
function withTarget(socket: Socket, then: (ip: string, port: number) => void): void {
  let text = Buffer.alloc(0);
  const take = (chunk: Buffer) => {
    text = Buffer.concat([text, chunk]);
    const end = text.indexOf('\n');
    if (end < 0) return;
    socket.off('data', take).pause();
    socket.unshift(text.subarray(end + 1));
    const [ip = '', port = ''] = text.subarray(0, end).toString().replace('CONNECT ', '').split(':');
    then(ip, Number(port));
  };
  socket.on('data', take).resume();
}
