/**
 * The program with its mesh from a control plane: nothing listens before the first state, a connection crosses two of
 * them, pushed changes take effect, and all goes on while the control plane is away. Pods are addresses of 127/8.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { addressType, authorizationType } from '../../../src/xds/resource-types.ts';
import { eventually } from '../../support/eventually.ts';
import { TestCa } from '../../support/test-ca.ts';
import {
  denyAll,
  type NamedBytes,
  podResource,
  policyResource,
  portList,
  serviceResource,
} from '../../support/xds-resources.ts';
import { XdsServer } from '../../support/xds-server.ts';
import { echoed, freePort, listeningPorts, startZtunnel } from './ztunnel-program.ts';

const clientIp = '127.77.1.4';
const podIp = '127.77.2.5';
const vip = '127.77.96.1';

async function makeWorld(t: Test) {
  const folder = mkdtempSync(join(tmpdir(), 'ambit-xds-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const ca = await TestCa.create();
  const tls = await ca.issuePem([], { dnsNames: ['localhost'] });
  const server = new XdsServer({ tls });
  await server.start();
  t.teardown(() => server.stop());
  writeFileSync(join(folder, 'root.pem'), ca.rootPem);
  writeFileSync(join(folder, 'token'), 'a-token');
  const variables = {
    AMBIT_CA_DIR: join(folder, 'ca'),
    XDS_ADDRESS: `localhost:${server.port}`,
    XDS_ROOT_CA: join(folder, 'root.pem'),
    AUTH_TOKEN: join(folder, 'token'),
    POD_NAME: 'ztunnel-x',
    POD_NAMESPACE: 'istio-system',
    RUST_LOG: 'info',
  };
  return { folder, server, variables };
}

function set(server: XdsServer, typeUrl: string, ...resources: readonly NamedBytes[]): void {
  for (const { name, bytes } of resources) server.set(typeUrl, name, bytes);
  server.push(
    typeUrl,
    resources.map(({ name }) => name),
  );
}

t.test('before the first state nothing listens, readiness says so, and SIGTERM ends at once', async (t) => {
  const { folder, server, variables } = await makeWorld(t);
  server.script = () => {};
  // Far beyond the patience of this test: whoever waits for the deadline fails it.
  const waiting = { ...variables, CONNECTION_TERMINATION_DEADLINE: '10m' };
  const run = startZtunnel(t, folder, 'node-a', '127.0.0.1', waiting);
  await eventually('it has asked', () => server.requests.length === 2, 20_000);
  t.match(await run.admin('/healthz/ready'), /not ready, pending: state manager, proxy/);
  run.kill('SIGTERM');
  t.equal(await run.exitCode(), 0);
  t.same(server.metadata[0]?.get('authorization'), ['Bearer a-token']);
  t.same(server.metadata[0]?.get('clusterid'), ['Kubernetes']);
});

t.test('a connection crosses two ztunnels whose mesh is istiod’s, also while istiod is away', async (t) => {
  const { folder, server, variables } = await makeWorld(t);
  const app = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  }).listen(0, podIp);
  await once(app, 'listening');
  t.teardown(() => app.close());
  const appAddress = app.address();
  if (appAddress === null || typeof appAddress === 'string') throw new Error('no port');
  set(server, addressType, podResource('sleep', clientIp, { node: 'node-a' }));
  const [inbound, plain, metrics, readiness] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const known = {
    AMBIT_INBOUND_PORT: inbound,
    AMBIT_PLAINTEXT_PORT: plain,
    AMBIT_METRICS_PORT: metrics,
    AMBIT_READINESS_PORT: readiness,
  };
  const fixed = Object.fromEntries(Object.entries(known).map(([name, value]) => [name, String(value)]));
  const local = 'workloads: [{uid: local, name: local, namespace: here, workloadIps: [], services: {}}]';
  const a = startZtunnel(t, folder, 'node-a', '0.0.0.0', { ...variables, ...fixed, LOCAL_XDS: local });
  await eventually('node-a listens', () => a.output().includes('listening'), 20_000);
  const b = startZtunnel(t, folder, 'node-b', podIp, { ...variables, AMBIT_INBOUND_PORT: '15008' });
  await eventually('node-b listens', () => b.output().includes('listening'), 20_000);
  // TPROXY leaves a connection's destination as it was: here it is whatever is dialled on the outbound port.
  const [port = 0] = listeningPorts(a.pid).filter((each) => !Object.values(known).includes(each));
  const ports = { [port]: appAddress.port };
  const cart = serviceResource('cart', vip, ports);
  const pod = podResource('cart-1', podIp, { node: 'node-b', services: { [cart.name]: { ports: portList(ports) } } });
  set(server, addressType, cart, pod);
  const ask = () => echoed(t, { host: vip, port, localAddress: clientIp });
  // Unknown, it would be passed through: to the listener of every address that was dialled.
  for (const each of [a, b]) {
    await eventually('it is known', async () => (await each.admin('/config_dump')).includes('"cart-1"'), 20_000);
  }
  await eventually('it gets through', async () => (await ask()) === 'hello', 20_000);
  await eventually('node-b logged it', () => /dst\.workload="cart-1".*direction="inbound"/.test(b.output()));
  t.match(b.output(), 'src.identity="spiffe://cluster.local/ns/default/sa/sleep"');

  set(server, authorizationType, policyResource('default/deny', denyAll));
  await eventually('it is denied', async () => (await ask()) === '');
  await eventually('node-b says why', () => b.output().includes('explicitly denied by: default/deny'));
  server.delete(authorizationType, 'default/deny');
  server.push(authorizationType, ['default/deny']);
  await eventually('it gets through again', async () => (await ask()) === 'hello');

  server.stop();
  await eventually('both noticed', () =>
    [a, b].every((each) => each.output().includes('no stream from the control plane')),
  );
  t.equal(await ask(), 'hello', 'what was known goes on');
  await server.start();
  await eventually('they are back', () => server.streams === 2, 20_000);
  t.match(server.first(addressType, 3)?.initialResourceVersions[pod.name], /^[0-9a-f]+$/);
  t.match(
    await (await fetch(`http://127.0.0.1:${metrics}/stats/prometheus`)).text(),
    /istio_xds_connection_terminations_total\{reason="ConnectionError"\} [1-9]/,
  );
  const dump = JSON.parse(await a.admin('/config_dump'));
  t.same(dump.workloads.map(({ name }: { name: string }) => name).sort(), ['cart-1', 'local', 'sleep']);
  for (const each of [a, b]) each.kill('SIGTERM');
  t.same(await Promise.all([a.exitCode(), b.exitCode()]), [0, 0]);
});
