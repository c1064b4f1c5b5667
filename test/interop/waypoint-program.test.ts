/**
 * The waypoint program as an operator runs it: Kubernetes objects in a folder, a CA folder with Istio's file names, curl
 * and nginx at the ends, and Envoys that hold certificates of the same CA in the place of the ztunnels.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import t, { type Test } from 'tap';
import { parseSocketAddress, type SocketAddress } from '../../src/base/address.ts';
import { documents, podText } from '../support/compile-text.ts';
import { missingEnvoy, startEnvoy } from '../support/envoy.ts';
import { envoyHboneClient, envoyHboneServer, envoyListener } from '../support/envoy-config.ts';
import { eventually, within } from '../support/eventually.ts';
import { nginxPaths, startNginx } from '../support/nginx.ts';
import { programFile } from '../support/program-files.ts';
import { missing, type RunningProgram, runProgram, startProgram } from '../support/programs.ts';
import { TestCa } from '../support/test-ca.ts';

const script = programFile('waypoint');
const idOf = (account: string) => `spiffe://cluster.local/ns/shop/sa/${account}`;
const podIp = '127.0.0.2';
const vip = '10.96.0.7';

const objects = (targetPort: number) =>
  documents(
    `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
`,
    `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`,
    `
apiVersion: v1
kind: Service
metadata: {name: origin, namespace: shop, labels: {istio.io/use-waypoint: waypoint}}
spec: {clusterIP: ${vip}, selector: {app: origin}, ports: [{name: http, port: 80, targetPort: ${targetPort}}]}
`,
    `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: origin, namespace: shop}
spec:
  parentRefs: [{group: '', kind: Service, name: origin, port: 80}]
  rules:
    - matches: [{path: {type: PathPrefix, value: /old}}]
      filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: ${nginxPaths.echo}}}}]
      backendRefs: [{name: origin, port: 80}]
    - backendRefs: [{name: origin, port: 80}]
`,
    `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  targetRefs: [{group: '', kind: Service, name: origin}]
  action: ALLOW
  rules:
    - from: [{source: {principals: [cluster.local/ns/shop/sa/client]}}]
      to: [{operation: {methods: [GET]}}]
`,
    podText('origin', podIp, { account: 'origin', namespace: 'shop' }),
    podText('client', '127.0.0.1', { account: 'client', namespace: 'shop' }),
  );

const skip = missing('nginx', 'curl') || (await missingEnvoy());

t.test('Kubernetes objects are in force between programs of others', { skip }, async (t) => {
  const nginx = await startNginx(t);
  const ca = await TestCa.create();
  const envoyServer = await startEnvoy(
    t,
    envoyHboneServer({
      certificate: await ca.issuePem([idOf('origin')]),
      rootsPem: ca.rootPem,
      expectedPeers: [idOf('waypoint')],
      destination: nginx.address,
      listenIp: podIp,
    }),
  );
  const { program, address } = await startWaypoint(
    t,
    ca,
    objects(nginx.address.port),
    envoyServer.listener(envoyListener).port,
  );
  const entryOf = async (account: string) => {
    const envoy = await startEnvoy(
      t,
      envoyHboneClient({
        certificate: await ca.issuePem([idOf(account)]),
        rootsPem: ca.rootPem,
        expectedPeers: [idOf('waypoint')],
        server: address,
        authority: `${vip}:80`,
      }),
    );
    return envoy.listener(envoyListener);
  };
  const client = await entryOf('client');
  const answer = async (entry: SocketAddress, ...args: string[]) => {
    const connectTo = `origin.shop:80:${entry.ip}:${entry.port}`;
    const { stdout } = await runProgram(['curl', '-sS', '-w', ' %{http_code}', '--connect-to', connectTo, ...args]);
    return String(stdout);
  };

  await t.test('a permitted request is answered by nginx', async (t) => {
    const text = await answer(client, `http://origin.shop${nginxPaths.echo}`);
    t.match(text, 'GET /echo origin.shop\n');
    t.match(text, / 200$/);
  });

  await t.test('HTTPRoute rewrites the path', async (t) => {
    t.match(await answer(client, 'http://origin.shop/old'), 'GET /echo origin.shop\n');
  });

  await t.test('AuthorizationPolicy refuses another method, and another identity', async (t) => {
    t.equal(await answer(client, '-X', 'DELETE', 'http://origin.shop/echo'), 'RBAC: access denied 403');
    t.equal(await answer(await entryOf('stranger'), 'http://origin.shop/echo'), 'RBAC: access denied 403');
  });

  await t.test('it drains on SIGTERM while Envoy keeps a session to it', async (t) => {
    program.signal('SIGTERM');
    t.equal(await within('its end', program.exited, 15_000), 0);
  });
});

/** Its CA folder is that of `ca`, as istiod's `cacerts` would be. */
async function startWaypoint(
  t: Test,
  ca: TestCa,
  yaml: string,
  endpointPort: number,
): Promise<{ program: RunningProgram; address: SocketAddress }> {
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-interop-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const config = path.join(folder, 'mesh');
  const authority = path.join(folder, 'ca');
  mkdirSync(config);
  mkdirSync(authority, { mode: 0o700 });
  writeFileSync(path.join(config, 'mesh.yaml'), yaml);
  for (const name of ['root-cert.pem', 'ca-cert.pem', 'cert-chain.pem']) {
    writeFileSync(path.join(authority, name), ca.rootPem);
  }
  writeFileSync(path.join(authority, 'ca-key.pem'), ca.rootKeyPem, { mode: 0o600 });
  const program = startProgram(t, [process.execPath, '--disable-sigusr1', script], {
    AMBIT_CONFIG: config,
    AMBIT_GATEWAY: 'shop/waypoint',
    AMBIT_CA_DIR: authority,
    AMBIT_LISTEN_IP: '127.0.0.1',
    AMBIT_WAYPOINT_PORTS: '0',
    AMBIT_ENDPOINT_PORT: String(endpointPort),
    AMBIT_ADMIN_SOCKET: path.join(folder, 'admin.sock'),
    AMBIT_METRICS_PORT: '0',
    AMBIT_READINESS_PORT: '0',
  });
  const address = await eventually(
    'the waypoint to accept tunnels',
    () => {
      if (program.hasExited()) throw new Error(program.log());
      return parseSocketAddress(/accepting tunnels.*?address="?([0-9.:]+)/.exec(program.log())?.[1] ?? '');
    },
    20_000,
  );
  return { program, address };
}
