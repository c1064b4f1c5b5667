// Unix SEQPACKET records and the descriptors in them: bounds, truncation, and no descriptor ever lost.
import { fstatSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  closeFd,
  seqpacketAccept,
  seqpacketConnect,
  seqpacketListen,
  seqpacketReceive,
  seqpacketSend,
} from 'node-tproxy-native';
import t from 'tap';
import { descriptorsLeftOpen, openDescriptors } from './descriptors.ts';

const folder = mkdtempSync(join(tmpdir(), 'native-'));
t.teardown(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'file');
writeFileSync(file, 'content');
let sockets = 0;

/** Two connected descriptors. */
function pair(): [number, number] {
  const path = join(folder, `socket${sockets++}`);
  const listener = seqpacketListen(path, 4);
  const client = seqpacketConnect(path);
  const server = seqpacketAccept(listener);
  if (server === undefined) throw new Error('nothing to accept');
  t.equal(seqpacketAccept(listener), undefined, 'a second accept finds nobody');
  closeFd(listener);
  return [client, server];
}

function closeAll(...fds: number[]): void {
  for (const fd of fds) closeFd(fd);
}

const nothing = { fds: [], truncated: false, controlTruncated: false, eof: false };

t.test('records keep their boundaries, and nothing to read is undefined', async (t) => {
  const [left, right] = pair();
  t.equal(seqpacketReceive(right, 100, 0), undefined);
  t.equal(seqpacketSend(left, Buffer.from('one')), true);
  t.equal(seqpacketSend(left, new Uint8Array([1, 2]).subarray(1), []), true);
  t.same(seqpacketReceive(right, 100, 0), { ...nothing, data: Buffer.from('one') });
  t.same(seqpacketReceive(right, 100, 1), { ...nothing, data: Buffer.from([2]) });
  closeAll(left, right);
});

t.test('descriptors arrive as new descriptors of the same files', async (t) => {
  const [left, right] = pair();
  const first = openSync(file, 'r');
  const second = openSync('/dev/null', 'r');
  seqpacketSend(left, Buffer.from('two'), [first, second]);
  closeAll(first, second);
  const record = seqpacketReceive(right, 100, 2);
  t.equal(record?.fds.length, 2);
  const [a = -1, b = -1] = record?.fds ?? [];
  const content = Buffer.alloc(7);
  readSync(a, content);
  t.equal(content.toString(), 'content');
  t.ok(fstatSync(b).isCharacterDevice());
  closeAll(a, b, left, right);
});

t.test('a record longer than asked for is reported, and its descriptors are closed', async (t) => {
  const left = await descriptorsLeftOpen(10, () => {
    const [left, right] = pair();
    const fd = openSync(file, 'r');
    seqpacketSend(left, Buffer.from('0123456789'), [fd]);
    t.same(seqpacketReceive(right, 4, 1), { ...nothing, data: Buffer.from('0123'), truncated: true });
    t.equal(seqpacketReceive(right, 4, 1), undefined, 'the rest is gone');
    closeAll(fd, left, right);
  });
  t.equal(left, 0);
});

t.test('more descriptors than asked for are reported and all closed, however many were asked for', async (t) => {
  const left = await descriptorsLeftOpen(5, () => {
    for (const [sent, wanted] of [
      [1, 0],
      [2, 1],
      [3, 2],
      [4, 3],
      [253, 252],
    ] as const) {
      const [left, right] = pair();
      const fd = openSync(file, 'r');
      seqpacketSend(left, Buffer.from('x'), new Array<number>(sent).fill(fd));
      t.same(seqpacketReceive(right, 10, wanted), { ...nothing, data: Buffer.from('x'), controlTruncated: true });
      closeAll(fd, left, right);
    }
  });
  t.equal(left, 0);
});

t.test('exactly as many descriptors as asked for pass, up to the limit of the kernel', async (t) => {
  for (const count of [1, 2, 3, 253]) {
    const [left, right] = pair();
    const fd = openSync(file, 'r');
    seqpacketSend(left, Buffer.from('x'), new Array<number>(count).fill(fd));
    const record = seqpacketReceive(right, 10, count);
    t.equal(record?.fds.length, count);
    t.equal(record?.controlTruncated, false);
    closeAll(...(record?.fds ?? []), fd, left, right);
  }
  const fds = new Array<number>(254).fill(0);
  const [left, right] = pair();
  t.throws(() => seqpacketSend(left, Buffer.from('x'), fds), { code: 'ERR_OUT_OF_RANGE', message: /"fds"/ });
  closeAll(left, right);
});

t.test('received descriptors are close-on-exec', async (t) => {
  const [left, right] = pair();
  const fd = openSync(file, 'r');
  seqpacketSend(left, Buffer.from('x'), [fd]);
  const [received = -1] = seqpacketReceive(right, 10, 1)?.fds ?? [];
  const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${received}`, 'utf8'))?.[1] ?? '';
  const mode = Number.parseInt(flags, 8);
  t.equal(mode & 0o2000000, 0o2000000);
  closeAll(received, fd, left, right);
});

t.test('the end is told, and sending to it is EPIPE without a signal', async (t) => {
  const [left, right] = pair();
  seqpacketSend(left, Buffer.from('last'));
  closeFd(left);
  t.same(seqpacketReceive(right, 10, 0), { ...nothing, data: Buffer.from('last') });
  t.same(seqpacketReceive(right, 10, 1), { ...nothing, data: Buffer.alloc(0), eof: true });
  t.throws(() => seqpacketSend(right, Buffer.from('x')), { code: 'EPIPE', syscall: 'sendmsg' });
  closeFd(right);
});

t.test('a peer that closes with unread records is ECONNRESET', async (t) => {
  const [left, right] = pair();
  seqpacketSend(left, Buffer.from('unread'));
  closeFd(right);
  t.throws(() => seqpacketReceive(left, 10, 0), { code: 'ECONNRESET', syscall: 'recvmsg' });
  closeFd(left);
});

t.test('a full queue is false, not an error, and loses nothing', async (t) => {
  const [left, right] = pair();
  let sent = 0;
  while (sent < 10_000 && seqpacketSend(left, Buffer.alloc(1000, sent % 256))) sent++;
  t.ok(sent > 0 && sent < 10_000, `${sent} records fit`);
  let received = 0;
  while (seqpacketReceive(right, 1000, 0)?.data[0] === received % 256) received++;
  t.equal(received, sent);
  closeAll(left, right);
});

t.test('what cannot be sent is refused by name', async (t) => {
  const [left, right] = pair();
  t.throws(() => seqpacketSend(left, Buffer.alloc(0)), { code: 'ERR_OUT_OF_RANGE', message: /"buffer"/ });
  t.throws(() => seqpacketSend(left, Buffer.from('x'), [2 ** 30]), { code: 'EBADF', syscall: 'sendmsg' });
  t.throws(() => seqpacketSend(left, Buffer.alloc(64 * 1024 * 1024)), { code: 'EMSGSIZE', syscall: 'sendmsg' });
  closeAll(left, right);
});

t.test('paths that cannot be used fail by name and leave nothing open', async (t) => {
  const before = openDescriptors();
  const taken = join(folder, 'taken');
  const listener = seqpacketListen(taken, 1);
  t.throws(() => seqpacketListen(taken, 1), { code: 'EADDRINUSE', syscall: 'bind', message: new RegExp(taken) });
  t.throws(() => seqpacketConnect(join(folder, 'absent')), { code: 'ENOENT', syscall: 'connect' });
  t.throws(() => seqpacketConnect(file), { code: 'ECONNREFUSED', syscall: 'connect' });
  t.throws(() => seqpacketListen('x'.repeat(108), 1), { code: 'ENAMETOOLONG', syscall: 'bind' });
  t.throws(() => seqpacketConnect(''), { code: 'ENOENT', syscall: 'connect' });
  closeFd(listener);
  t.equal(openDescriptors(), before);
});
