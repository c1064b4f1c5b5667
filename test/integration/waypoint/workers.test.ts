/** The waypoint as several processes: even load, one admin port, renewal without a failed request, a worker that is killed. */
import { createServer, get } from 'node:http';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { runProgram } from '../../support/programs.ts';
import { hammer } from './hammer.ts';
import { programWorld, waypointScript } from './program-world.ts';

const clients = 8;

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function fetchText(port: number, path: string): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, agent: false }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    }).on('error', reject);
  });
}

function samples(metrics: string, name: string): readonly number[] {
  const lines = metrics.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  return lines.map((line) => Number(line.slice(line.lastIndexOf(' '))));
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

t.test('several workers share the port evenly, are renewed without a failed request, and replaced', async (t) => {
  const { start, tunnel } = await programWorld(t, clients);
  const [metricsPort, readinessPort] = [await freePort(), await freePort()];
  const { program, admin, address } = await start('workers', {
    AMBIT_WORKERS: '2',
    // Only the tail of what a program writes is kept.
    RUST_LOG: 'info,access=error',
    AMBIT_METRICS_PORT: String(metricsPort),
    AMBIT_READINESS_PORT: String(readinessPort),
  });
  const times = (pattern: RegExp) => [...program.log().matchAll(pattern)].length;
  const metrics = async () => (await fetchText(metricsPort, '/metrics')).body;
  const requests = async () => sum(samples(await metrics(), 'istio_requests_total'));
  t.equal((await fetchText(readinessPort, '/healthz/ready')).status, 200);
  await eventually(
    'both workers',
    async () => samples(await metrics(), 'ambit_worker_connections').length === 2,
    20_000,
  );
  await eventually('both to serve', () => times(/accepting tunnels.*worker=/g) === 2, 60_000);

  const load = hammer(clients, (client) => tunnel(address, client));
  t.teardown(() => load.stop());
  await eventually('requests to be answered', () => load.answered > 200, 60_000);
  t.same(samples(await metrics(), 'ambit_worker_connections'), [4, 4], 'each has as many connections as the other');

  program.signal('SIGHUP');
  await eventually('both workers to be renewed', () => times(/a worker has left/g) === 2, 90_000);
  const before = load.answered;
  await eventually('requests to go on', () => load.answered > before + 200, 60_000);
  await load.stop();
  t.same(load.failures, []);
  t.equal(await requests(), load.answered, 'every request is counted once, those of the workers that left included');

  const view = await runProgram([process.execPath, waypointScript, '--view', 'listeners', '--from', admin]);
  t.match(String(view.stdout), 'CONNECT 10.96.179.71:9080');

  const counted = await requests();
  const [, pid] = /worker started.*worker=3 pid=(\d+)/.exec(program.log()) ?? [];
  process.kill(Number(pid), 'SIGKILL');
  await eventually('its end to be told', () => times(/a worker ended, its connections are lost/g) === 1);
  t.equal((await fetchText(readinessPort, '/healthz/ready')).status, 200, 'the other one serves');
  await eventually(
    'another in its place',
    async () => samples(await metrics(), 'ambit_worker_connections').length === 2,
  );
  t.ok((await requests()) >= counted, 'what it had counted is not forgotten');
  const again = hammer(2, (client) => tunnel(address, client));
  await eventually('requests to be answered', () => again.answered > 20);
  await again.stop();
  t.same(again.failures, []);

  program.signal('SIGTERM');
  t.equal(await within('all of them to end', program.exited, 60_000), 0);
  t.equal(times(/a worker has left/g), 4);
});

t.test('a first worker that cannot start is the end of all', async (t) => {
  const { start } = await programWorld(t);
  const failed = start('broken', { AMBIT_WORKERS: '2', AMBIT_CA_DIR: '/proc/nowhere' });
  await t.rejects(failed, /the first worker did not get as far as to serve/);
});
