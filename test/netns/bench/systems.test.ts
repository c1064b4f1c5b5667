/**
 * Every system of the bench carries what it says it carries through the proxies it names, the peers' tunnels are secured
 * as they say, policies are in force, and what a machine lacks is named with the line that installs it.
 */
import { once } from 'node:events';
import { readFileSync, readlinkSync } from 'node:fs';
import process from 'node:process';
import { connect as secure, type TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { ports, type System } from '../../../bench/model.ts';
import { authorityOf, type CertificateFiles, writeCertificate } from '../../../bench/systems/certificate.ts';
import { envoyStats } from '../../../bench/systems/envoy-process.ts';
import { findPeer } from '../../../bench/systems/programs.ts';
import { openWorld, preparePeers, systemKeys, type World, type WorldOptions } from '../../../bench/world.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { legacyPreset } from '../../../src/config/preset.ts';
import { runCommand } from '../../../src/lab/command.ts';
import { inNamespace } from '../../../src/lab/namespace.ts';
import type { HttpRequest, LabAnswer } from '../../../src/lab/request.ts';
import { connectFrom } from '../../../src/lab/sockets.ts';
import { within } from '../../support/eventually.ts';
import { missing } from '../../support/programs.ts';
import { insideLab } from '../lab/inside.ts';

t.setTimeout(180_000);
const withoutH2load = missing('h2load');
await preparePeers();

if (await insideLab()) {
  t.test('side by side', async (t) => {
    const world = await open(t);
    const keys = [...world.systems, ...world.missing].map(({ key }) => key);
    t.same(new Set(keys), new Set(systemKeys), 'each is there or missing');
    for (const system of world.systems) await t.test(system.name, (t) => carries(t, world, system));
    await t.test('waypoints admit no other method than their policies do', async (t) => {
      for (const system of named(world, 'waypoint', 'waypoint-100', 'envoy-waypoint')) {
        t.match(
          await ask(world, system, { method: 'DELETE' }),
          { status: 403, body: 'RBAC: access denied' },
          system.key,
        );
      }
    });
    await t.test('the Envoys’ tunnels were TLS 1.3 with AES-GCM and P-256', async (t) => {
      for (const { key, proxies } of named(world, 'envoy-pair', 'envoy-waypoint')) {
        for (const { name } of proxies()) {
          const stats = await envoyStats(world.mesh, name, /\.ssl\.(versions|ciphers|curves|handshake|no_certificate)/);
          const sum = (part: RegExp) =>
            [...stats].filter(([stat]) => part.test(stat)).reduce((total, [, count]) => total + count, 0);
          const handshakes = sum(/handshake$/);
          t.ok(handshakes > 0, `${name} of ${key} made handshakes`);
          for (const part of [/versions\.TLSv1\.3$/, /ciphers\.TLS_AES_\d+_GCM_SHA\d+$/, /curves\.P-256$/]) {
            t.equal(sum(part), handshakes, String(part));
          }
          t.equal(sum(/no_certificate$/), 0, 'each peer had a certificate');
        }
      }
    });
    await t.test('peers’ servers take nobody without a certificate of the mesh', async (t) => {
      const { mesh } = world;
      const certificate = await writeCertificate(await authorityOf(mesh), mesh, 'stranger');
      const servers = { 'envoy-pair': 15008, 'haproxy-pair': ports.http + 1000, 'envoy-waypoint': 15008 };
      for (const { key, proxies } of named(world, ...Object.keys(servers))) {
        const pod = proxies().at(-1)?.name ?? '';
        const address = { host: mesh.lab.pod(pod).ip, port: servers[key as keyof typeof servers] };
        const { tls: known } = await handshake(t, world, address, certificate);
        t.equal(known.getProtocol(), 'TLSv1.3', key);
        t.match(known.getCipher().name, /^TLS_AES_\d+_GCM_SHA\d+$/, key);
        t.match(known.getEphemeralKeyInfo(), { name: 'prime256v1' }, key);
        const { end } = await handshake(t, world, address);
        t.equal(await within(`${key} to refuse`, end), 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', key);
      }
    });
    await t.test('waypoints write access logs, to nowhere', async (t) => {
      for (const { proxies } of named(world, 'waypoint', 'waypoint-100')) {
        const [{ name, pid } = { name: '', pid: 0 }] = proxies();
        t.match((await world.mesh.ask(name, '/logging')).body, /^info$/m, `${name} logs all scopes`);
        t.equal(readlinkSync(`/proc/${pid}/fd/1`), '/dev/null');
      }
      for (const { proxies } of named(world, 'envoy-waypoint')) {
        const stats = await envoyStats(world.mesh, proxies()[0]?.name ?? '', /^filesystem\.write_buffered$/);
        t.ok((stats.get('filesystem.write_buffered') ?? 0) > 0);
      }
    });
    await t.test('a hundred routes and policies are in force, the load’s own the last of them', async (t) => {
      const { body } = await world.mesh.ask('waypoint-100-proxy', '/config_dump?view=listeners');
      const listeners = JSON.parse(body) as { name: string; routes: { match: string }[]; policies: string[] }[];
      const { routes = [], policies = [] } = listeners.find(({ name }) => name === 'main_internal') ?? {};
      const paths = routes.filter(({ match }) => match.startsWith('path '));
      t.equal(paths.length, 100);
      t.equal(paths.at(-1)?.match, 'path path-prefix /');
      t.equal(policies.length, 100);
      t.equal(policies.at(-1), 'allow default/waypoint-100-server-099');
    });
  });

  t.test('under the preset of the article', async (t) => {
    const world = await open(t, {
      preset: legacyPreset,
      only: new Set(['ztunnel-pair', 'waypoint', 'envoy-waypoint']),
    });
    for (const system of world.systems) await t.test(system.name, (t) => carries(t, world, system));
  });

  t.test('only what is named is started; what is missing is named with the line that installs it', async (t) => {
    const world = await open(t, {
      only: new Set(['none', 'haproxy-pair']),
      find: (name) => findPeer(name, () => undefined),
    });
    const reason = 'needs haproxy; as root run: apt-get install -y --no-install-recommends haproxy';
    t.same(world.missing, [{ key: 'haproxy-pair', name: 'haproxy pair', reason }]);
    t.same(
      world.systems.map(({ key }) => key),
      ['none'],
    );
    t.same(world.mesh.proxies, []);
    t.same(world.lab.topology.pods.map(({ name }) => name).sort(), ['control', 'none-client', 'none-server']);
  });

  t.test('when all that is named is missing, the reasons are the error', async (t) => {
    const opened = openWorld({
      logger: silentLogger,
      only: new Set(['nginx-l7']),
      find: (name) => findPeer(name, () => undefined),
    });
    await t.rejects(opened, { code: 'BENCH_NOTHING_TO_RUN', message: /apt-get install .* nginx-light/ });
  });

  t.test('a system that there is not is named with those there are', async (t) => {
    const opened = openWorld({ logger: silentLogger, only: new Set(['none', 'ztunel']) });
    await t.rejects(opened, { code: 'BENCH_NO_SUCH_SYSTEM', message: /^no system ztunel; there are none, / });
  });
}

async function open(t: Test, options: Omit<WorldOptions, 'logger'> = {}): Promise<World> {
  const world = await openWorld({ logger: silentLogger, ...options });
  t.teardown(() => world.close());
  return world;
}

async function carries(t: Test, world: World, system: System): Promise<void> {
  t.comment(system.settings);
  const answered = { kind: 'http', status: 200, bodyBytes: 350, end: 'fin' };
  t.match(await ask(world, system), answered, 'a request');
  if (system.serves.has('echo')) {
    const socket = await connectFrom(world.lab.namespace(system.pod), { host: system.host, port: ports.echo });
    t.teardown(() => socket.destroy());
    socket.write('x');
    const [chunk] = (await within('the byte to come back', once(socket, 'data'))) as [Buffer];
    t.equal(chunk.toString(), 'x', 'a byte and back');
  }
  if (system.serves.has('h2c') && withoutH2load === false) {
    const url = `http://${system.host}:${ports.h2c}/`;
    const { stdout } = await runCommand(inNamespace(world.lab.namespace(system.pod), ['h2load', '-n', '3', url]));
    t.match(stdout, /3 succeeded.*\n.*status codes: 3 2xx/, 'requests by HTTP/2');
  }
  for (const { name, pid } of system.proxies()) {
    process.kill(pid, 'SIGSTOP');
    const halted = await ask(world, system, { timeoutMs: 300 });
    process.kill(pid, 'SIGCONT');
    t.match(halted, { kind: 'failed', end: 'timeout' }, `nothing passes while ${name} is halted`);
  }
  t.match(await ask(world, system), answered, 'a request once all proxies go on');
}

function ask(world: World, { pod, host }: System, more: Partial<HttpRequest> = {}): Promise<LabAnswer> {
  return world.lab.request(pod, { kind: 'http', url: `http://${host}:${ports.http}/`, ...more });
}

/** Those of these systems that this machine has. */
function named(world: World, ...keys: readonly string[]): readonly System[] {
  return world.systems.filter(({ key }) => keys.includes(key));
}

/** Settles when the handshake is over for the client; a TLS 1.3 server may still refuse: `end` is the error's code. */
async function handshake(
  t: Test,
  world: World,
  address: { readonly host: string; readonly port: number },
  files?: CertificateFiles,
): Promise<{ readonly tls: TLSSocket; readonly end: Promise<string> }> {
  const socket = await connectFrom(world.lab.namespace('none-client'), address);
  const shown = files === undefined ? {} : { cert: readFileSync(files.chain), key: readFileSync(files.key) };
  const tls = secure({ socket, ...shown, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  t.teardown(() => {
    tls.destroy();
    socket.destroy();
  });
  const end = new Promise<string>((resolve) => {
    tls.on('error', (error) => resolve('code' in error ? String(error.code) : error.message));
    tls.on('close', () => resolve('closed'));
  });
  await within('the handshake', once(tls, 'secureConnect'));
  tls.resume();
  return { tls, end };
}
