/** TLS between proxies as an operator may change it: post-quantum key exchange alone, TLS 1.2 as well. */
import { once } from 'node:events';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { createRelay } from '../../../src/hbone/relay.ts';
import { checkTlsProfile, tlsProfileFor } from '../../../src/identity/tls-context.ts';
import { eventually, within } from '../../support/eventually.ts';
import { clientId, makeWorld, serverId, type World } from '../../support/relay-world.ts';

const postQuantum = tlsProfileFor({ tls12: false, postQuantum: true });
const tls12 = tlsProfileFor({ tls12: true, postQuantum: false });

function raw(t: Test, world: World, options: ConnectionOptions): TLSSocket {
  const { ip: host, port } = world.served.address;
  const socket = connect({ host, port, ALPNProtocols: ['h2'], checkServerIdentity: () => undefined, ...options });
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  return socket;
}

t.test('with COMPLIANCE_POLICY=pqc only X25519MLKEM768 is spoken, in both directions', async (t) => {
  checkTlsProfile(postQuantum);
  const world = await makeWorld(t, createRelay);
  const { ca } = world;
  world.serverSecrets.put(await ca.issue(serverId, { generation: 2, profile: postQuantum }));
  world.clientSecrets.put(await ca.issue(clientId, { generation: 2, profile: postQuantum }));
  const outcome = await world.client.open(world.request());
  t.equal(outcome.kind, 'open');
  if (outcome.kind === 'open') outcome.stream.destroy();
  const { context: _, ...plain } = await ca.issue(clientId);
  const modern = raw(t, world, { ...plain.serverMaterial });
  await within('the handshake', once(modern, 'secureConnect'));
  t.match(modern.getEphemeralKeyInfo(), { name: 'X25519MLKEM768' });
  for (const ecdhCurve of ['X25519', 'P-256', 'P-384']) {
    const denied = world.denied.length;
    raw(t, world, { ...plain.serverMaterial, ecdhCurve });
    await eventually(ecdhCurve, () => world.denied.length === denied + 1);
    t.match(world.denied.at(-1), { code: 'HBONE_TLS_FAILED' }, ecdhCurve);
  }
  world.client.forgetPeer(world.served.address.ip);
  world.serverSecrets.put(await ca.issue(serverId, { generation: 3, profile: { ...tls12, ecdhCurve: 'X25519' } }));
  t.match(await world.client.open(world.request()), { kind: 'failed', error: { flag: 'TLS_FAILURE' } });
});

t.test('a profile that OpenSSL cannot follow says so', async (t) => {
  t.throws(() => checkTlsProfile({ ...postQuantum, ecdhCurve: 'no such group' }));
});

t.test(
  'with TLS12_ENABLED a client of TLS 1.2 is proven as any other, never resumed and never renegotiated',
  async (t) => {
    const world = await makeWorld(t, createRelay, {
      onConnect: () => ({ kind: 'refuse', status: 403, headers: [] }),
    });
    const { ca } = world;
    world.serverSecrets.put(await ca.issue(serverId, { generation: 2, profile: tls12 }));
    const { serverMaterial } = await ca.issue(clientId);
    const maxVersion = 'TLSv1.2';
    const first = raw(t, world, { ...serverMaterial, maxVersion });
    await within('the handshake', once(first, 'secureConnect'));
    t.equal(first.getProtocol(), 'TLSv1.2');
    t.match(first.getCipher(), { name: /^ECDHE-ECDSA-AES(256|128)-GCM/ });
    await within('settings', once(first, 'data'));
    const session = first.getSession();
    const renegotiated = new Promise<Error | null>((resolve) => first.renegotiate({}, resolve));
    const closed = new Promise<string>((resolve) => first.once('close', () => resolve('closed')));
    t.ok(await within('an answer', Promise.race([renegotiated, closed])), 'it is refused');
    const second = raw(t, world, { ...serverMaterial, maxVersion, ...(session === undefined ? {} : { session }) });
    await within('the handshake', once(second, 'secureConnect'));
    t.equal(second.isSessionReused(), false);
    const { denied } = world;
    const before = denied.length;
    const { keyPem, certPem } = await ca.issuePem(['spiffe://elsewhere/ns/shop/sa/client']);
    raw(t, world, { key: keyPem, cert: certPem, ca: ca.rootPem, maxVersion });
    await eventually('the foreign domain', () => denied.length === before + 1);
    t.match(denied.at(-1), { code: 'HBONE_IDENTITY' });
    raw(t, world, { ca: ca.rootPem, maxVersion });
    await eventually('no certificate', () => denied.length === before + 2);
    raw(t, world, {
      ...serverMaterial,
      maxVersion,
      ciphers: 'ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-SHA256',
    });
    await eventually('other suites', () => denied.length === before + 3);
  },
);

t.test('TLS 1.2 and post-quantum key exchange together are TLS 1.3', async (t) => {
  t.same(tlsProfileFor({ tls12: true, postQuantum: true }), postQuantum);
  t.equal(postQuantum.minVersion, 'TLSv1.3');
});
