/** Sockets that need privileges, in a namespace of the test's own: REDIRECT, foreign sources, marks, other namespaces. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, Socket } from 'node:net';
import { bind, createSocket, getMark, getTransparent, namespaceIdentity } from 'node-tproxy-native';
import t from 'tap';
import type { SocketAddress } from '../../../src/base/address.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { type ListenHooks, listen } from '../../../src/net/listener.ts';
import { descriptorOf, originalDestination } from '../../../src/net/original-destination.ts';
import { dial, socketAddresses } from '../../../src/net/socket-factory.ts';
import { plainSocket, type SocketProfile } from '../../../src/net/socket-spec.ts';
import { within } from '../../support/eventually.ts';
import { onLoopback } from '../../support/relay-world.ts';
import { createNamespace, inOwnNamespace, run } from '../native/own-namespace.ts';

const on = (onSocket: ListenHooks['onSocket']): ListenHooks => ({ clock: systemClock, onSocket });

await inOwnNamespace(import.meta.url, () => {
  const hasIptables = spawnSync('iptables', ['--version']).status === 0;
  const options = hasIptables ? {} : { skip: 'iptables is not installed' };

  t.test('a REDIRECTed connection knows where it was going', options, async (t) => {
    const seen: (SocketAddress | undefined)[] = [];
    const server = await listen(
      { ...onLoopback, ip: '0.0.0.0', redirected: true },
      on((socket) => {
        seen.push(originalDestination(socket));
        socket.destroy();
        seen.push(originalDestination(socket));
      }),
    );
    t.teardown(() => server.close());
    const { port } = server.address;
    run('ip', 'route', 'add', '203.0.113.0/24', 'dev', 'lo', 'src', '127.0.0.1');
    const rule = [
      '-t',
      'nat',
      '-A',
      'OUTPUT',
      '-p',
      'tcp',
      '--dport',
      '9080',
      '-j',
      'REDIRECT',
      '--to-ports',
      `${port}`,
    ];
    run('iptables', ...rule);
    const client = connect(9080, '203.0.113.5');
    client.on('error', () => {});
    await within('close', new Promise((resolve) => client.once('close', resolve)));
    t.same(seen, [{ ip: '203.0.113.5', port: 9080 }, undefined]);
  });

  t.test('a transparent socket dials from a foreign address, marked', async (t) => {
    const foreign = '198.51.100.7';
    run('ip', 'rule', 'add', 'to', foreign, 'iif', 'lo', 'lookup', '100');
    run('ip', 'route', 'add', 'local', 'default', 'dev', 'lo', 'table', '100');
    run('ip', 'route', 'add', `${foreign}/32`, 'dev', 'lo');
    const peers: (string | undefined)[] = [];
    const server = await listen(
      { ...onLoopback, transparent: true, mark: 0x402 },
      on((socket) => {
        const fd = descriptorOf(socket) ?? -1;
        t.same([getMark(fd), getTransparent(fd)], [0x402, true]);
        peers.push(socketAddresses(socket)?.peer.ip);
        socket.end('from afar');
      }),
    );
    t.teardown(() => server.close());
    const profile = { ...plainSocket, source: foreign, transparent: true, mark: 0x401, connectTimeoutMs: 3000 };
    const outcome = await dial(server.address, profile, systemClock);
    if (outcome.kind !== 'connected') throw outcome.error;
    t.teardown(() => outcome.socket.destroy());
    t.equal(getMark(descriptorOf(outcome.socket) ?? -1), 0x401);
    const [bytes] = await within('bytes', once(outcome.socket, 'data'));
    t.equal(String(bytes), 'from afar');
    t.same(peers, [foreign]);
  });

  t.test('a port of a foreign address is none that its owner would be given', async (t) => {
    const server = await listen(
      { ...onLoopback, transparent: true },
      on((socket) => t.teardown(() => socket.destroy())),
    );
    t.teardown(() => server.close());
    const portOf = async (source: Partial<SocketProfile>) => {
      const outcome = await dial(server.address, { ...plainSocket, ...source, connectTimeoutMs: 3000 }, systemClock);
      if (outcome.kind !== 'connected') throw outcome.error;
      t.teardown(() => outcome.socket.destroy());
      return outcome.socket.localPort ?? 0;
    };
    // Routed by the test before this one.
    const foreign = { source: '198.51.100.7', transparent: true };
    const parities = { own: new Set<number>(), foreign: new Set<number>() };
    for (let i = 0; i < 20; i++) {
      parities.own.add((await portOf({ mark: 0x404 })) % 2);
      parities.foreign.add((await portOf(foreign)) % 2);
    }
    t.same([parities.own.size, parities.foreign.size], [1, 1]);
    t.notSame(parities.own, parities.foreign);
  });

  t.test('a port from which there is a connection to the same server is passed over', async (t) => {
    const server = await listen(
      { ...onLoopback, transparent: true },
      on((socket) => t.teardown(() => socket.destroy())),
    );
    t.teardown(() => server.close());
    const { ip: host, port } = server.address;
    const source = '198.51.100.7';
    const dialed = async () => {
      const outcome = await dial(
        server.address,
        { ...plainSocket, source, transparent: true, connectTimeoutMs: 3000 },
        systemClock,
      );
      if (outcome.kind !== 'connected') throw outcome.error;
      t.teardown(() => outcome.socket.destroy());
      return outcome.socket.localPort ?? 0;
    };
    const first = await dialed();
    const take = async (taken: number) => {
      const fd = createSocket({ family: 4, transparent: true, reuseAddress: true });
      bind(fd, source, taken);
      const socket = new Socket({ fd });
      t.teardown(() => socket.destroy());
      socket.connect({ host, port });
      await within('a taken port', once(socket, 'connect'));
    };
    for (let taken = first + 2; taken <= first + 6; taken += 2) await take(taken);
    const next = await dialed();
    t.notOk([first, first + 2, first + 4, first + 6].includes(next));
    t.equal(next % 2, first % 2, 'the kernel was asked for one');
  });

  t.test('a foreign address whose ports are all taken can still be dialled from', async (t) => {
    const servers = [];
    for (const ip of ['127.0.0.1', '127.0.0.2']) {
      const server = await listen(
        { ...onLoopback, ip },
        on((socket) => t.teardown(() => socket.destroy())),
      );
      t.teardown(() => server.close());
      servers.push(server);
    }
    const range = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8');
    t.teardown(() => writeFileSync('/proc/sys/net/ipv4/ip_local_port_range', range));
    writeFileSync('/proc/sys/net/ipv4/ip_local_port_range', '50000 50001');
    const foreign = { ...plainSocket, source: '198.51.100.7', transparent: true, connectTimeoutMs: 3000 };
    for (const { address } of servers) {
      for (let i = 0; i < 2; i++) {
        const outcome = await dial(address, foreign, systemClock);
        if (outcome.kind !== 'connected') throw outcome.error;
        t.teardown(() => outcome.socket.destroy());
        t.equal(outcome.socket.remoteAddress, address.ip);
      }
    }
  });

  t.test('dialled and accepted sockets are kept alive, also where the kernel hands the options on', async (t) => {
    for (const mark of [undefined, 0x403]) {
      const accepted = Promise.withResolvers<Socket>();
      const server = await listen({ ...onLoopback, mark }, on(accepted.resolve));
      t.teardown(() => server.close());
      const outcome = await dial(server.address, { ...plainSocket, mark }, systemClock);
      if (outcome.kind !== 'connected') throw outcome.error;
      const ends = [outcome.socket, await within('accept', accepted.promise)];
      for (const socket of ends) t.teardown(() => socket.destroy());
      for (const { localPort } of ends) {
        const filter = ['-tnoH', 'state', 'established', 'sport', '=', `:${localPort}`];
        const { stdout: sockets } = spawnSync('ss', filter, { encoding: 'utf8' });
        t.match(sockets, /timer:\(keepalive,2min(59|5\d)/, `of port ${localPort} with mark ${mark}: ${sockets}`);
      }
    }
  });

  t.test('listens and dials in another namespace while staying in this one', async (t) => {
    const there = await createNamespace(t);
    const { dev, inode } = namespaceIdentity(there.fd);
    const namespace = { fd: there.fd, key: `${dev}:${inode}` };
    const server = await listen(
      { ...onLoopback, namespace },
      on((socket) => socket.end('there')),
    );
    t.teardown(() => server.close());
    const address = server.address;
    const outcome = await dial(address, { ...plainSocket, namespace }, systemClock);
    if (outcome.kind !== 'connected') throw outcome.error;
    t.teardown(() => outcome.socket.destroy());
    const [bytes] = await within('bytes', once(outcome.socket, 'data'));
    t.equal(String(bytes), 'there');
    t.match(await dial(address, plainSocket, systemClock), { kind: 'failed', error: { code: 'NET_CONNECT_REFUSED' } });
  });

  t.test('what the kernel refuses names the option and the capability, and nothing plainer is tried', async (t) => {
    process.seteuid?.(65_534);
    t.teardown(() => process.seteuid?.(0));
    const nowhere = { ip: '127.0.0.1', port: 1 };
    for (const [profile, what] of [
      [{ ...plainSocket, transparent: true }, /IP_TRANSPARENT.*CAP_NET_ADMIN/],
      [{ ...plainSocket, mark: 1 }, /SO_MARK.*CAP_NET_ADMIN/],
    ] as const) {
      const outcome = await dial(nowhere, profile, systemClock);
      t.match(outcome, { kind: 'failed', error: { code: 'NET_SOCKET', message: what, cause: { code: 'EPERM' } } });
    }
    await t.rejects(
      listen(
        { ...onLoopback, transparent: true },
        on(() => {}),
      ),
      { code: 'NET_SOCKET', message: /IP_TRANSPARENT/ },
    );
  });
});
