// What any user may ask of namespaces; entering them is tested in the netns tier.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  closeFd,
  interfaceName,
  isNetworkNamespace,
  namespaceIdentity,
  openNamespace,
  setPdeathsig,
  setSubreaper,
} from 'node-tproxy-native';
import t from 'tap';
import { descriptorsLeftOpen } from './descriptors.ts';

t.test('two descriptors of one namespace have one identity, the one stat shows', async (t) => {
  const first = openNamespace('/proc/self/ns/net');
  const second = openNamespace('/proc/thread-self/ns/net');
  const { dev, ino } = statSync('/proc/self/ns/net', { bigint: true });
  t.same(namespaceIdentity(first), { dev, inode: ino });
  t.same(namespaceIdentity(first), namespaceIdentity(second));
  closeFd(first);
  closeFd(second);
});

t.test('only network namespaces are network namespaces', async (t) => {
  const paths = {
    '/proc/self/ns/net': true,
    '/proc/self/ns/mnt': false,
    '/proc/self/status': false,
    '/dev/null': false,
  };
  for (const [path, expected] of Object.entries(paths)) {
    const fd = openNamespace(path);
    t.equal(isNetworkNamespace(fd), expected, path);
    closeFd(fd);
  }
  t.throws(() => isNetworkNamespace(2 ** 30), { code: 'EBADF', syscall: 'fstatfs' });
  t.throws(() => namespaceIdentity(2 ** 30), { code: 'EBADF', syscall: 'fstat' });
});

t.test('a path that cannot be opened is named', async (t) => {
  t.throws(() => openNamespace('/proc/self/ns/absent'), {
    code: 'ENOENT',
    syscall: 'open',
    message: 'ENOENT: no such file or directory, open /proc/self/ns/absent',
  });
});

t.test('a FIFO in the place of a namespace does not stop the event loop', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'native-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const fifo = join(folder, 'fifo');
  t.equal(spawnSync('mkfifo', [fifo]).status, 0);
  const fd = openNamespace(fifo);
  t.equal(isNetworkNamespace(fd), false);
  closeFd(fd);
});

t.test('loopback is interface 1, and an absent interface is ENODEV', async (t) => {
  const left = await descriptorsLeftOpen(20, () => {
    t.equal(interfaceName(1), 'lo');
    t.throws(() => interfaceName(2 ** 31 - 1), { code: 'ENODEV', syscall: 'ioctl(SIOCGIFNAME)' });
  });
  t.equal(left, 0);
});

t.test('descriptors do not reach child processes', async (t) => {
  const fd = openNamespace('/proc/self/ns/net');
  const { stdout } = spawnSync('ls', ['-l', '/proc/self/fd'], { encoding: 'utf8' });
  t.notMatch(stdout, 'net:[');
  closeFd(fd);
});

t.test('process settings are accepted by the kernel', async (t) => {
  setPdeathsig(0);
  setSubreaper(true);
  setSubreaper(false);
  t.throws(() => setPdeathsig(65), { code: 'ERR_OUT_OF_RANGE' });
});
