/**
 * Tunnels inside tunnels with Envoy as the gateway between the networks, as Istio runs it: Envoy ends the outer CONNECT and
 * hands its bytes on without a look; the inner server is Envoy as well, or our own.
 */
import t, { type Test } from 'tap';
import type { SocketAddress } from '../../src/base/address.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { createRelay } from '../../src/hbone/relay.ts';
import type { End } from '../../src/hbone/seam.ts';
import { plainSocket } from '../../src/net/socket-spec.ts';
import { missingEnvoy, startEnvoy } from '../support/envoy.ts';
import { envoyHboneServer, envoyListener } from '../support/envoy-config.ts';
import { eventually, within } from '../support/eventually.ts';
import { clientId, gatewayId, onLoopback, readAll, serverId, tcpClient } from '../support/relay-world.ts';
import { TestCa, TestSecretStore } from '../support/test-ca.ts';
import { checkBulk, checkHalfClose, resetBy, startApplication } from './tcp-path.ts';

const skip = await missingEnvoy();

for (const inner of ['Envoy', 'ours'] as const) {
  t.test(`through Envoy as the gateway, to a server that is ${inner}`, { skip }, async (t) => {
    const ca = await TestCa.create();
    const application = await startApplication(t);
    const server =
      inner === 'Envoy' ? await envoyAs(t, ca, serverId, application.address) : await ours(t, ca, application.address);
    const gateway = await envoyAs(t, ca, gatewayId, server);
    const relay = createRelay({
      secrets: new TestSecretStore([await ca.issue(clientId)]),
      logger: silentLogger,
      clock: systemClock,
      options: { nestedSessions: 2 },
    });
    t.teardown(() => relay.close());
    const ends: End[] = [];
    let expectedIdentities = [serverId];
    const captured = await relay.capture(onLoopback, (connection) => {
      const outer = { expectedIdentities: [gatewayId], authority: 'shop.example:80', headers: [] };
      const target = { peer: gateway, sourceIdentity: clientId, expectedIdentities, socket: plainSocket, outer };
      connection.tunnel({ target, authority: 'shop.example:80', headers: [] }, { ended: (end) => void ends.push(end) });
    });
    const path = { entry: captured.address, application };

    await t.test('half-close by the client', (t) => checkHalfClose(t, path, 'client'));
    await t.test('16 MiB each way arrive whole', (t) => checkBulk(t, path, 16 * 1024 * 1024));
    // An Envoy that ends the inner tunnel tells its application of a reset by FIN, and closes wholly after its FIN.
    if (inner === 'ours') {
      await t.test('half-close by the application', (t) => checkHalfClose(t, path, 'app'));
      await t.test('a reset reaches the application', async (t) => t.equal(await resetBy(t, path, 'client'), 'reset'));
    }
    await t.test('the server proved itself, past the gateway', async (t) => {
      await eventually('ends', () => ends.length >= 2);
      t.equal(ends[0]?.established?.peerIdentity, serverId);
      t.match(ends[0]?.established?.peer, gateway);
    });
    await t.test('whoever else is behind the gateway gets nothing', async (t) => {
      expectedIdentities = [gatewayId];
      const refused = await tcpClient(t, path.entry);
      refused.write('secret');
      t.same(await within('the end', readAll(refused)), { data: Buffer.alloc(0), how: 'reset' });
      await eventually('its end', () => ends.at(-1)?.kind === 'failed');
      t.match(ends.at(-1)?.error, { code: 'HBONE_IDENTITY', message: /^behind the gateway/ });
    });
  });
}

async function envoyAs(t: Test, ca: TestCa, identity: string, destination: SocketAddress): Promise<SocketAddress> {
  const certificate = await ca.issuePem([identity]);
  const config = envoyHboneServer({ certificate, rootsPem: ca.rootPem, expectedPeers: [clientId], destination });
  return (await startEnvoy(t, config)).listener(envoyListener);
}

async function ours(t: Test, ca: TestCa, destination: SocketAddress): Promise<SocketAddress> {
  const secret = await ca.issue(serverId);
  const relay = createRelay({ secrets: new TestSecretStore([secret]), logger: silentLogger, clock: systemClock });
  t.teardown(() => relay.close());
  const observer = { ended: () => {} };
  const listener = await relay.serve(onLoopback, {
    secretFor: () => secret,
    trusts: () => true,
    maxStreamsPerSession: 200,
    onConnect: () => ({ kind: 'dial', destination, socket: plainSocket, headers: [], observer }),
  });
  return listener.address;
}
