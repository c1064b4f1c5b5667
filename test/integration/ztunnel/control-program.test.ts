/**
 * `ambit control` and two ztunnels that have nothing but a join token: mesh and certificates come from it over TLS, and
 * whoever has not joined is told nothing.
 */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import t, { type Test } from 'tap';
import { eventually } from '../../support/eventually.ts';
import { programFile } from '../../support/program-files.ts';
import { runProgram, startProgram } from '../../support/programs.ts';
import { echoed, freePort, listeningPorts, type Running, startZtunnel } from './ztunnel-program.ts';

const ambit = programFile('ambit');
const clientIp = '127.78.1.4';
const podIp = '127.78.2.5';
const vip = '127.78.96.1';

const podObject = (name: string, node: string, ip: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'shop', labels: { app: name, 'istio.io/dataplane-mode': 'ambient' } },
  spec: { nodeName: node, serviceAccountName: name },
  status: { phase: 'Running', podIP: ip },
});

async function echoServer(t: Test): Promise<number> {
  const app = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  }).listen(0, podIp);
  await once(app, 'listening');
  t.teardown(() => app.close());
  const address = app.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function startControl(t: Test, folder: string, mesh: string) {
  const state = join(folder, 'control-state');
  const node = process.execPath;
  const argv = ['--config', mesh, '--listen', '127.0.0.1', '--port', '0', '--state', state, '--preset', 'legacy'];
  const control = startProgram(t, [node, ambit, 'control', ...argv]);
  const line = /certificates on https:\/\/127\.0\.0\.1:(\d+), trust root (.+)/;
  const [, port, root] = await eventually('it serves', () => line.exec(control.log()) ?? undefined, 20_000);
  return {
    control,
    address: `https://localhost:${port}`,
    root: String(root),
    async tokenFor(name: string) {
      const made = await runProgram([node, ambit, 'control', 'token', '--node', name, '--state', state]);
      return made.stdout.toString().trim();
    },
  };
}

t.test('two ztunnels get mesh and certificates from the control plane they have joined', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ambit-joined-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const mesh = join(folder, 'mesh');
  mkdirSync(mesh);
  const write = (name: string, object: object) => writeFileSync(join(mesh, `${name}.yaml`), JSON.stringify(object));
  write('sleep', podObject('sleep', 'node-a', clientIp));
  write('cart', podObject('cart', 'node-b', podIp));
  const appPort = await echoServer(t);
  const { address, root, tokenFor } = await startControl(t, folder, mesh);
  const joined = async (node: string) => ({
    XDS_ADDRESS: address,
    CA_ADDRESS: address,
    CA_ROOT_CA: root,
    AMBIT_JOIN_TOKEN: await tokenFor(node),
    AMBIT_STATE_DIR: join(folder, node),
    RUST_LOG: 'info',
  });
  const [inbound, plain, metrics, readiness] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const fixed = {
    AMBIT_INBOUND_PORT: String(inbound),
    AMBIT_PLAINTEXT_PORT: String(plain),
    AMBIT_METRICS_PORT: String(metrics),
    AMBIT_READINESS_PORT: String(readiness),
  };
  const listens = (run: Running) => eventually('it listens', () => run.output().includes('listening'), 30_000);
  const a = startZtunnel(t, folder, 'node-a', '0.0.0.0', { ...(await joined('node-a')), ...fixed });
  await listens(a);
  const b = startZtunnel(t, folder, 'node-b', podIp, { ...(await joined('node-b')), AMBIT_INBOUND_PORT: '15008' });
  await listens(b);
  for (const each of [a, b]) t.match(each.output(), 'joined the control plane');
  t.notMatch(a.output(), /no stream from the control plane/, 'it was not asked before the join');

  const ownPorts = Object.values(fixed).map(Number);
  const [port = 0] = listeningPorts(a.pid).filter((each) => !ownPorts.includes(each));
  write('service', {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'cart', namespace: 'shop' },
    spec: { clusterIP: vip, selector: { app: 'cart' }, ports: [{ name: 'tcp', port, targetPort: appPort }] },
  });
  // Unknown, it would be passed through: to the listener of every address that was dialled.
  for (const each of [a, b]) {
    await eventually('it is told', async () => (await each.admin('/config_dump')).includes(`${vip}"`), 20_000);
  }
  const ask = () => echoed(t, { host: vip, port, localAddress: clientIp });
  await eventually('it gets through', async () => (await ask()) === 'hello', 20_000);
  await eventually('node-b logged it', () => /dst\.workload="cart".*direction="inbound"/.test(b.output()));
  t.match(b.output(), 'src.identity="spiffe://cluster.local/ns/shop/sa/sleep"');

  const stranger = startZtunnel(t, folder, 'node-c', '127.0.0.1', {
    XDS_ADDRESS: address,
    XDS_ROOT_CA: root,
    AMBIT_CA_DIR: join(folder, 'other-ca'),
  });
  await eventually('it is refused', () => stranger.output().includes('no join credential was shown'), 20_000);
  t.notMatch(await stranger.admin('/config_dump'), '"cart"');
  for (const each of [a, b, stranger]) each.kill('SIGTERM');
  t.same(await Promise.all([a.exitCode(), b.exitCode(), stranger.exitCode()]), [0, 0, 0]);
});
