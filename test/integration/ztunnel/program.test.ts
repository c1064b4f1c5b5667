/** The program itself: settings refused all at once, views of a running one, readiness, a graceful end. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { programFile } from '../../support/program-files.ts';

const program = programFile('ztunnel');

const meshFile = `
workloads:
  - uid: c1//Pod/default/sleep
    name: sleep
    namespace: default
    workloadIps: ["127.1.0.4"]
    services: {}
    serviceAccount: sleep
    trustDomain: cluster.local
    protocol: HBONE
    node: node-a
services:
  - name: productpage
    namespace: default
    hostname: productpage.default.svc.cluster.local
    vips: ["/127.96.0.71"]
    ports: {9080: 9080}
`;

function start(t: Test, args: readonly string[], environment: Readonly<Record<string, string>>) {
  const child = spawn(process.execPath, [program, ...args], {
    env: { PATH: process.env.PATH, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let out = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    out += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    errors += chunk;
  });
  const ended = once(child, 'close') as Promise<[number | null]>;
  return {
    child,
    output: () => out,
    errors: () => errors,
    exitCode: async () => (await within('the end', ended, 20_000))[0],
  };
}

function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'ambit-ztunnel-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function environment(path: string): Readonly<Record<string, string>> {
  return {
    AMBIT_CA_DIR: join(path, 'ca'),
    AMBIT_ADMIN_SOCKET: join(path, 'admin'),
    ENABLE_ORIG_SRC: 'false',
    IPV6_ENABLED: 'false',
    AMBIT_PRESET: 'legacy',
    NODE_NAME: 'node-a',
    AMBIT_OUTBOUND_PORT: '0',
    AMBIT_INBOUND_PORT: '0',
    AMBIT_PLAINTEXT_PORT: '0',
    AMBIT_ADMIN_PORT: '0',
    AMBIT_METRICS_PORT: '0',
    AMBIT_READINESS_PORT: '0',
  };
}

async function admin(path: string, target: string, method = 'GET'): Promise<string> {
  const asked = request({ socketPath: join(path, 'admin'), path: target, method, headers: { host: 'localhost' } });
  asked.end();
  const [response] = await once(asked, 'response');
  return await text(response);
}

t.test('wrong settings are all told at once, with exit code 2', async (t) => {
  const run = start(t, ['--preset', 'old', 'what'], { AMBIT_ADMIN_PORT: 'x', RUST_LOG: 'nonsense=' });
  t.equal(await run.exitCode(), 2);
  for (const part of [/AMBIT_PRESET="old"/, /AMBIT_ADMIN_PORT="x"/, /"what": no such argument/])
    t.match(run.errors(), part);
  const unfit = start(t, ['proxy', 'ztunnel'], { RUST_LOG: 'nonsense=' });
  t.equal(await unfit.exitCode(), 2);
  for (const part of [/RUST_LOG="nonsense="/, /nothing describes the mesh/, /NODE_NAME/]) t.match(unfit.errors(), part);
});

t.test('it gets ready, shows the article’s views, and drains on SIGTERM', async (t) => {
  const path = folder(t);
  writeFileSync(join(path, 'mesh.yaml'), meshFile);
  const variables = environment(path);
  const run = start(t, ['proxy', 'ztunnel'], { ...variables, LOCAL_XDS_PATH: join(path, 'mesh.yaml') });
  await eventually('it listens', () => run.output().includes('listening'), 20_000);
  t.match(await admin(path, '/healthz/ready'), 'ready');
  const view = start(t, ['--view'], variables);
  t.equal(await view.exitCode(), 0);
  t.match(view.output(), 'listener ztunnel_outbound');
  t.match(
    view.output(),
    'spiffe://cluster.local/ns/default/sa/sleep_to_9080_productpage.default.svc.cluster.local_outbound_internal',
  );
  const dump = JSON.parse(await admin(path, '/config_dump'));
  t.match(dump, { workloads: [{ name: 'sleep' }], config: { preset: 'legacy' } });
  await eventually('its certificate', async () =>
    /sleep Available/.test(await admin(path, '/config_dump?view=certs.txt')),
  );
  run.child.kill('SIGUSR1');
  await eventually('it says so', () => run.output().includes('SIGUSR1'));
  run.child.kill('SIGTERM');
  t.equal(await run.exitCode(), 0);
  t.match(run.output(), /drained/);
  t.notMatch(run.errors(), /Debugger/);
});

t.test('drained by its admin port it is unready, accepts nothing and stays, until it is told to end', async (t) => {
  const path = folder(t);
  writeFileSync(join(path, 'mesh.yaml'), meshFile);
  const variables = { ...environment(path), ISTIO_META_ISTIO_VERSION: '1.31.0', RUST_LOG: 'info,ztunnel::proxy=debug' };
  const run = start(t, ['proxy', 'ztunnel'], { ...variables, LOCAL_XDS_PATH: join(path, 'mesh.yaml') });
  await eventually('it listens', () => run.output().includes('listening'), 20_000);
  t.match(await admin(path, '/logging'), 'info,ztunnel::proxy=debug');
  t.equal(await admin(path, '/drain', 'POST'), 'draining\n');
  t.match(await admin(path, '/healthz/ready'), /not ready, pending: .*draining/);
  await eventually('it says so', () => run.output().includes('no longer accepting'));
  t.match(await admin(path, '/config_dump?view=listeners'), 'ztunnel_outbound', 'it still answers');
  t.equal(run.child.exitCode, null);
  await admin(path, '/quitquitquit', 'POST');
  t.equal(await run.exitCode(), 0);
});

t.test('while the mesh cannot be read nothing listens, and readiness says what is awaited', async (t) => {
  const path = folder(t);
  const run = start(t, ['--config', join(path, 'absent')], environment(path));
  await eventually('it waits', () => run.output().includes('nothing listens'), 20_000);
  t.match(await admin(path, '/healthz/ready'), /not ready, pending: state manager, proxy/);
  await admin(path, '/quitquitquit', 'POST');
  t.equal(await run.exitCode(), 0);
});
