/**
 * What any implementation of the seam must do about identity: no bytes before the peer is proven, on a first connection
 * and on a second one alike. Part of the suite that begins in `relay-compliance.ts`.
 */
import { once } from 'node:events';
import { type ConnectionOptions, connect as connectTls, createServer, type TLSSocket } from 'node:tls';
import type { Test } from 'tap';
import type { Secret } from '../../src/identity/secret.ts';
import { eventually, within } from './eventually.ts';
import { addressOf, clientId, type MakeRelay, makeWorld, serverId, tcpServer, type World } from './relay-world.ts';
import { TestCa, testIdentity } from './test-ca.ts';

const past = { notBeforeMs: Date.now() - 7_200_000, notAfterMs: Date.now() - 3_600_000 };

export async function identityCompliance(t: Test, make: MakeRelay): Promise<void> {
  await t.test('a server refuses clients it cannot prove, on the second connection as well', async (t) => {
    const foreign = await TestCa.create('foreign');
    let connects = 0;
    const world = await makeWorld(t, make, {
      onConnect: () => {
        connects++;
        return { kind: 'refuse', status: 403, headers: [] };
      },
    });
    const { ca } = world;
    const bad: readonly (readonly [string, Secret])[] = [
      ['foreign CA', await foreign.issue(clientId, { rootsPem: ca.rootPem })],
      ['expired', await ca.issue(clientId, past)],
      ['two workloads', await ca.issue(clientId, { uris: [clientId, serverId] })],
      ['no URI', await ca.issue(clientId, { uris: [], dnsNames: ['client.example'] })],
      ['not a workload', await ca.issue(clientId, { uris: ['spiffe://cluster.local/other'] })],
      ['an untrusted domain', await ca.issue(clientId, { uris: ['spiffe://elsewhere/ns/shop/sa/client'] })],
      ['a server certificate', await ca.issue(clientId, { extendedKeyUsages: ['serverAuth'] })],
    ];
    for (const [name, secret] of bad) {
      world.clientSecrets.put(secret);
      for (const turn of ['first', 'second']) {
        const denied = world.denied.length;
        const outcome = await within(name, world.client.open(world.request()));
        t.equal(outcome.kind, 'failed', `${name}, ${turn} connection`);
        await eventually('denied', () => world.denied.length === denied + 1);
      }
    }
    const good = await ca.issue(clientId, { generation: 2 });
    const raw: readonly (readonly [string, ConnectionOptions])[] = [
      ['no certificate', { ca: ca.rootPem, ALPNProtocols: ['h2'] }],
      ['no ALPN', { secureContext: good.context }],
      ['only http/1.1', { secureContext: good.context, ALPNProtocols: ['http/1.1'] }],
      ['TLS 1.2', { ...good.serverMaterial, ALPNProtocols: ['h2'], maxVersion: 'TLSv1.2' }],
    ];
    for (const [name, options] of raw) {
      for (const turn of ['first', 'second']) {
        const denied = world.denied.length;
        await rawTls(t, world, options);
        await eventually(name, () => world.denied.length === denied + 1);
        t.equal(world.denied.length, denied + 1, `${name}, ${turn} connection`);
      }
    }
    t.equal(connects, 0, 'none of them was asked about');
    world.clientSecrets.put(good);
    t.match(await world.client.open(world.request()), { kind: 'refused', status: 403 });
  });

  await t.test('a session is never resumed, even by a client that tries', async (t) => {
    const world = await makeWorld(t, make);
    const { context } = await world.ca.issue(clientId);
    const options: ConnectionOptions = { secureContext: context, ALPNProtocols: ['h2'] };
    const sessions: Buffer[] = [];
    const first = rawSocket(t, world, options);
    first.on('session', (session) => sessions.push(session));
    await once(first, 'secureConnect');
    await within('settings', once(first, 'data'));
    for (const session of sessions) {
      const second = rawSocket(t, world, { ...options, session });
      await once(second, 'secureConnect');
      t.equal(second.isSessionReused(), false);
    }
    t.pass(`${sessions.length} tickets were offered`);
  });

  await t.test('a client refuses servers that are not who they should be', async (t) => {
    const world = await makeWorld(t, make);
    const foreign = await TestCa.create('foreign');
    const { ca } = world;
    const other = testIdentity('spiffe://cluster.local/ns/shop/sa/other');
    const cases: readonly (readonly [string, Secret, string])[] = [
      ['another workload', await ca.issue(serverId, { uris: [other], generation: 2 }), 'IDENTITY_ERROR'],
      ['two workloads', await ca.issue(serverId, { uris: [serverId, other], generation: 3 }), 'IDENTITY_ERROR'],
      ['foreign CA', await foreign.issue(serverId, { rootsPem: ca.rootPem, generation: 4 }), 'TLS_FAILURE'],
      ['expired', await ca.issue(serverId, { ...past, generation: 5 }), 'TLS_FAILURE'],
      [
        'a client certificate',
        await ca.issue(serverId, { extendedKeyUsages: ['clientAuth'], generation: 6 }),
        'TLS_FAILURE',
      ],
    ];
    for (const [name, secret, flag] of cases) {
      world.serverSecrets.put(secret);
      for (const turn of ['first', 'second']) {
        const outcome = await within(name, world.client.open(world.request()));
        t.match(outcome, { kind: 'failed', error: { flag } }, `${name}, ${turn} connection`);
      }
    }
    t.equal(world.client.stats().sessions, 0);
  });

  await t.test('a client refuses servers that do not choose h2, or speak no TLS', async (t) => {
    const world = await makeWorld(t, make);
    const { serverMaterial } = await world.ca.issue(serverId);
    const tls = createServer({ ...serverMaterial, ALPNProtocols: undefined as never });
    tls.on('secureConnection', (socket) => socket.on('error', () => {}));
    const noAlpn = await tcpServer(t, (socket) => tls.emit('connection', socket));
    const plain = await tcpServer(t, (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    t.match(await world.client.open(world.request({ peer: addressOf(noAlpn) })), {
      kind: 'failed',
      error: { code: 'HBONE_ALPN' },
    });
    t.match(await world.client.open(world.request({ peer: addressOf(plain) })), {
      kind: 'failed',
      error: { flag: 'TLS_FAILURE' },
    });
  });

  await t.test(
    'without a certificate nothing is dialled, and an unknown destination is closed before TLS',
    async (t) => {
      const world = await makeWorld(t, make, { serve: { secretFor: () => undefined } });
      t.match(await world.client.open(world.request()), { kind: 'failed' });
      t.match(world.denied[0], { code: 'HBONE_UNKNOWN_DESTINATION' });
      world.clientSecrets.lose(clientId);
      t.match(await world.client.open(world.request()), { kind: 'failed', error: { code: 'HBONE_NO_CERTIFICATE' } });
      t.equal(world.denied.length, 1);
    },
  );

  await t.test(
    'a connection waits for a certificate that is being issued, and is closed when none comes',
    async (t) => {
      const waiting: ((secret: Secret | undefined) => void)[] = [];
      const secretFor = () => new Promise<Secret | undefined>((resolve) => waiting.push(resolve));
      const world = await makeWorld(t, make, { serve: { secretFor } });
      const late = world.client.open(world.request());
      await eventually('it waits', () => waiting.length === 1);
      waiting.shift()?.(world.serverSecrets.current(serverId));
      const outcome = await within('the tunnel', late);
      t.equal(outcome.kind, 'open');
      if (outcome.kind === 'open') outcome.stream.destroy();
      world.client.forgetPeer(world.served.address.ip);
      const never = world.client.open(world.request());
      await eventually('it waits again', () => waiting.length === 1);
      waiting.shift()?.(undefined);
      t.match(await within('the refusal', never), { kind: 'failed' });
      t.match(world.denied[0], { code: 'HBONE_UNKNOWN_DESTINATION' });
    },
  );

  await t.test('tunnels of different identities or expectations never share a session', async (t) => {
    const peers: string[] = [];
    const world = await makeWorld(t, make, {
      onConnect: ({ peerIdentity }) => {
        peers.push(peerIdentity);
        return { kind: 'refuse', status: 401, headers: [] };
      },
    });
    const other = testIdentity('spiffe://cluster.local/ns/shop/sa/other');
    world.clientSecrets.put(await world.ca.issue(other));
    await world.client.open(world.request());
    await world.client.open(world.request({ sourceIdentity: other }));
    await world.client.open(world.request());
    t.same(peers, [clientId, other, clientId]);
    t.equal(world.client.stats().sessions, 2);
    t.match(await world.client.open(world.request({ expectedIdentities: [other] })), {
      kind: 'failed',
      error: { code: 'HBONE_IDENTITY' },
    });
  });
}

function rawSocket(t: Test, world: World, options: ConnectionOptions): TLSSocket {
  const { ip: host, port } = world.served.address;
  const socket = connectTls({ host, port, checkServerIdentity: () => undefined, ...options });
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  return socket;
}

/** Connects and waits until the server has closed. */
async function rawTls(t: Test, world: World, options: ConnectionOptions): Promise<void> {
  const socket = rawSocket(t, world, options);
  socket.resume();
  await within('close', new Promise((resolve) => socket.once('close', resolve)));
}
