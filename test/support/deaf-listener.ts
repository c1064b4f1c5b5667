/** A peer that never answers a SYN, on loopback and without privileges. */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Test } from 'tap';
import type { SocketAddress } from '../../src/base/address.ts';

/** A listener whose backlog is full, so that the kernel answers no further SYN. */
export async function deafListener(t: Test): Promise<SocketAddress> {
  const native = await import('node-tproxy-native');
  const fd = native.createSocket({ family: 4 });
  t.teardown(() => native.closeFd(fd));
  native.bind(fd, '127.0.0.1', 0);
  native.listen(fd, 0);
  const { port } = native.localAddress(fd);
  let full = false;
  while (!full) {
    const socket = connect({ host: '127.0.0.1', port });
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    full = await Promise.race([
      once(socket, 'connect').then(() => false),
      new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 300)),
    ]);
  }
  return { ip: '127.0.0.1', port };
}
