// TCP streams by hand, on loopback: what an epoll set tells and how often, short and refused sends, and what an errno means.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { constants } from 'node:os';
import {
  acceptConnection,
  bind,
  closeFd,
  connectSocket,
  createEpoll,
  createSocket,
  epollAdd,
  epollWait,
  listen,
  localAddress,
  peerAddress,
  receiveBytes,
  resetConnection,
  sendBytes,
  sendChunks,
  shutdownSending,
  takeSocketError,
  watchFd,
} from 'node-tproxy-native';
import t, { type Test } from 'tap';
import { descriptorsLeftOpen, openDescriptors } from './descriptors.ts';

const { EAGAIN, ECONNREFUSED, ECONNRESET, ENOTCONN, EPIPE } = constants.errno;
const [readable, writable, finished, failed, urgent] = [1, 2, 4, 8, 16];

function listener(address = '127.0.0.1'): { fd: number; port: number } {
  const fd = createSocket({ family: address.includes(':') ? 6 : 4 });
  bind(fd, address, 0);
  listen(fd, 1024);
  return { fd, port: localAddress(fd).port };
}

/** Both sides of a connection, here; on loopback it stands when `connect` returns. */
function pair(address = '127.0.0.1'): { near: number; far: number } {
  const { fd, port } = listener(address);
  const near = createSocket({ family: address.includes(':') ? 6 : 4, noDelay: true });
  connectSocket(near, address, port);
  const far = acceptConnection(fd);
  closeFd(fd);
  if (far === undefined) throw new Error('nothing to accept');
  return { near, far };
}

function tornDown(t: Test, address?: string): { near: number; far: number } {
  const made = pair(address);
  t.teardown(() => {
    closeFd(made.near);
    closeFd(made.far);
  });
  return made;
}

function epoll(t: Test): number {
  const set = createEpoll();
  t.teardown(() => closeFd(set));
  return set;
}

/** What is told now, as triples. */
function told(set: number, room = 16): number[][] {
  const words = new Int32Array(3 * room);
  const count = epollWait(set, words);
  return Array.from({ length: count }, (_, index) => [...words.subarray(3 * index, 3 * index + 3)]);
}

function received(fd: number, size = 1 << 20): Buffer {
  const buffer = Buffer.alloc(size);
  const count = receiveBytes(fd, buffer);
  if (count < 0) throw new Error(`errno ${count}`);
  return buffer.subarray(0, count);
}

/** Sends until the kernel takes no more; returns what it took. */
function fill(fd: number): number {
  const chunk = Buffer.alloc(256 * 1024);
  for (let all = 0; ; ) {
    const sent = sendBytes(fd, chunk);
    if (sent === -EAGAIN) return all;
    if (sent < 0) throw new Error(`errno ${sent}`);
    all += sent;
  }
}

t.test('readiness is told with descriptor and tag, each edge once', async (t) => {
  const { near, far } = tornDown(t);
  const set = epoll(t);
  t.same(told(set), []);
  const mostTag = 2 ** 31 - 1;
  epollAdd(set, near, mostTag);
  t.same(told(set), [[near, mostTag, writable]]);
  t.same(told(set), [], 'it is still writable, which is no edge');

  sendBytes(far, Buffer.from('one'));
  t.same(told(set), [[near, mostTag, readable | writable]]);
  t.same(told(set), [], 'nobody has read, which is no edge');
  sendBytes(far, Buffer.from('two'));
  t.same(told(set), [[near, mostTag, readable | writable]], 'more has come');
  t.equal(String(received(near)), 'onetwo');
  t.same(told(set), []);
});

t.test('the end, a reset and both ends have bits of their own', async (t) => {
  const set = epoll(t);
  const ends = tornDown(t);
  epollAdd(set, ends.near, 0);
  told(set);
  t.equal(shutdownSending(ends.far), 0);
  t.same(told(set), [[ends.near, 0, readable | writable | finished]]);
  t.equal(shutdownSending(ends.near), 0);
  t.same(told(set), [[ends.near, 0, readable | writable | finished]], 'both have finished');

  const { near, far } = pair();
  epollAdd(set, near, 1);
  told(set);
  resetConnection(far);
  t.same(told(set), [[near, 1, readable | writable | finished | failed]]);
  t.equal(takeSocketError(near), -ECONNRESET);
  closeFd(near);
});

t.test('what was there before a socket was added is told', async (t) => {
  const { near, far } = tornDown(t);
  sendBytes(far, Buffer.from('early'));
  shutdownSending(far);
  const set = epoll(t);
  epollAdd(set, near, 7);
  t.same(told(set), [[near, 7, readable | writable | finished]]);
});

t.test('more sockets are ready than there is room for: each is told once, a few at a time', async (t) => {
  const set = epoll(t);
  const pairs = Array.from({ length: 300 }, () => tornDown(t));
  for (const [tag, { near }] of pairs.entries()) epollAdd(set, near, tag);
  const seen: number[] = [];
  for (let events = told(set, 7); events.length > 0; events = told(set, 7)) {
    t.ok(events.length <= 7);
    seen.push(...events.map(([, tag]) => tag as number));
  }
  t.same(seen, [...pairs.keys()], 'in the order in which they became ready');

  for (const { far } of pairs) sendBytes(far, Buffer.from('x'));
  t.equal(told(set, 1000).length, 256, 'never more than 256 of them');
  t.equal(told(set, 1000).length, 44);
  const words = new Int32Array(5).fill(-1);
  sendBytes((pairs[0] as { far: number }).far, Buffer.from('x'));
  t.equal(epollWait(set, words), 1);
  t.same([...words.subarray(3)], [-1, -1], 'nothing is written behind the room of whole triples');
});

t.test('a closed socket leaves the set, and its number comes back with another tag', async (t) => {
  const set = epoll(t);
  const { near, far } = pair();
  epollAdd(set, near, 1);
  resetConnection(near);
  t.same(told(set), []);
  const next = pair();
  t.equal(next.near, near, 'the number is used again');
  epollAdd(set, next.near, 2);
  t.same(told(set), [[near, 2, writable]]);
  t.throws(() => epollAdd(set, next.near, 3), { code: 'EEXIST', syscall: 'epoll_ctl' });
  t.throws(() => epollAdd(next.near, next.far, 3), { code: 'EINVAL', syscall: 'epoll_ctl' }, 'that is no epoll set');
  t.throws(() => epollWait(next.near, new Int32Array(3)), { code: 'EINVAL', syscall: 'epoll_wait' });
  for (const fd of [far, next.near, next.far]) closeFd(fd);
});

t.test('a set is watched like one socket: called for as long as something in it waits to be told', async (t) => {
  const set = epoll(t);
  const { near, far } = tornDown(t);
  epollAdd(set, near, 1);
  const calls: number[][][] = [];
  const done = Promise.withResolvers<void>();
  const watcher = watchFd(set, 'r', () => {
    calls.push(told(set));
    if (calls.length === 1) sendBytes(far, Buffer.from('x'));
    else done.resolve();
  });
  t.teardown(() => watcher.close());
  await done.promise;
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  t.same(calls, [[[near, 1, writable]], [[near, 1, readable | writable]]], 'and not once more');
});

t.test('reading tells bytes, nothing now, the end, and then the end again', async (t) => {
  for (const address of ['127.0.0.1', '::1']) {
    const { near, far } = tornDown(t, address);
    const buffer = Buffer.alloc(4, '.');
    t.equal(receiveBytes(near, buffer), -EAGAIN);
    t.equal(sendBytes(far, Buffer.from('hello')), 5);
    t.equal(receiveBytes(near, buffer), 4);
    t.equal(String(buffer), 'hell');
    t.equal(receiveBytes(near, buffer), 1);
    t.equal(String(buffer), 'oell', 'no more than came is touched');
    shutdownSending(far);
    t.equal(receiveBytes(near, buffer), 0);
    t.equal(receiveBytes(near, buffer), 0);
    t.equal(sendBytes(near, Buffer.from('still')), 5, 'the other direction goes on');
    t.equal(String(received(far)), 'still');
  }
});

t.test('urgent data has a bit of its own, is left out, and cuts what is read before it', async (t) => {
  const { fd, port } = listener();
  t.teardown(() => closeFd(fd));
  const program = `$s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:${port}") or die;
    send($s, "before!", MSG_OOB); send($s, "behind", 0);
    $| = 1; print "sent"; <STDIN>;`;
  const sender = spawn('perl', ['-MIO::Socket::INET', '-MSocket', '-e', program], {
    env: { ...process.env, LD_PRELOAD: '' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.teardown(() => sender.kill());
  const missing = once(sender, 'error').then(() => 'missing');
  if ((await Promise.race([missing, once(sender.stdout, 'data')])) === 'missing') {
    t.pass('sends urgent data', { skip: 'no perl: apt-get install perl' });
    return;
  }
  const near = acceptConnection(fd) as number;
  t.teardown(() => closeFd(near));
  const set = epoll(t);
  epollAdd(set, near, 1);
  t.same(told(set), [[near, 1, readable | writable | urgent]]);
  t.equal(String(received(near)), 'before');
  t.same(told(set), [], 'no edge for what is behind it');
  t.equal(String(received(near)), 'behind');
});

t.test(
  'a send is cut to the room there is, and refused when there is none; its edge comes when there is',
  async (t) => {
    const { near, far } = tornDown(t);
    const set = epoll(t);
    const chunk = Buffer.alloc(64 * 1024 * 1024, 'x');
    const first = sendBytes(near, chunk);
    t.ok(first > 0 && first < chunk.length, `${first} bytes of it`);
    const all = first + fill(near);
    t.equal(sendBytes(near, Buffer.from('x')), -EAGAIN);
    t.equal(sendChunks(near, [Buffer.from('x'), Buffer.from('y')]), -EAGAIN);
    epollAdd(set, near, 1);
    t.same(told(set), [], 'not writable');
    let read = 0;
    const room: number[][] = [];
    for (; read < all; ) {
      const count = received(far).length;
      if (count === 0) t.fail('the end');
      read += count;
      room.push(...told(set));
      if (read < all) await new Promise((resolve) => setImmediate(resolve));
    }
    t.equal(read, all, 'what was taken arrives, and nothing more');
    t.ok(room.length > 0 && room.every((event) => event.join() === `${near},1,${writable}`));
    t.ok(sendBytes(near, chunk) > 0);
  },
);

t.test('several chunks leave in one call: the first 64, and of those what there is room for', async (t) => {
  const { near, far } = tornDown(t);
  const letters = Array.from({ length: 70 }, (_, index) => Buffer.from(String.fromCharCode(48 + index)));
  t.equal(sendChunks(near, letters), 64);
  t.equal(String(received(far)), Buffer.concat(letters.slice(0, 64)).toString());
  t.equal(sendChunks(near, letters.slice(64)), 6);
  t.equal(String(received(far)), Buffer.concat(letters.slice(64)).toString());
  t.equal(sendChunks(near, [Buffer.alloc(0), Buffer.from('a'), new Uint8Array(0), new Uint8Array([98])]), 2);
  t.equal(String(received(far)), 'ab');
  t.equal(sendChunks(near, []), 0);

  const large = Array.from({ length: 64 }, (_, index) => Buffer.alloc(1024 * 1024, index));
  const sent = sendChunks(near, large);
  t.ok(sent > 0 && sent < 64 * 1024 * 1024);
  const expected = Buffer.concat(large).subarray(0, sent);
  const got: Buffer[] = [];
  for (let left = sent; left > 0; ) {
    const part = Buffer.from(received(far));
    got.push(part);
    left -= part.length;
    if (left > 0) await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(Buffer.concat(got).equals(expected), 'cut in the midst of one, in order');
});

t.test('a chunk that another takes away in the midst of the call is not read', async (t) => {
  const { near, far } = tornDown(t);
  const first = new Uint8Array(new ArrayBuffer(1024 * 1024)).fill(1);
  const chunks: Uint8Array[] = [first, Buffer.from('second')];
  Object.defineProperty(chunks, 1, {
    get() {
      structuredClone(first, { transfer: [first.buffer] });
      return Buffer.from('second');
    },
  });
  t.equal(sendChunks(near, chunks), 6);
  t.equal(String(received(far)), 'second');
  Object.defineProperty(chunks, 1, {
    get() {
      throw new Error('from a getter');
    },
  });
  t.throws(() => sendChunks(near, chunks), { message: 'from a getter' });
  t.throws(() => sendChunks(near, [Buffer.from('sent?'), 'text' as never]), { code: 'ERR_INVALID_ARG_TYPE' });
  t.throws(() => received(far), { message: `errno ${-EAGAIN}` }, 'nothing of a wrong call has left');
});

t.test('to who has gone: the reset once, then EPIPE, and no signal', async (t) => {
  const { near, far } = pair();
  resetConnection(far);
  t.equal(sendBytes(near, Buffer.from('x')), -ECONNRESET);
  t.equal(takeSocketError(near), 0, 'it was told');
  t.equal(receiveBytes(near, Buffer.alloc(1)), 0, 'which looks like the end from now on');
  t.equal(sendBytes(near, Buffer.from('x')), -EPIPE);
  t.equal(sendChunks(near, [Buffer.from('x'), Buffer.from('y')]), -EPIPE);
  t.equal(shutdownSending(near), -ENOTCONN);
  closeFd(near);

  const ended = tornDown(t);
  shutdownSending(ended.near);
  t.equal(sendBytes(ended.near, Buffer.from('x')), -EPIPE, 'after a FIN of our own');
});

t.test('a reset is told to who reads, behind what came before it', async (t) => {
  const { near, far } = pair();
  sendBytes(far, Buffer.from('last words'));
  resetConnection(far);
  t.equal(String(received(near)), 'last words');
  t.equal(receiveBytes(near, Buffer.alloc(1)), -ECONNRESET);
  t.equal(receiveBytes(near, Buffer.alloc(1)), 0, 'once');
  closeFd(near);

  const after = pair();
  shutdownSending(after.far);
  resetConnection(after.far);
  t.equal(receiveBytes(after.near, Buffer.alloc(1)), 0, 'behind a FIN it is not told to who reads');
  t.equal(takeSocketError(after.near), -EPIPE, 'but to who asks');
  t.equal(takeSocketError(after.near), 0, 'once');
  closeFd(after.near);
});

t.test('a connection is refused, or under way until it is decided', async (t) => {
  const { fd, port } = listener();
  closeFd(fd);
  const refused = createSocket({ family: 4 });
  const set = epoll(t);
  try {
    connectSocket(refused, '127.0.0.1', port);
    epollAdd(set, refused, 1);
    t.same(told(set), [[refused, 1, readable | writable | finished | failed]]);
    t.equal(takeSocketError(refused), -ECONNREFUSED);
    t.equal(takeSocketError(refused), 0, 'it is cleared');
  } catch (error) {
    t.match(error, { code: 'ECONNREFUSED', syscall: 'connect', message: /127\.0\.0\.1/ });
  }
  closeFd(refused);

  const deaf = createSocket({ family: 4 });
  bind(deaf, '127.0.0.1', 0);
  listen(deaf, 0);
  const waiting: number[] = [];
  const undecided = () => {
    const last = createSocket({ family: 4 });
    waiting.push(last);
    connectSocket(last, '127.0.0.1', localAddress(deaf).port);
    const alone = createEpoll();
    epollAdd(alone, last, 5);
    const events = told(alone);
    closeFd(alone);
    return events.length === 0;
  };
  t.ok([undecided(), undecided(), undecided()].at(-1), 'a listener that answers no more: nothing is told');
  const last = waiting.at(-1) as number;
  t.equal(takeSocketError(last), 0);
  t.throws(() => peerAddress(last), { code: 'ENOTCONN' });
  t.throws(() => connectSocket(last, '127.0.0.1', 1), { code: 'EALREADY', syscall: 'connect' });
  for (const each of [...waiting, deaf]) closeFd(each);

  const made = tornDown(t);
  connectSocket(made.near, '127.0.0.1', 1);
  t.throws(() => connectSocket(made.near, '127.0.0.1', 1), { code: 'EISCONN', syscall: 'connect' }, 'told once');
  t.throws(() => connectSocket(made.near, 'localhost', 1), { code: 'EINVAL', syscall: 'inet_pton' });
  t.throws(() => connectSocket(made.near, 'fe80::1%lo', 1), { code: 'EINVAL', syscall: 'inet_pton' });
});

t.test('a reset closes the descriptor, and Node sees a reset where closing would have been a FIN', async (t) => {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  for (const [end, seen] of [
    [resetConnection, 'ECONNRESET'],
    [closeFd, 'end'],
  ] as const) {
    const near = createSocket({ family: 4 });
    const accepted = once(server, 'connection');
    connectSocket(near, '127.0.0.1', (server.address() as net.AddressInfo).port);
    const [socket] = (await accepted) as [net.Socket];
    const heard = new Promise<string>((resolve) => {
      socket.on('end', () => resolve('end')).on('error', (error) => resolve(Reflect.get(error, 'code') as string));
    });
    socket.resume();
    const before = openDescriptors();
    end(near);
    t.equal(openDescriptors(), before - 1);
    t.throws(() => localAddress(near), { code: 'EBADF' });
    t.throws(() => resetConnection(near), { code: 'EBADF', syscall: 'close' });
    t.equal(await heard, seen);
    socket.destroy();
  }
  const file = createEpoll();
  t.throws(() => resetConnection(file), { code: 'ENOTSOCK', syscall: 'setsockopt(SO_LINGER)' });
  t.throws(() => closeFd(file), { code: 'EBADF' }, 'closed all the same');
});

t.test('sets and connections come and go, and leave no descriptor behind', async (t) => {
  const left = await descriptorsLeftOpen(50, () => {
    const set = createEpoll();
    const { near, far } = pair();
    epollAdd(set, near, 1);
    epollAdd(set, far, 2);
    told(set);
    resetConnection(near);
    told(set);
    closeFd(far);
    closeFd(set);
  });
  t.equal(left, 0);
});
