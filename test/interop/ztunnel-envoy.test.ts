/**
 * ztunnel with Envoy at the other end of the tunnel, in either direction, without privileges: a listener is bound to the
 * very address that clients dial, so its own address is the original destination.
 */
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { unscrapedMetrics } from '../../src/base/metrics.ts';
import { systemRandom } from '../../src/base/random.ts';
import { legacyPreset } from '../../src/config/preset.ts';
import { createRelay } from '../../src/hbone/relay.ts';
import type { MeshChange, Workload } from '../../src/mesh/model.ts';
import { MeshStore } from '../../src/mesh/store.ts';
import type { Place } from '../../src/ztunnel/context.ts';
import { type RunningProxy, startProxy } from '../../src/ztunnel/proxy.ts';
import { createZtunnel } from '../../src/ztunnel/services.ts';
import { defaultPorts, defaultZtunnelSettings } from '../../src/ztunnel/settings.ts';
import { missingEnvoy, startEnvoy } from '../support/envoy.ts';
import { envoyHboneClient, envoyHboneServer, envoyListener } from '../support/envoy-config.ts';
import { eventually, within } from '../support/eventually.ts';
import { makeChange, makeMatch, makePolicy, makeWorkload } from '../support/mesh-records.ts';
import { clientId, readAll, serverId, tcpClient } from '../support/relay-world.ts';
import { TestCa, TestSecretStore } from '../support/test-ca.ts';
import { checkBulk, checkHalfClose, connectThrough, resetBy, startApplication } from './tcp-path.ts';

const skip = await missingEnvoy();
const localIp = '127.0.0.1';
const remoteIp = '127.2.0.5';

const client = makeWorkload({ name: 'client', namespace: 'shop', serviceAccount: 'client', addresses: [localIp] });
const server = makeWorkload({ name: 'server', namespace: 'shop', serviceAccount: 'server', addresses: [localIp] });

t.test('Envoy as HBONE client of ztunnel', { skip }, async (t) => {
  const ca = await TestCa.create();
  const ztunnel = await startZtunnel(t, ca, localIp, server, { workloads: [server] });
  const application = await startApplication(t);
  const inbound = async (authority: string) => {
    const envoy = await startEnvoy(
      t,
      envoyHboneClient({
        certificate: await ca.issuePem([clientId]),
        rootsPem: ca.rootPem,
        expectedPeers: [serverId],
        server: ztunnel.proxy.inbound.address,
        authority,
      }),
    );
    return envoy.listener(envoyListener);
  };
  const path = { entry: await inbound(`${localIp}:${application.address.port}`), application };

  await t.test('half-close by the client', (t) => checkHalfClose(t, path, 'client'));
  await t.test('half-close by the application', (t) => checkHalfClose(t, path, 'app'));
  await t.test('a reset reaches the application', async (t) => t.equal(await resetBy(t, path, 'client'), 'reset'));
  await t.test('16 MiB each way arrive whole', (t) => checkBulk(t, path, 16 * 1024 * 1024));
  await t.test('the access log names the identity Envoy proved', async (t) => {
    await eventually('four lines', () => ztunnel.lines.length >= 4);
    t.equal(ztunnel.lines[0]?.get('src.identity'), clientId);
    t.equal(ztunnel.lines[0]?.get('dst.identity'), serverId);
  });

  await t.test('an address that is not the pod’s is refused', async (t) => {
    const other = await tcpClient(t, await inbound(`127.9.9.9:${application.address.port}`));
    other.write('hello');
    t.equal((await within('the end', readAll(other))).data.length, 0);
  });

  await t.test('a policy closes what is open and refuses what comes', async (t) => {
    const { client: open } = await connectThrough(t, path);
    // Envoy tells its own client of a reset by FIN.
    const ended = once(open, 'end');
    open.resume();
    const policy = makePolicy({
      name: 'nobody',
      namespace: 'shop',
      scope: 'namespace',
      action: 'deny',
      rules: [[[makeMatch({ principals: [{ kind: 'exact', value: clientId.slice('spiffe://'.length) }] })]]],
    });
    ztunnel.mesh.apply(makeChange({ policies: [policy] }));
    await within('the open connection to end', ended);
    const refused = await tcpClient(t, path.entry);
    refused.write('hello');
    t.equal((await within('the end', readAll(refused))).data.length, 0);
    const [cut, denied] = ztunnel.lines.slice(-2).map((line) => line.get('error'));
    t.match(cut, 'policy change: explicitly denied by: shop/nobody');
    t.match(denied, 'policy rejection: explicitly denied by: shop/nobody');
  });
});

t.test('Envoy as HBONE server of ztunnel', { skip }, async (t) => {
  const ca = await TestCa.create();
  const application = await startApplication(t);
  const envoy = await startEnvoy(
    t,
    envoyHboneServer({
      certificate: await ca.issuePem([serverId]),
      rootsPem: ca.rootPem,
      expectedPeers: [clientId],
      destination: application.address,
      listenIp: remoteIp,
    }),
  );
  const remote: Workload = { ...server, addresses: [remoteIp], node: 'elsewhere' };
  const hbone = envoy.listener(envoyListener).port;
  const ztunnel = await startZtunnel(t, ca, remoteIp, client, { workloads: [client, remote] }, hbone);
  const path = { entry: ztunnel.proxy.outbound.address, application };

  await t.test('half-close by the client', (t) => checkHalfClose(t, path, 'client'));
  await t.test('16 MiB each way arrive whole', (t) => checkBulk(t, path, 16 * 1024 * 1024));
  await t.test('one session for all connections of a pod to another', async (t) => {
    t.equal(await envoy.stat('http.hbone.downstream_cx_total'), 1);
  });
  await t.test('Envoy proves another identity than the mesh has: nothing is sent', async (t) => {
    const changed = { ...remote, identity: clientId, serviceAccount: 'client' };
    ztunnel.mesh.apply(makeChange({ workloads: [changed] }));
    const refused = await tcpClient(t, path.entry);
    refused.write('secret');
    t.same(await within('the end', readAll(refused)), { data: Buffer.alloc(0), how: 'reset' });
  });
});

interface RunningZtunnel {
  readonly mesh: MeshStore;
  readonly proxy: RunningProxy;
  readonly lines: Map<string, string | number | undefined>[];
}

/** A ztunnel whose only pod is `local`, listening on `ip`. */
async function startZtunnel(
  t: Test,
  ca: TestCa,
  ip: string,
  local: Workload,
  records: Partial<MeshChange>,
  hbonePort = defaultPorts.hbone,
): Promise<RunningZtunnel> {
  const mesh = new MeshStore();
  mesh.apply(makeChange(records));
  mesh.markComplete();
  const secrets = new TestSecretStore([await ca.issue(local.identity)]);
  const relay = createRelay({ secrets, logger: silentLogger, clock: systemClock });
  t.teardown(() => relay.close());
  const ownPod = (address: string) => (local.addresses.includes(address) ? local : undefined);
  const place: Place = { name: 'here', namespace: undefined, ip, sourceAt: ownPod, workloadAt: ownPod };
  const lines: RunningZtunnel['lines'] = [];
  const ztunnel = createZtunnel({
    preset: { ...legacyPreset, marks: { ...legacyPreset.marks, own: undefined } },
    settings: {
      ...defaultZtunnelSettings,
      node: local.node,
      spoofing: false,
      transparentListeners: false,
      listenerMarks: false,
      reusePort: false,
      ports: { outbound: 0, inbound: 0, inboundPlaintext: 0, hbone: hbonePort },
    },
    mesh,
    relay,
    secrets,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    metrics: unscrapedMetrics,
    traffic: {
      connection: () => ({ opened: () => {}, transferred: () => {}, closed: () => {} }),
      request: () => {},
      messages: () => {},
    },
    accessLog: { verbose: false, write: (event, fields) => void lines.push(new Map([['event', event], ...fields])) },
    resolve: async () => undefined,
    placeOf: (workload) => (workload.uid === local.uid ? place : undefined),
  });
  t.teardown(() => ztunnel.close());
  return { mesh, proxy: await startProxy(ztunnel.services, place), lines };
}
