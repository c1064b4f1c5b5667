/**
 * Envoy as the HBONE client of our relay: what a waypoint or gateway of Istio does to a ztunnel. Envoy's `tcp_proxy`
 * tells its own client of a reset stream by FIN, so resets towards the client are only checked as far as Envoy.
 */
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import type { AmbitError } from '../../src/base/errors.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { createRelay } from '../../src/hbone/relay.ts';
import type { ConnectRequest, ConnectVerdict, End, Relay, RunningListener } from '../../src/hbone/seam.ts';
import { plainSocket } from '../../src/net/socket-spec.ts';
import { missingEnvoy, type RunningEnvoy, startEnvoy } from '../support/envoy.ts';
import { envoyHboneClient, envoyListener } from '../support/envoy-config.ts';
import { eventually, within } from '../support/eventually.ts';
import { clientId, onLoopback, readAll, serverId, tcpClient } from '../support/relay-world.ts';
import { TestCa, TestSecretStore, testIdentity } from '../support/test-ca.ts';
import { type Application, checkBulk, checkHalfClose, connectThrough, resetBy, startApplication } from './tcp-path.ts';

const authority = '10.1.2.3:80';
const skip = await missingEnvoy();

t.test('Envoy as HBONE client of the relay', { skip }, async (t) => {
  const world = await makeWorld(t);
  const { envoy, ends, requests, path } = world;

  await t.test('authority, headers and the identity of the certificate arrive', async (t) => {
    const { client, app } = await connectThrough(t, path);
    t.match(requests[0], { authority, peerIdentity: clientId, localIdentity: serverId });
    t.equal(requests[0]?.header('forwarded'), 'for="10.9.9.9:1234"');
    client.end();
    app.end();
    await eventually('its end', () => ends.length === 1);
    t.match(ends[0], { kind: 'closed', counts: { toUpstream: 5, toDownstream: 0 } });
  });

  await t.test('half-close by the client', (t) => checkHalfClose(t, path, 'client'));
  await t.test('half-close by the application', (t) => checkHalfClose(t, path, 'app'));

  await t.test('a reset by either end is a reset at the relay', async (t) => {
    const before = ends.length;
    t.equal(await resetBy(t, path, 'client'), 'reset', 'the application sees it');
    await eventually('its end', () => ends.length === before + 1);
    t.match(ends.at(-1), { kind: 'reset', by: 'downstream' });
    const resets = await envoy.stat('cluster.next.http2.rx_reset');
    await resetBy(t, path, 'app');
    await eventually('its end', () => ends.length === before + 2);
    t.match(ends.at(-1), { kind: 'reset', by: 'upstream' });
    t.equal(await envoy.stat('cluster.next.http2.rx_reset'), resets + 1, 'Envoy got RST_STREAM');
  });

  await t.test('64 MiB each way arrive whole', (t) => checkBulk(t, path, 64 * 1024 * 1024));

  await t.test('200 connections share a session', async (t) => {
    const pairs = await Promise.all(Array.from({ length: 200 }, () => connectThrough(t, path)));
    t.equal(await envoy.stat('cluster.next.upstream_cx_active'), 1);
    for (const { client, app } of pairs) {
      client.end();
      app.end();
    }
    await eventually('all streams to end', () => world.relay.stats().streams === 0);
  });

  await t.test(
    'drained by the relay, Envoy keeps its live tunnel and opens a new connection for the next',
    async (t) => {
      const { client, app } = await connectThrough(t, path);
      const port = world.served.address.port;
      await world.served.close();
      world.served = await world.serve({ ...onLoopback, port });
      await eventually(
        'Envoy to see GOAWAY',
        async () => (await envoy.stat('cluster.next.upstream_cx_close_notify')) === 1,
      );
      const next = await connectThrough(t, path);
      t.equal(await envoy.stat('cluster.next.upstream_cx_active'), 2);
      client.end('still whole');
      app.resume();
      const [last] = await within('the old tunnel', once(app, 'data'));
      t.equal(String(last), 'still whole');
      app.end();
      await eventually(
        'the old session to go',
        async () => (await envoy.stat('cluster.next.upstream_cx_active')) === 1,
      );
      next.client.destroy();
    },
  );
});

t.test('a refused CONNECT closes the connection at Envoy', { skip }, async (t) => {
  const world = await makeWorld(t, { onConnect: () => ({ kind: 'refuse', status: 403, headers: [] }) });
  const client = await tcpClient(t, world.path.entry);
  client.write('hello');
  t.equal((await within('the end', readAll(client))).data.length, 0);
  t.equal(world.requests.length, 1);
});

t.test('Envoy refuses a relay of another identity', { skip }, async (t) => {
  const world = await makeWorld(t, { envoyExpects: 'spiffe://cluster.local/ns/shop/sa/other' });
  const client = await tcpClient(t, world.path.entry);
  client.write('hello');
  t.equal((await within('the end', readAll(client))).data.length, 0);
  t.ok((await world.envoy.stat('cluster.next.ssl.fail_verify_san')) > 0);
  t.same(world.requests, []);
});

t.test('the relay refuses an Envoy it has no reason to trust', { skip }, async (t) => {
  const foreign = await TestCa.create('foreign root');
  const own = await TestCa.create();
  const cases = {
    'another authority': () => foreign.issuePem([clientId]),
    'another trust domain': () => own.issuePem(['spiffe://elsewhere/ns/shop/sa/client']),
    'two identities': () => own.issuePem([clientId, serverId]),
    'no identity': () => own.issuePem([], { dnsNames: ['client.shop'] }),
    'an expired certificate': () => own.issuePem([clientId], { notAfterMs: Date.now() - 60_000 }),
  };
  for (const [name, certificate] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      const world = await makeWorld(t, { ca: own, envoyCertificate: await certificate() });
      const client = await tcpClient(t, world.path.entry);
      client.write('hello');
      t.equal((await within('the end', readAll(client), 15_000)).data.length, 0);
      await eventually('the denial', () => world.denied.length > 0);
      t.same(world.requests, []);
    });
  }
});

interface World {
  readonly envoy: RunningEnvoy;
  readonly relay: Relay;
  served: RunningListener;
  serve(listen: typeof onLoopback): Promise<RunningListener>;
  readonly path: { readonly entry: RunningListener['address']; readonly application: Application };
  readonly requests: ConnectRequest[];
  readonly ends: End[];
  readonly denied: AmbitError[];
}

interface WorldOptions {
  readonly ca?: TestCa;
  readonly envoyCertificate?: Awaited<ReturnType<TestCa['issuePem']>>;
  readonly envoyExpects?: string;
  readonly onConnect?: () => ConnectVerdict;
}

/** Client → Envoy → relay → application. */
async function makeWorld(t: Test, options: WorldOptions = {}): Promise<World> {
  const ca = options.ca ?? (await TestCa.create());
  const secrets = new TestSecretStore([await ca.issue(testIdentity(serverId))]);
  const relay = createRelay({ secrets, logger: silentLogger, clock: systemClock });
  t.teardown(() => relay.close());
  const application = await startApplication(t);
  const requests: ConnectRequest[] = [];
  const ends: End[] = [];
  const denied: AmbitError[] = [];
  const dial = (): ConnectVerdict => ({
    kind: 'dial',
    destination: application.address,
    socket: plainSocket,
    headers: [],
    observer: { ended: (end) => void ends.push(end) },
  });
  const serve: World['serve'] = (listen) =>
    relay.serve(listen, {
      secretFor: () => secrets.current(serverId),
      trusts: (trustDomain) => trustDomain === 'cluster.local',
      maxStreamsPerSession: 250,
      onDenied: (_peer, _local, error) => denied.push(error),
      onConnect: (request) => {
        requests.push(request);
        return (options.onConnect ?? dial)();
      },
    });
  const served = await serve(onLoopback);
  const envoy = await startEnvoy(
    t,
    envoyHboneClient({
      certificate: options.envoyCertificate ?? (await ca.issuePem([clientId])),
      rootsPem: ca.rootPem,
      expectedPeers: [options.envoyExpects ?? serverId],
      server: served.address,
      authority,
      headers: { forwarded: 'for="10.9.9.9:1234"' },
    }),
  );
  const path = { entry: envoy.listener(envoyListener), application };
  return { envoy, relay, served, serve, path, requests, ends, denied };
}
