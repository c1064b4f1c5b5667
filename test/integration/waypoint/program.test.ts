/** The waypoint program: settings, readiness, the whole path from a folder of YAML, views, a live change, and its end. */
import 'reflect-metadata';
import { createPrivateKey } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { X509Certificate, X509CrlGenerator } from '@peculiar/x509';
import t, { type Test } from 'tap';
import { readWaypointCommand } from '../../../src/app/waypoint-settings.ts';
import { parseSocketAddress } from '../../../src/base/address.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { createRelay } from '../../../src/hbone/relay.ts';
import { openAuthority } from '../../../src/identity/authority.ts';
import { createOwnAuthorityClient } from '../../../src/identity/own-authority.ts';
import { SecretManager } from '../../../src/identity/secret-manager.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import { documents, podText } from '../../support/compile-text.ts';
import { eventually, within } from '../../support/eventually.ts';
import { programFile } from '../../support/program-files.ts';
import { type RunningProgram, runProgram, startProgram } from '../../support/programs.ts';
import { http1 } from './client.ts';
import { notSleepId, productId, sleepId } from './harness.ts';

const script = programFile('waypoint');

const gateway = `
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: Gateway
metadata: {name: productpage, namespace: default, annotations: {istio.io/service-account: bookinfo-productpage}}
spec: {gatewayClassName: istio-mesh}
`;

const policy = (methods: string) => `
apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: {name: productpage-viewer, namespace: default}
spec:
  selector: {matchLabels: {app: productpage}}
  action: ALLOW
  rules:
    - from: [{source: {principals: [cluster.local/ns/default/sa/sleep]}}]
      to: [{operation: {methods: [${methods}]}}]
`;

const service = (port: number) => `
apiVersion: v1
kind: Service
metadata: {name: productpage, namespace: default}
spec: {clusterIP: 10.96.179.71, selector: {app: productpage}, ports: [{name: http, port: 9080, targetPort: ${port}}]}
`;

interface World {
  readonly program: RunningProgram;
  readonly config: string;
  readonly admin: string;
  /** A CA's files. */
  readonly ca: string;
  get(method: string, identity: typeof sleepId): Promise<number>;
}

async function world(t: Test, variables: (ca: string) => Record<string, string> = () => ({})): Promise<World> {
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-waypoint-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const config = path.join(folder, 'mesh');
  const ca = path.join(folder, 'ca');
  const admin = path.join(folder, 'admin.sock');
  const app = createServer((request, response) => response.end(`${request.method} ${request.url}`));
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.2', resolve));
  t.teardown(() => app.close().closeAllConnections());
  const { port } = app.address() as { port: number };
  mkdirSync(config);
  const pods = documents(
    podText('productpage', '127.0.0.2', { account: 'bookinfo-productpage' }),
    podText('sleep', '127.0.0.1', { account: 'sleep' }),
  );
  writeFileSync(path.join(config, 'mesh.yaml'), documents(gateway, service(port), pods));
  writeFileSync(path.join(config, 'policy.yaml'), policy('GET'));
  const clock = systemClock;
  const authority = await openAuthority({ folder: ca, create: true, trustDomain: 'cluster.local', clock });
  const program = startProgram(
    t,
    [process.execPath, '--disable-sigusr1', script, 'proxy', 'waypoint', '--domain', 'default.svc.cluster.local'],
    {
      AMBIT_CONFIG: config,
      AMBIT_PRESET: 'legacy',
      AMBIT_GATEWAY: 'default/productpage',
      AMBIT_CA_DIR: ca,
      AMBIT_LISTEN_IP: '127.0.0.1',
      AMBIT_WAYPOINT_PORTS: '0',
      AMBIT_ADMIN_SOCKET: admin,
      AMBIT_METRICS_PORT: '0',
      AMBIT_READINESS_PORT: '0',
      ...variables(ca),
    },
  );
  const address = await eventually(
    'the program to accept tunnels',
    () => {
      if (program.hasExited()) throw new Error(program.log());
      return parseSocketAddress(/accepting tunnels.*?address="?([0-9.:]+)/.exec(program.log())?.[1] ?? '');
    },
    20_000,
  );
  const dependencies = { clock, random: systemRandom, logger: silentLogger, metrics: unscrapedMetrics };
  const secrets = new SecretManager({ ...dependencies, ca: createOwnAuthorityClient(authority, silentLogger) });
  const relay = createRelay({ secrets, logger: silentLogger, clock });
  t.teardown(async () => {
    await relay.close();
    secrets.close();
  });
  return {
    program,
    config,
    admin,
    ca,
    async get(method, identity) {
      await secrets.acquire(identity);
      const outcome = await relay.open({
        target: { peer: address, sourceIdentity: identity, expectedIdentities: [productId], socket: plainSocket },
        authority: '10.96.179.71:9080',
        headers: [],
      });
      if (outcome.kind !== 'open') throw new Error(`no tunnel: ${outcome.kind}`);
      const { status } = await http1(outcome.stream, { method, path: '/productpage' });
      outcome.stream.destroy();
      return status;
    },
  };
}

/** What a collector was sent, at an address of its own. */
async function startCollector(t: Test) {
  const bodies: string[] = [];
  const collector = createServer((request, response) => {
    void text(request).then((body) => {
      bodies.push(body);
      response.end();
    });
  });
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  t.teardown(() => collector.close().closeAllConnections());
  const { port } = collector.address() as { port: number };
  return { bodies, url: `http://127.0.0.1:${port}` };
}

const telemetry = (file: string) =>
  documents(
    `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: '{extensionProviders: [{name: file, envoyFileAccessLog: {path: ${file}}}]}'}
`,
    `
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: all, namespace: istio-system}
spec: {accessLogging: [{providers: [{name: file}, {name: envoy}]}]}
`,
  );

t.test('a folder of YAML is served, followed when it changes, shown, told about, and drained', async (t) => {
  const { bodies, url } = await startCollector(t);
  const { program, config, admin, get } = await world(t, () => ({ OTEL_EXPORTER_OTLP_ENDPOINT: url }));
  t.equal(await get('GET', sleepId), 200);
  t.equal(await get('DELETE', sleepId), 403);
  t.equal(await get('GET', notSleepId), 403);
  await eventually(
    'three requests to be logged',
    () => program.log().match(/inbound_CONNECT_terminate/g)?.length === 3,
  );
  const view = async (name: string) =>
    String((await runProgram([process.execPath, script, '--view', name, '--from', admin])).stdout);
  const listeners = await view('listeners');
  t.match(listeners, 'listener inbound_CONNECT_terminate');
  t.match(
    listeners,
    'CONNECT 10.96.179.71:9080 → cluster inbound-vip|9080|internal|productpage.default.svc.cluster.local',
  );
  t.match(listeners, 'policy allow default/productpage-viewer');
  const endpoints = await view('endpoints');
  t.match(endpoints, 'cluster inbound-vip|9080|http|productpage.default.svc.cluster.local');
  t.match(endpoints, /127\.0\.0\.2:\d+ HEALTHY default\/productpage/);
  t.match(JSON.parse(await view('dump')), { gateway: 'default/productpage', truncated: false });
  t.match(await view('certs'), `${productId} available`);

  writeFileSync(path.join(config, 'policy.yaml'), policy('GET, DELETE'));
  await eventually('the new policy to be in force', async () => (await get('DELETE', sleepId)) === 200, 10_000);

  const file = path.join(config, 'access.log');
  writeFileSync(path.join(config, 'telemetry.yaml'), telemetry(file));
  const line = /"GET \/productpage HTTP\/1\.1" 200 - via_upstream /;
  const logged = () => existsSync(file) && line.test(readFileSync(file, 'utf8')) && line.test(program.log());
  await eventually('a line in the file and another here', async () => (await get('GET', sleepId)) === 200 && logged());

  program.signal('SIGTERM');
  t.equal(await within('the program to end', program.exited, 10_000), 0);
  t.match(program.log(), 'drained');
  const { resourceSpans } = JSON.parse(bodies[0] ?? '{}');
  t.same(resourceSpans[0].resource.attributes[0].value, { stringValue: 'productpage.default' });
  t.match(resourceSpans[0].scopeSpans[0].spans[0].name, /^productpage\.default\.svc\.cluster\.local:9080/);
});

t.test('with CRL_PATH nobody is let in before a list could be read', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-crl-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'ca.crl');
  const { ca, get } = await world(t, () => ({ CRL_PATH: file }));
  await t.rejects(get('GET', sleepId), /no tunnel/);
  writeFileSync(file, await emptyRevocationList(ca));
  const admitted = () => get('GET', sleepId).catch(() => undefined);
  t.equal(await eventually('the list to be read', admitted, 15_000), 200);
});

t.test('wrong settings are all told at once, with exit code 2', async (t) => {
  const { code, stderr } = await runProgram([process.execPath, script, 'nonsense', '--gateway', 'x']);
  t.equal(code, 2);
  t.match(stderr, 'nonsense');
  t.match(stderr, '--config DIR');
  t.match(stderr, '--gateway x');
  t.equal((await runProgram([process.execPath, script, '--help'])).code, 0);
});

t.test('lists in settings are checked for their form', async (t) => {
  const given = { AMBIT_CONFIG: 'mesh', AMBIT_GATEWAY: 'a/b' };
  const problems = (more: Record<string, string>) => {
    const command = readWaypointCommand([], { ...given, ...more });
    return command.kind === 'problems' ? command.problems : [];
  };
  t.same(problems({}), []);
  t.match(problems({ AMBIT_TRUST_DOMAIN_ALIASES: 'old.example, not a domain' }), [
    /AMBIT_TRUST_DOMAIN_ALIASES.*not a domain/,
  ]);
  t.match(problems({ AMBIT_CLIENT_ADDRESS_HEADERS: 'x-forwarded-for,via' }), [/AMBIT_CLIENT_ADDRESS_HEADERS: via/]);
  const command = readWaypointCommand([], { ...given, AMBIT_CLIENT_ADDRESS_HEADERS: 'Forwarded' });
  t.match(command, { kind: 'run', settings: { clientAddressHeaders: ['forwarded'] } });
});

t.test('arguments of Istio are taken, arguments beat the environment', async (t) => {
  const argv = [
    'proxy',
    'waypoint',
    '--domain',
    'x.svc',
    '--serviceCluster',
    'y',
    '--gateway',
    'a/b/c',
    '--config',
    'd',
  ];
  const command = readWaypointCommand(argv, { AMBIT_GATEWAY: 'other/one', AMBIT_WAYPOINT_PORTS: '15006, 15008' });
  t.match(command, {
    kind: 'run',
    settings: { gateway: 'a/b/c', mesh: { kind: 'folder', directory: 'd' }, ports: [15006, 15008] },
  });
  t.match(readWaypointCommand(['--config', 'd', '--gateway', 'a/b', '--preset', 'legacy'], {}), {
    settings: { ports: [15006] },
  });
  const wrong = readWaypointCommand(['--config', 'd', '--gateway', 'a/b'], {
    AMBIT_WAYPOINT_PORTS: 'x',
    RUST_LOG: '===',
  });
  t.match(wrong, { kind: 'problems', problems: { length: 2 } });
  const origins = (text: string) =>
    readWaypointCommand(['--config', 'd', '--gateway', 'a/b'], { AMBIT_JWKS_ORIGINS: text });
  t.match(origins('http://a:1, https://b'), { settings: { jwksOrigins: ['http://a:1', 'https://b'] } });
  for (const text of ['a', 'http://a/', 'ftp://a', 'https://a/keys'])
    t.match(origins(text), { kind: 'problems' }, text);
});

/** Signed by the CA whose files are in the folder; it revokes nobody. */
async function emptyRevocationList(folder: string): Promise<string> {
  const authority = new X509Certificate(readFileSync(path.join(folder, 'ca-cert.pem'), 'utf8'));
  const pem = readFileSync(path.join(folder, 'ca-key.pem'), 'utf8');
  const der = createPrivateKey(pem).export({ format: 'der', type: 'pkcs8' });
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const list = await X509CrlGenerator.create({
    issuer: authority.subject,
    thisUpdate: new Date(Date.now() - 60_000),
    nextUpdate: new Date(Date.now() + 3_600_000),
    signingAlgorithm: algorithm,
    signingKey: await crypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']),
    entries: [],
  });
  return `${list.toString('pem').replaceAll(' CRL-----', ' X509 CRL-----')}\n`;
}
