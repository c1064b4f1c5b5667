/** The yardstick: Envoy tunnels to Envoy with our test certificates, so a failure elsewhere is not Envoy's or theirs. */
import t from 'tap';
import { missingEnvoy, startEnvoy } from '../support/envoy.ts';
import { envoyHboneClient, envoyHboneServer, envoyListener } from '../support/envoy-config.ts';
import { clientId, serverId } from '../support/relay-world.ts';
import { TestCa } from '../support/test-ca.ts';
import { checkBulk, checkHalfClose, startApplication } from './tcp-path.ts';

t.test('Envoy speaks HBONE with Envoy', { skip: await missingEnvoy() }, async (t) => {
  const ca = await TestCa.create();
  const application = await startApplication(t);
  const server = await startEnvoy(
    t,
    envoyHboneServer({
      certificate: await ca.issuePem([serverId]),
      rootsPem: ca.rootPem,
      expectedPeers: [clientId],
      destination: application.address,
    }),
  );
  const client = await startEnvoy(
    t,
    envoyHboneClient({
      certificate: await ca.issuePem([clientId]),
      rootsPem: ca.rootPem,
      expectedPeers: [serverId],
      server: server.listener(envoyListener),
      authority: '10.1.2.3:80',
    }),
  );
  const path = { entry: client.listener(envoyListener), application };
  await t.test('half-close by the client', (t) => checkHalfClose(t, path, 'client'));
  await t.test('1 MiB each way', (t) => checkBulk(t, path, 1024 * 1024));
  t.equal(await server.stat('http.hbone.downstream_cx_total'), 1, 'one HTTP/2 connection for all of them');
});
