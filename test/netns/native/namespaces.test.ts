// Sockets made in other namespaces, and the thread that made them always back in its own.
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { Worker } from 'node:worker_threads';
import {
  bind,
  closeFd,
  createSocket,
  getMark,
  interfaceName,
  isNetworkNamespace,
  listen,
  localAddress,
  namespaceIdentity,
  openNamespace,
} from 'node-tproxy-native';
import t from 'tap';
import { descriptorsLeftOpen } from '../../unit/native/descriptors.ts';
import { createNamespace, inOwnNamespace } from './own-namespace.ts';

function identity(path: string) {
  const fd = openNamespace(path);
  const result = namespaceIdentity(fd);
  closeFd(fd);
  return result;
}

const here = () => identity('/proc/thread-self/ns/net');

/** A server whose first connection's remote address it resolves with; `port` is where it listens. */
async function addressServer(options: { family: 4 | 6; netnsFd: number; address: string }) {
  const fd = createSocket({ ...options, reuseAddress: true });
  bind(fd, options.address, 0);
  listen(fd, 4);
  const server = net.createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.end(socket.remoteAddress ?? 'nobody');
  });
  server.listen({ fd });
  await once(server, 'listening');
  return { server, port: localAddress(fd).port };
}

async function readAll(socket: net.Socket): Promise<string> {
  const chunks: string[] = [];
  for await (const chunk of socket.setEncoding('utf8')) chunks.push(String(chunk));
  return chunks.join('');
}

await inOwnNamespace(import.meta.url, () => {
  t.test('a server and a client in another namespace talk there, and nobody else hears them', async (t) => {
    const before = here();
    const other = await createNamespace(t);
    t.not(namespaceIdentity(other.fd).inode, before.inode);
    t.ok(isNetworkNamespace(other.fd));

    const { server, port } = await addressServer({ family: 4, netnsFd: other.fd, address: '127.0.0.1' });
    t.teardown(() => server.close());
    const socket = new net.Socket({ fd: createSocket({ family: 4, netnsFd: other.fd }) });
    socket.connect(port, '127.0.0.1');
    t.equal(await readAll(socket), '127.0.0.1');

    const outside = net.connect(port, '127.0.0.1');
    const [error] = await once(outside, 'error');
    t.equal(error.code, 'ECONNREFUSED');
    t.same(here(), before);
  });

  t.test('a client in a pod with a foreign source address reaches a server in another pod', async (t) => {
    const [client, server] = [await createNamespace(t), await createNamespace(t)];
    client.run('ip', 'link', 'add', 'c0', 'type', 'veth', 'peer', 'name', 's0', 'netns', String(server.pid));
    client.run('ip', 'addr', 'add', '10.9.0.1/24', 'dev', 'c0');
    client.run('ip', 'addr', 'add', 'fd00:9::1/64', 'dev', 'c0', 'nodad');
    server.run('ip', 'addr', 'add', '10.9.0.2/24', 'dev', 's0');
    server.run('ip', 'addr', 'add', 'fd00:9::2/64', 'dev', 's0', 'nodad');
    // Probing for duplicates of the link-local addresses would make the neighbours wait.
    client.run('sysctl', '-qw', 'net.ipv6.conf.c0.accept_dad=0');
    server.run('sysctl', '-qw', 'net.ipv6.conf.s0.accept_dad=0');
    client.run('ip', 'link', 'set', 'c0', 'up');
    server.run('ip', 'link', 'set', 's0', 'up');
    server.run('ip', 'route', 'add', '203.0.113.0/24', 'via', '10.9.0.1');
    server.run('ip', '-6', 'route', 'add', '2001:db8::/32', 'via', 'fd00:9::1');
    // What comes back is for the client's own sockets, though its address is nobody's.
    for (const family of ['-4', '-6']) {
      client.run('ip', family, 'rule', 'add', 'iif', 'c0', 'lookup', '100');
      client.run('ip', family, 'route', 'add', 'local', 'default', 'dev', 'lo', 'table', '100');
    }

    const cases = [
      { family: 4, address: '10.9.0.2', source: '203.0.113.5' },
      { family: 6, address: 'fd00:9::2', source: '2001:db8::5' },
    ] as const;
    for (const { family, address, source } of cases) {
      const { server: listener, port } = await addressServer({ family, netnsFd: server.fd, address });
      t.teardown(() => listener.close());
      const plain = createSocket({ family, netnsFd: client.fd });
      t.throws(() => bind(plain, source, 0), { code: 'EADDRNOTAVAIL' });
      closeFd(plain);

      const fd = createSocket({ family, netnsFd: client.fd, transparent: true, bindAddressNoPort: true, mark: 0x539 });
      bind(fd, source, 0);
      const socket = new net.Socket({ fd, allowHalfOpen: true });
      socket.connect(port, address);
      await once(socket, 'connect');
      t.equal(socket.localAddress, source);
      t.same([localAddress(fd).address, getMark(fd)], [source, 0x539]);
      t.equal(await readAll(socket), source);
      socket.end();
    }
  });

  t.test('an interface is named in the namespace it is in', async (t) => {
    const other = await createNamespace(t);
    other.run('ip', 'link', 'add', 'only-there', 'index', '4242', 'type', 'veth', 'peer', 'name', 'its-peer');
    t.equal(interfaceName(4242, other.fd), 'only-there');
    t.throws(() => interfaceName(4242), { code: 'ENODEV' });
  });

  t.test('what is no network namespace is refused by setns, and the thread stays', async (t) => {
    const before = here();
    const mount = openNamespace('/proc/self/ns/mnt');
    const file = openNamespace('/proc/self/status');
    t.throws(() => createSocket({ family: 4, netnsFd: mount }), { code: 'EINVAL', syscall: 'setns' });
    t.throws(() => createSocket({ family: 4, netnsFd: file }), { code: 'EINVAL', syscall: 'setns' });
    t.throws(() => createSocket({ family: 4, netnsFd: 2 ** 30 }), { code: 'EBADF', syscall: 'setns' });
    closeFd(mount);
    closeFd(file);
    t.same(here(), before);
  });

  t.test('an option refused after the visit closes the socket, and many visits leave nothing open', async (t) => {
    const other = await createNamespace(t);
    const left = await descriptorsLeftOpen(200, () => {
      closeFd(createSocket({ family: 4, netnsFd: other.fd }));
      t.throws(() => createSocket({ family: 4, netnsFd: other.fd, v6Only: true }), { code: 'ENOPROTOOPT' });
    });
    t.equal(left, 0);
  });

  t.test('threads visit different namespaces at once, each returning to its own', async (t) => {
    const before = here();
    const [first, second] = [await createNamespace(t), await createNamespace(t)];
    const workers = [first, second].map(({ fd }) => {
      const url = new URL('./visiting-worker.ts', import.meta.url);
      return new Worker(url, { workerData: { mode: 'visit', fd, rounds: 2000 } });
    });
    const homes = workers.map((worker) => once(worker, 'message'));
    for (let round = 0; round < 2000; round++) closeFd(createSocket({ family: 4, netnsFd: second.fd }));
    for (const home of homes) t.same(await home, [before]);
    await Promise.all(workers.map((worker) => worker.terminate()));
    t.same(here(), before);
  });

  t.test('a thread that enters a namespace for good returns to that one from visits', async (t) => {
    const before = here();
    const [home, other] = [await createNamespace(t), await createNamespace(t)];
    const worker = new Worker(new URL('./visiting-worker.ts', import.meta.url), {
      workerData: { mode: 'move', fd: other.fd, home: home.fd, rounds: 3 },
    });
    t.same(await once(worker, 'message'), [namespaceIdentity(home.fd)]);
    await worker.terminate();
    t.same(here(), before, 'other threads stay');
  });

  t.test('a thread that could leave but not return is refused, not stranded', async (t) => {
    // In a new user namespace this network still belongs to the outer one, a namespace made there does not.
    const program = `
      import { createSocket, openNamespace } from 'node-tproxy-native';
      import { spawn } from 'node:child_process';
      const holder = spawn('unshare', ['--net', 'sh', '-c', 'echo ready && exec cat'], { stdio: ['pipe', 'pipe', 2] });
      holder.stdout.once('data', () => {
        const netnsFd = openNamespace('/proc/' + holder.pid + '/ns/net');
        try { createSocket({ family: 4, netnsFd }); console.log('went'); } catch (error) { console.log(error.code, error.syscall); }
        holder.stdin.end();
      });`;
    const ended = spawnSync(
      'unshare',
      ['--user', '--map-root-user', process.execPath, '--input-type=module', '-e', program],
      { encoding: 'utf8', cwd: import.meta.dirname },
    );
    t.equal(ended.stdout, 'EPERM setns(own namespace)\n', ended.stderr);
  });
});
