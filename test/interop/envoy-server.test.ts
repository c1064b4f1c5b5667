/**
 * Envoy as the HBONE server of our relay: what a ztunnel does to a waypoint of Istio. Envoy closes its upstream wholly
 * once that has sent FIN, and tells it of a reset by FIN: beyond Envoy neither is checked.
 */
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { createRelay } from '../../src/hbone/relay.ts';
import type { End, Relay, TunnelRequest } from '../../src/hbone/seam.ts';
import { plainSocket } from '../../src/net/socket-spec.ts';
import { missingEnvoy, type RunningEnvoy, startEnvoy } from '../support/envoy.ts';
import { type EnvoyServerOptions, envoyHboneServer, envoyListener } from '../support/envoy-config.ts';
import { eventually, within } from '../support/eventually.ts';
import { clientId, onLoopback, readAll, serverId, tcpClient } from '../support/relay-world.ts';
import { TestCa, TestSecretStore, testIdentity } from '../support/test-ca.ts';
import { checkBulk, checkHalfClose, connectThrough, resetBy, startApplication, type TcpPath } from './tcp-path.ts';

const otherId = testIdentity('spiffe://cluster.local/ns/shop/sa/other');
const skip = await missingEnvoy();

t.test('Envoy as HBONE server of the relay', { skip }, async (t) => {
  const { relay, envoy, ends, path, request } = await makeWorld(t);

  await t.test('half-close by the client', (t) => checkHalfClose(t, path, 'client'));

  await t.test('the application closes: the client gets all of it and then FIN', async (t) => {
    const { client, app } = await connectThrough(t, path);
    const seen = readAll(client);
    app.end('the whole answer');
    t.same(await within('the answer', seen), { data: Buffer.from('the whole answer'), how: 'end' });
  });

  await t.test('a reset by either end is a reset on the wire', async (t) => {
    const sent = await envoy.stat('http.hbone.downstream_rq_rx_reset');
    await resetBy(t, path, 'client');
    await eventually('RST_STREAM at Envoy', async () => (await envoy.stat('http.hbone.downstream_rq_rx_reset')) > sent);
    t.match(ends.at(-1), { kind: 'reset', by: 'downstream' });
    t.equal(await resetBy(t, path, 'app'), 'reset');
    await eventually('its end', () => ends.at(-1)?.by === 'upstream');
    t.equal(ends.at(-1)?.kind, 'reset');
  });

  await t.test('64 MiB each way arrive whole', (t) => checkBulk(t, path, 64 * 1024 * 1024));

  await t.test('100 connections share a session', async (t) => {
    const pairs = await Promise.all(Array.from({ length: 100 }, () => connectThrough(t, path)));
    t.equal(await envoy.stat('http.hbone.downstream_cx_active'), 1);
    for (const { client, app } of pairs) {
      client.end();
      app.end();
    }
    await eventually('all streams to end', () => relay.stats().streams === 0);
  });

  await t.test('a tunnel as a byte stream', async (t) => {
    const outcome = await relay.open(request);
    if (outcome.kind !== 'open') throw new Error(outcome.kind);
    t.equal(outcome.established.peerIdentity, serverId);
    outcome.stream.end('the request');
    const app = await path.application.accepted();
    t.equal(String((await within('the request', readAll(app))).data), 'the request');
    const seen = readAll(outcome.stream);
    app.end('the answer');
    t.same(await within('the answer', seen), { data: Buffer.from('the answer'), how: 'end' });
  });

  await t.test('drained by Envoy, a live tunnel goes on and the next one gets a new session', async (t) => {
    const { client, app } = await connectThrough(t, path);
    const sessions = await envoy.stat('http.hbone.downstream_cx_total');
    await envoy.drain();
    let next: Awaited<ReturnType<typeof connectThrough>> | undefined;
    await eventually('a session beside the draining one', async () => {
      next = await connectThrough(t, path);
      next.client.destroy();
      return (await envoy.stat('http.hbone.downstream_cx_total')) > sessions;
    });
    client.end('still whole');
    app.resume();
    const [last] = await within('the old tunnel', once(app, 'data'));
    t.equal(String(last), 'still whole');
  });

  await t.test('Envoy killed: every tunnel is reset, and the next connection fails', async (t) => {
    const { client } = await connectThrough(t, path);
    const seen = readAll(client);
    envoy.process.signal('SIGKILL');
    t.equal((await within('the reset', seen)).how, 'reset');
    const outcome = await relay.open(request);
    t.equal(outcome.kind, 'failed');
  });
});

t.test('the pool opens more sessions when Envoy allows two streams on each', { skip }, async (t) => {
  const { envoy, path } = await makeWorld(t, { maxConcurrentStreams: 2 });
  const pairs = await Promise.all(Array.from({ length: 7 }, () => connectThrough(t, path)));
  t.ok((await envoy.stat('http.hbone.downstream_cx_active')) >= 4);
  t.equal(await envoy.stat('http.hbone.downstream_rq_active'), 7);
  for (const { client, app } of pairs) {
    client.end('bye');
    t.equal(String((await within('bye', readAll(app.resume()))).data), 'bye');
  }
});

t.test('the relay refuses an Envoy of another identity before any byte', { skip }, async (t) => {
  const { relay, envoy, ends, path, request } = await makeWorld(t, {}, otherId);
  const outcome = await relay.open(request);
  t.match(outcome, { kind: 'failed', error: { code: 'HBONE_IDENTITY' } });
  const client = await tcpClient(t, path.entry);
  client.write('secret');
  t.equal((await within('the end', readAll(client))).how, 'reset');
  t.match(ends[0], { kind: 'failed', by: 'upstream' });
  t.equal(await envoy.stat('http.hbone.downstream_rq_total'), 0);
});

t.test('Envoy refuses a relay of another identity', { skip }, async (t) => {
  const { relay, envoy, request } = await makeWorld(t, { expectedPeers: [otherId] });
  const outcome = await relay.open(request);
  t.match(outcome, { kind: 'failed', error: { origin: 'upstream' } });
  t.ok((await envoy.stat('listener.127.0.0.1_0.ssl.fail_verify_san')) > 0);
  t.equal(await envoy.stat('http.hbone.downstream_rq_total'), 0);
});

interface World {
  readonly relay: Relay;
  readonly envoy: RunningEnvoy;
  readonly ends: End[];
  readonly path: TcpPath;
  readonly request: TunnelRequest;
}

/** Client → relay → Envoy → application. */
async function makeWorld(t: Test, changes: Partial<EnvoyServerOptions> = {}, expected = serverId): Promise<World> {
  const ca = await TestCa.create();
  const secrets = new TestSecretStore([await ca.issue(clientId)]);
  const relay = createRelay({ secrets, logger: silentLogger, clock: systemClock });
  t.teardown(() => relay.close());
  const application = await startApplication(t);
  const envoy = await startEnvoy(
    t,
    envoyHboneServer({
      certificate: await ca.issuePem([serverId]),
      rootsPem: ca.rootPem,
      expectedPeers: [clientId],
      destination: application.address,
      ...changes,
    }),
  );
  const request: TunnelRequest = {
    target: {
      peer: envoy.listener(envoyListener),
      sourceIdentity: clientId,
      expectedIdentities: [expected],
      socket: plainSocket,
    },
    authority: '10.1.2.3:80',
    headers: [['forwarded', 'for="10.9.9.9:1234"']],
  };
  const ends: End[] = [];
  const captured = await relay.capture(onLoopback, (connection) => {
    connection.tunnel(request, { ended: (end) => void ends.push(end) });
  });
  return { relay, envoy, ends, path: { entry: captured.address, application }, request };
}
