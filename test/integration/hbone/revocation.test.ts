import { once } from 'node:events';
import { performServerHandshake } from 'node:http2';
import { createServer } from 'node:tls';
import { Revocation } from '../../../src/identity/revocation.ts';
import { readRevocationLists } from '../../../src/identity/revocation-list.ts';
import type { Secret } from '../../../src/identity/secret.ts';
import { eventually, within } from '../../support/eventually.ts';
import { onEachEngine } from '../../support/http2-engines.ts';
import { recordingLogger, recordingMetrics } from '../../support/recording.ts';
import { addressOf, clientId, makeWorld, readAll, serverId, tcpServer } from '../../support/relay-world.ts';
import { TestCa, testIdentity } from '../../support/test-ca.ts';

const rejections = 'istio_crl_policy_rejections_total';
const untracked = 'istio_crl_untracked_connections_total';

function makeRevocation(required = true) {
  const { logger, lines } = recordingLogger();
  const { metrics, value } = recordingMetrics();
  const revocation = new Revocation({ required, logger, metrics });
  const put = async (...pem: readonly string[]) => {
    const read = await readRevocationLists(pem.join('\n'));
    if (read.kind === 'bad') throw new Error(read.reason);
    revocation.replace(read.lists);
  };
  return { revocation, lines, value, put };
}

await onEachEngine('a server refuses a revoked client, on every connection, and counts it', async (t, make) => {
  const lists = makeRevocation();
  const world = await makeWorld(t, make, { serverRevocation: lists.revocation });
  const { ca } = world;
  const revoked = await ca.issue(clientId, { generation: 2 });
  await lists.put(await ca.list([revoked.serialNumber]));
  world.clientSecrets.put(revoked);
  for (const turn of ['first', 'second']) {
    t.match(await within(turn, world.client.open(world.request())), { kind: 'failed' }, turn);
  }
  t.match(world.denied, [
    {
      code: 'HBONE_REVOKED',
      flag: 'CERT_REVOKED',
      message: /client: certificate 04 was revoked by CN=Ambit test root/,
    },
    { code: 'HBONE_REVOKED' },
  ]);
  t.equal(lists.value(rejections, { reporter: 'destination' }), 2);
  t.equal(lists.value(rejections, { reporter: 'source' }), 0);
  t.equal(world.appSockets.length, 0, 'nothing reached the application');
  world.clientSecrets.put(await ca.issue(clientId, { generation: 3 }));
  const outcome = await world.client.open(world.request());
  t.equal(outcome.kind, 'open', 'another certificate of the same identity is good');
  if (outcome.kind === 'open') outcome.stream.destroy();
});

await onEachEngine('a client refuses a revoked server before it sends anything', async (t, make) => {
  const lists = makeRevocation();
  const world = await makeWorld(t, make, { clientRevocation: lists.revocation });
  const { ca } = world;
  const serial = world.serverSecrets.current(serverId)?.serialNumber ?? '';
  await lists.put(await ca.list([serial]));
  for (const turn of ['first', 'second']) {
    t.match(
      await within(turn, world.client.open(world.request())),
      { kind: 'failed', error: { code: 'HBONE_REVOKED', flag: 'CERT_REVOKED' } },
      turn,
    );
  }
  t.equal(lists.value(rejections, { reporter: 'source' }), 2);
  t.equal(world.client.stats().sessions, 0);
  t.equal(world.appSockets.length, 0);
});

await onEachEngine(
  'an intermediate authority that its root has revoked takes all of its leaves along',
  async (t, make) => {
    const lists = makeRevocation();
    const root = await TestCa.create('root');
    const [good, bad] = [await root.intermediate('good'), await root.intermediate('bad')];
    const world = await makeWorld(t, make, { serverRevocation: lists.revocation });
    world.serverSecrets.put(await good.issue(serverId, { generation: 2 }));
    await lists.put(await root.list([bad.serialNumber]), await bad.list([]));
    world.clientSecrets.put(await bad.issue(clientId, { generation: 2 }));
    t.match(await world.client.open(world.request()), { kind: 'failed' });
    t.match(world.denied.at(-1), { code: 'HBONE_REVOKED', message: /revoked by CN=root/ });
    world.clientSecrets.put(await good.issue(clientId, { generation: 3 }));
    const outcome = await world.client.open(world.request());
    t.equal(outcome.kind, 'open');
    if (outcome.kind === 'open') outcome.stream.destroy();
    const revokedByGood = await good.issue(clientId, { generation: 4 });
    await lists.put(await root.list([]), await good.list([revokedByGood.serialNumber]));
    world.clientSecrets.put(revokedByGood);
    t.match(await world.client.open(world.request()), { kind: 'failed' });
    t.match(world.denied.at(-1), { code: 'HBONE_REVOKED', message: /revoked by CN=good/ });
  },
);

await onEachEngine(
  'lists of others, forged ones and old ones do what they should: nothing, nothing, all',
  async (t, make) => {
    const lists = makeRevocation();
    const world = await makeWorld(t, make, { serverRevocation: lists.revocation });
    const { ca } = world;
    const secret = await ca.issue(clientId, { generation: 2 });
    world.clientSecrets.put(secret);
    const other = await TestCa.create('another root');
    // Its name is our root's, its key is not: as after a rotation, or in an attacker's file.
    const namesake = await TestCa.create();
    await lists.put(await other.list([secret.serialNumber]), await namesake.list([secret.serialNumber]));
    const outcome = await world.client.open(world.request());
    t.equal(outcome.kind, 'open', 'an issuer without a list of its own is put up with');
    t.match(
      lists.lines.filter(({ level }) => level === 'warn'),
      [{ message: /not its signature/, fields: { issuer: 'CN=Ambit test root' } }],
    );
    if (outcome.kind === 'open') outcome.stream.destroy();
    world.client.forgetPeer(world.served.address.ip);
    const past = { thisUpdateMs: Date.now() - 7_200_000, nextUpdateMs: Date.now() - 3_600_000 };
    await lists.put(await ca.list([secret.serialNumber], past));
    t.match(await world.client.open(world.request()), { kind: 'failed' });
    t.match(world.denied.at(-1), { code: 'HBONE_REVOKED' });
  },
);

await onEachEngine(
  'where lists are demanded and none was ever read nobody is let in, in either direction',
  async (t, make) => {
    for (const side of ['clientRevocation', 'serverRevocation'] as const) {
      const lists = makeRevocation();
      const world = await makeWorld(t, make, { [side]: lists.revocation });
      const outcome = await world.client.open(world.request());
      t.match(outcome, { kind: 'failed' }, side);
      const error = side === 'clientRevocation' && outcome.kind === 'failed' ? outcome.error : world.denied[0];
      t.match(error, { code: 'HBONE_REVOCATION_UNKNOWN', flag: 'TLS_FAILURE' }, side);
      await lists.put(await world.ca.list([]));
      const next = await world.client.open(world.request());
      t.equal(next.kind, 'open', `${side}: with a list it goes on`);
      if (next.kind === 'open') next.stream.destroy();
    }
  },
);

await onEachEngine('a list that comes later ends live sessions of those it names, and no others', async (t, make) => {
  for (const side of ['clientRevocation', 'serverRevocation'] as const) {
    const lists = makeRevocation(false);
    const world = await makeWorld(t, make, { [side]: lists.revocation });
    const { ca } = world;
    const bystander = testIdentity('spiffe://cluster.local/ns/shop/sa/bystander');
    world.clientSecrets.put(await ca.issue(bystander));
    const peerSecret =
      side === 'serverRevocation' ? world.clientSecrets.current(clientId) : world.serverSecrets.current(serverId);
    const clients = [await world.connect(), await world.connect()];
    const apps = [await world.accepted(), await world.accepted()];
    for (const client of clients) client.write('hello');
    for (const app of apps) await within('bytes', once(app, 'data'));
    const kept =
      side === 'serverRevocation' ? await world.client.open(world.request({ sourceIdentity: bystander })) : undefined;
    const reading = clients.map(readAll);
    await lists.put(await ca.list(['0909']));
    t.equal(world.client.stats().streams, kept === undefined ? 2 : 3, `${side}: a list of others changes nothing`);
    await lists.put(await ca.list([peerSecret?.serialNumber ?? '']));
    for (const read of reading) t.equal((await within('the end', read)).how, 'reset', side);
    const ends = side === 'serverRevocation' ? world.serverEnds : world.clientEnds;
    await eventually('both ends', () => ends.length === 2);
    for (const end of ends) {
      t.match(end, { kind: 'stopped', by: 'local', error: { code: 'HBONE_REVOKED', flag: 'CERT_REVOKED' } }, side);
    }
    const reporter = side === 'serverRevocation' ? 'destination' : 'source';
    t.equal(lists.value(rejections, { reporter }), 1, 'one session');
    if (kept?.kind === 'open') {
      t.notOk(kept.stream.destroyed, 'another client of the same server goes on');
      kept.stream.destroy();
    }
    t.match(await world.client.open(world.request()), { kind: 'failed' }, `${side}: and does not come back`);
  }
});

await onEachEngine('a CONNECT that waits for its answer ends with the reason as well', async (t, make) => {
  const lists = makeRevocation(false);
  let asked = 0;
  const world = await makeWorld(t, make, {
    clientRevocation: lists.revocation,
    onConnect: () => {
      asked++;
      return new Promise(() => {});
    },
  });
  const outcome = world.client.open(world.request());
  await eventually('the CONNECT', () => asked === 1);
  await lists.put(await world.ca.list([world.serverSecrets.current(serverId)?.serialNumber ?? '']));
  t.match(await within('the outcome', outcome), { kind: 'failed', error: { code: 'HBONE_REVOKED' } });
});

await onEachEngine('a list that comes between handshake and first stream is not missed', async (t, make) => {
  const lists = makeRevocation(false);
  const world = await makeWorld(t, make, { clientRevocation: lists.revocation });
  const secret = await world.ca.issue(serverId, { generation: 2 });
  const secured: (() => void)[] = [];
  let streams = 0;
  const tls = createServer({ ...secret.serverMaterial, ALPNProtocols: ['h2'], requestCert: true });
  tls.on('secureConnection', (socket) => {
    socket.on('error', () => {});
    secured.push(() => {
      const session = performServerHandshake(socket);
      session.on('error', () => {});
      session.on('stream', () => streams++);
    });
  });
  const slow = await tcpServer(t, (socket) => tls.emit('connection', socket));
  const outcome = world.client.open(world.request({ peer: addressOf(slow) }));
  await eventually('the handshake', () => secured.length === 1);
  await lists.put(await world.ca.list([secret.serialNumber]));
  secured.shift()?.();
  t.match(await within('the outcome', outcome), { kind: 'failed' });
  t.equal(streams, 0);
});

await onEachEngine('a peer that sends a heap of certificates is refused and counted as untracked', async (t, make) => {
  const lists = makeRevocation();
  const world = await makeWorld(t, make, { serverRevocation: lists.revocation });
  const { ca } = world;
  await lists.put(await ca.list([]));
  const heap = (await Promise.all(Array.from({ length: 11 }, (_, i) => ca.intermediate(`junk ${i}`)))).map(
    async (junk) => (await junk.issuePem([clientId])).certPem.split('-----END CERTIFICATE-----\n')[1] ?? '',
  );
  const leaf = await ca.issuePem([clientId]);
  const certPem = [leaf.certPem, ...(await Promise.all(heap)).map((pem) => `${pem}-----END CERTIFICATE-----\n`)].join(
    '',
  );
  const { createTlsContext } = await import('../../../src/identity/tls-context.ts');
  const secret: Secret = {
    ...(await ca.issue(clientId, { generation: 2 })),
    context: createTlsContext({ keyPem: leaf.keyPem, certPem, rootsPem: ca.rootPem }),
  };
  world.clientSecrets.put(secret);
  t.match(await world.client.open(world.request()), { kind: 'failed' });
  t.match(world.denied, [{ code: 'HBONE_REVOCATION_UNKNOWN', message: /more than 10 certificates/ }]);
  t.equal(lists.value(untracked, { reporter: 'destination' }), 1);
});
