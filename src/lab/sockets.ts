/**
 * TCP sockets that this process holds but that live in a pod's namespace: for tests that want to hold a connection open,
 * send at their own pace, or be a server. They stay in that namespace for life (setns(2), socket(2)).
 */
import { type AddressInfo, createServer, type Server, Socket } from 'node:net';
import { type IpFamily, ipFamily } from '../base/address.ts';
import { bind, closeFd, createSocket, listen, openNamespace } from './kernel.ts';
import type { LabNamespace } from './namespace.ts';

const backlog = 128;

export interface ConnectOptions {
  readonly host: string;
  readonly port: number;
  readonly deadlineMs?: number;
  /** Source address, one of the namespace's own. */
  readonly from?: string;
}

/** Connects from inside a namespace to an IP address. The socket is half-open capable, paused, and the caller's to destroy. */
export function connectFrom(namespace: LabNamespace, options: ConnectOptions): Promise<Socket> {
  const fd = socketIn(namespace, ipFamily(options.host));
  if (options.from !== undefined) bind(fd, options.from, 0);
  const socket = new Socket({ fd, allowHalfOpen: true, readable: true, writable: true });
  return new Promise((resolve, reject) => {
    const { host, port, deadlineMs = 5000 } = options;
    const late = () => socket.destroy(new Error(`no connection to ${host}:${port} within ${deadlineMs} ms`));
    const timer = setTimeout(late, deadlineMs);
    socket.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    // After the connection, whoever holds the socket listens for its errors; until they do, none may be thrown.
    socket.on('error', () => {});
    socket.connect({ host, port }, () => {
      clearTimeout(timer);
      resolve(socket);
    });
  });
}

/** Listens on an address and port of a namespace (port 0: the kernel's choice). The caller closes the server. */
export async function listenIn(
  namespace: LabNamespace,
  options: { readonly ip?: string; readonly port: number },
  onConnection: (socket: Socket) => void,
): Promise<{ readonly server: Server; readonly port: number }> {
  const { ip = '0.0.0.0' } = options;
  const fd = socketIn(namespace, ipFamily(ip));
  try {
    bind(fd, ip, options.port);
    listen(fd, backlog);
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    onConnection(socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ fd }, resolve);
  });
  return { server, port: (server.address() as AddressInfo).port };
}

function socketIn(namespace: LabNamespace, family: IpFamily): number {
  const netnsFd = openNamespace(namespace.path);
  try {
    return createSocket({ family, netnsFd, reuseAddress: true });
  } finally {
    closeFd(netnsFd);
  }
}
