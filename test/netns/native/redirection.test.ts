// Marks, transparency and original destinations, as redirected connections have them.
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import {
  bind,
  closeFd,
  createSocket,
  getMark,
  getTransparent,
  listen,
  localAddress,
  originalDestination,
} from 'node-tproxy-native';
import t, { type Test } from 'tap';
import { inOwnNamespace, run } from './own-namespace.ts';

/** The descriptor under a Node socket. */
function descriptorOf(socket: net.Socket): number {
  const fd: unknown = Reflect.get(Reflect.get(socket, '_handle'), 'fd');
  if (typeof fd !== 'number') throw new Error('the socket has no descriptor');
  return fd;
}

/** What `look` sees on the accepted end of a connection to `address`:`port`, made to a listener on `listenerFd`. */
async function seenByServer<T>(t: Test, listenerFd: number, address: string, port: number, look: (fd: number) => T) {
  const server = net.createServer();
  t.teardown(() => server.close());
  server.listen({ fd: listenerFd });
  await once(server, 'listening');
  const client = net.connect(port, address);
  client.on('error', (error) => t.fail(error.message));
  const [accepted] = await once(server, 'connection');
  const result = look(descriptorOf(accepted));
  accepted.on('error', () => accepted.destroy());
  accepted.end();
  client.end();
  client.resume();
  await once(client, 'close');
  return result;
}

function listener(options: { family: 4 | 6; transparent?: boolean; mark?: number }, address: string, port = 0): number {
  const fd = createSocket({ ...options, reuseAddress: true });
  bind(fd, address, port);
  listen(fd, 4);
  return fd;
}

await inOwnNamespace(import.meta.url, () => {
  t.test('mark and transparency are set, read back, and inherited by accepted sockets', async (t) => {
    for (const family of [4, 6] as const) {
      const address = family === 4 ? '127.0.0.1' : '::1';
      const fd = listener({ family, transparent: true, mark: 0xffffffff }, address);
      t.same([getMark(fd), getTransparent(fd)], [0xffffffff, true]);
      const look = (accepted: number) => [getMark(accepted), getTransparent(accepted)];
      t.same(await seenByServer(t, fd, address, localAddress(fd).port, look), [0xffffffff, true]);
    }
  });

  t.test('a transparent socket binds to a foreign address, another does not', async (t) => {
    for (const [family, address] of [
      [4, '198.51.100.7'],
      [6, '2001:db8::7'],
    ] as const) {
      const fd = createSocket({ family, transparent: true });
      bind(fd, address, 15001);
      t.same(localAddress(fd), { address, port: 15001, family });
      closeFd(fd);
      const plain = createSocket({ family });
      t.throws(() => bind(plain, address, 15001), { code: 'EADDRNOTAVAIL', syscall: 'bind' });
      closeFd(plain);
    }
  });

  const missing = ['iptables', 'ip6tables'].filter((tool) => spawnSync(tool, ['--version']).status !== 0);
  const options = missing.length > 0 ? { skip: `${missing.join(' and ')} not installed` } : {};
  t.test('a REDIRECTed connection knows where it was going', options, async (t) => {
    run('ip', 'route', 'add', 'default', 'dev', 'lo', 'src', '127.0.0.1');
    run('ip', '-6', 'route', 'add', 'default', 'dev', 'lo');
    for (const tool of ['iptables', 'ip6tables']) {
      run(tool, '-t', 'nat', '-A', 'OUTPUT', '-p', 'tcp', '--dport', '9080', '-j', 'REDIRECT', '--to-ports', '15001');
    }

    await t.test('over IPv4', async (t) => {
      const seen = await seenByServer(t, listener({ family: 4 }, '127.0.0.1', 15001), '192.0.2.71', 9080, (fd) => ({
        original: originalDestination(fd),
        local: localAddress(fd),
      }));
      t.same(seen.original, { address: '192.0.2.71', port: 9080, family: 4 });
      t.same(seen.local, { address: '127.0.0.1', port: 15001, family: 4 });
    });

    await t.test('over IPv6', async (t) => {
      const seen = await seenByServer(
        t,
        listener({ family: 6 }, '::1', 15001),
        '2001:db8::71',
        9080,
        originalDestination,
      );
      t.same(seen, { address: '2001:db8::71', port: 9080, family: 6 });
    });

    await t.test('over IPv4 to a listener of both families', async (t) => {
      const seen = await seenByServer(t, listener({ family: 6 }, '::', 15001), '192.0.2.71', 9080, (fd) => ({
        original: originalDestination(fd),
        local: localAddress(fd),
      }));
      t.same(seen.original, { address: '192.0.2.71', port: 9080, family: 4 });
      t.same(seen.local, { address: '::ffff:127.0.0.1', port: 15001, family: 6 });
    });

    await t.test('and one that was not redirected was going where it went', async (t) => {
      for (const [family, address] of [
        [4, '127.0.0.1'],
        [6, '::1'],
      ] as const) {
        const fd = listener({ family }, address);
        const { port } = localAddress(fd);
        t.same(await seenByServer(t, fd, address, port, originalDestination), { address, port, family });
      }
    });
  });
});
