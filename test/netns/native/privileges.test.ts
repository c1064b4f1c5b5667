// Without capabilities each privileged call is refused by its own name, and what needs none still works.
import { spawnSync } from 'node:child_process';
import t from 'tap';
import { inOwnNamespace } from './own-namespace.ts';

const program = `
  import { bind, closeFd, createSocket, openNamespace, packetSocket, enterNamespace } from 'node-tproxy-native';
  const own = openNamespace('/proc/self/ns/net');
  const attempts = {
    transparent4: () => createSocket({ family: 4, transparent: true }),
    transparent6: () => createSocket({ family: 6, transparent: true }),
    mark: () => createSocket({ family: 4, mark: 1 }),
    netns: () => createSocket({ family: 4, netnsFd: own }),
    enter: () => enterNamespace(own),
    capture: () => packetSocket('any'),
    port: () => bind(createSocket({ family: 4, transparent: false }), '127.0.0.1', 80),
    plain: () => bind(createSocket({ family: 4, freebind: true, bindAddressNoPort: true }), '192.0.2.1', 0),
  };
  const outcomes = {};
  for (const [name, attempt] of Object.entries(attempts)) {
    try { attempt(); outcomes[name] = 'done'; } catch (error) { outcomes[name] = error.code + ' ' + error.syscall; }
  }
  console.log(JSON.stringify(outcomes));`;

await inOwnNamespace(import.meta.url, () => {
  t.test('a process without capabilities is told which call was refused', async (t) => {
    const ended = spawnSync(
      'setpriv',
      ['--inh-caps=-all', '--bounding-set=-all', process.execPath, '--input-type=module', '-e', program],
      { encoding: 'utf8', cwd: import.meta.dirname },
    );
    t.equal(ended.stderr, '');
    t.same(JSON.parse(ended.stdout), {
      transparent4: 'EPERM setsockopt(IP_TRANSPARENT)',
      transparent6: 'EPERM setsockopt(IPV6_TRANSPARENT)',
      mark: 'EPERM setsockopt(SO_MARK)',
      netns: 'EPERM setns(own namespace)',
      enter: 'EPERM setns',
      capture: 'EPERM socket',
      port: 'EACCES bind',
      plain: 'done',
    });
  });
});
