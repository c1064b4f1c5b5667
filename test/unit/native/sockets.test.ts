// Sockets made by the addon and owned by Node, on loopback, as any user.
import { once } from 'node:events';
import net from 'node:net';
import {
  bind,
  closeFd,
  createSocket,
  dupFd,
  getMark,
  getTransparent,
  listen,
  localAddress,
  originalDestination,
  peerAddress,
} from 'node-tproxy-native';
import t from 'tap';
import { descriptorsLeftOpen } from './descriptors.ts';

async function exchange(family: 4 | 6, address: string, source: string) {
  const listener = createSocket({ family, reuseAddress: true, noDelay: true });
  bind(listener, address, 0);
  listen(listener, 16);
  const server = net.createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.end(`you are ${socket.remoteAddress}`);
  });
  server.listen({ fd: listener });
  await once(server, 'listening');
  const { port } = localAddress(listener);

  const client = createSocket({ family, bindAddressNoPort: true, userTimeoutMs: 5000 });
  bind(client, source, 0);
  const socket = new net.Socket({ fd: client });
  const text: string[] = [];
  socket.setEncoding('utf8').on('data', (chunk) => text.push(String(chunk)));
  socket.connect(port, address);
  await once(socket, 'connect');
  const peer = peerAddress(client);
  await once(socket, 'close');
  server.close();
  await once(server, 'close');
  return { text: text.join(''), peer, port };
}

t.test('Node listens on and connects from descriptors the addon bound', async (t) => {
  const v4 = await exchange(4, '127.0.0.1', '127.0.0.9');
  t.equal(v4.text, 'you are 127.0.0.9');
  t.same(v4.peer, { address: '127.0.0.1', port: v4.port, family: 4 });
  const v6 = await exchange(6, '::1', '::1');
  t.equal(v6.text, 'you are ::1');
  t.same(v6.peer, { address: '::1', port: v6.port, family: 6 });
});

t.test('a server closed by Node leaves no descriptor behind', async (t) => {
  const left = await descriptorsLeftOpen(20, async () => {
    await exchange(4, '127.0.0.1', '127.0.0.1');
  });
  t.equal(left, 0);
});

t.test('every option an ordinary user may set is accepted, for both families and for UDP', async (t) => {
  for (const family of [4, 6] as const) {
    const fd = createSocket({
      family,
      type: 'stream',
      reuseAddress: true,
      reusePort: true,
      freebind: true,
      bindAddressNoPort: true,
      userTimeoutMs: 1234,
      noDelay: true,
      keepAlive: { idleSec: 10, intervalSec: 5, count: 3 },
      transparent: false,
    });
    t.equal(getMark(fd), 0);
    t.equal(getTransparent(fd), false);
    closeFd(fd);
  }
  const v6 = createSocket({ family: 6, v6Only: true, keepAlive: {} });
  bind(v6, '::', 0);
  closeFd(v6);
  const udp = createSocket({ family: 4, type: 'dgram', reusePort: true });
  bind(udp, '127.0.0.1', 0);
  t.not(localAddress(udp).port, 0);
  closeFd(udp);
});

t.test('freebind binds to an address the host does not have; without it the kernel refuses', async (t) => {
  const free = createSocket({ family: 4, freebind: true });
  bind(free, '192.0.2.1', 0);
  t.equal(localAddress(free).address, '192.0.2.1');
  closeFd(free);
  const plain = createSocket({ family: 4 });
  t.throws(() => bind(plain, '192.0.2.1', 8080), {
    code: 'EADDRNOTAVAIL',
    syscall: 'bind',
    message: 'EADDRNOTAVAIL: address not available, bind 192.0.2.1:8080',
  });
  closeFd(plain);
  const v6 = createSocket({ family: 6 });
  t.throws(() => bind(v6, '2001:db8::1', 8080), { code: 'EADDRNOTAVAIL', message: /bind \[2001:db8::1\]:8080$/ });
  closeFd(v6);
});

t.test('an option the socket does not have fails by the name of its call and leaks nothing', async (t) => {
  const left = await descriptorsLeftOpen(20, () => {
    t.throws(() => createSocket({ family: 4, v6Only: true }), {
      code: 'ENOPROTOOPT',
      errno: -92,
      syscall: 'setsockopt(IPV6_V6ONLY)',
    });
    t.throws(() => createSocket({ family: 4, type: 'dgram', noDelay: true }), {
      code: 'ENOPROTOOPT',
      syscall: 'setsockopt(TCP_NODELAY)',
    });
  });
  t.equal(left, 0);
});

t.test('what is no IP literal is EINVAL and named, before any system call', async (t) => {
  const fd = createSocket({ family: 4 });
  const literals = ['', 'localhost', '10.0.0.256', '10.0.0', '::g', '::1%lo', '[::1]', ' 10.0.0.1', '1'.repeat(4000)];
  for (const literal of literals) {
    t.throws(() => bind(fd, literal, 0), { code: 'EINVAL', syscall: 'inet_pton' });
  }
  t.throws(() => bind(fd, '10.0.0.256', 0), { message: /inet_pton 10\.0\.0\.256$/ });
  closeFd(fd);
});

t.test('a literal of the other family is refused by the kernel', async (t) => {
  const fd = createSocket({ family: 6 });
  t.throws(() => bind(fd, '127.0.0.1', 0), { syscall: 'bind', code: 'EINVAL' });
  closeFd(fd);
});

t.test('an address in use is EADDRINUSE', async (t) => {
  const first = createSocket({ family: 4 });
  bind(first, '127.0.0.1', 0);
  listen(first, 1);
  const second = createSocket({ family: 4 });
  t.throws(() => bind(second, '127.0.0.1', localAddress(first).port), { code: 'EADDRINUSE', syscall: 'bind' });
  closeFd(first);
  closeFd(second);
});

t.test('an unconnected socket has no peer and no original destination', async (t) => {
  for (const family of [4, 6] as const) {
    const fd = createSocket({ family });
    t.throws(() => peerAddress(fd), { code: 'ENOTCONN', syscall: 'getpeername' });
    t.equal(originalDestination(fd), undefined);
    closeFd(fd);
  }
});

t.test('facts asked of a closed descriptor are EBADF', async (t) => {
  const fd = createSocket({ family: 4 });
  closeFd(fd);
  t.throws(() => localAddress(fd), { code: 'EBADF', syscall: 'getsockname' });
  t.throws(() => originalDestination(fd), { code: 'EBADF', syscall: 'getsockname' });
  t.throws(() => getMark(fd), { code: 'EBADF', syscall: 'getsockopt(SO_MARK)' });
  t.throws(() => getTransparent(fd), { code: 'EBADF', syscall: 'getsockopt(SO_DOMAIN)' });
  t.throws(() => listen(fd, 1), { code: 'EBADF', syscall: 'listen' });
  t.throws(() => closeFd(fd), { code: 'EBADF', syscall: 'close' });
  t.throws(() => dupFd(fd), { code: 'EBADF', syscall: 'fcntl(F_DUPFD_CLOEXEC)' });
});

t.test('a duplicate keeps the socket open after the first descriptor is closed', async (t) => {
  const fd = createSocket({ family: 4 });
  bind(fd, '127.0.0.1', 0);
  const copy = dupFd(fd);
  const { port } = localAddress(fd);
  closeFd(fd);
  t.equal(localAddress(copy).port, port);
  closeFd(copy);
});
