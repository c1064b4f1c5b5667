/**
 * What a request and a new connection cost the pair of ztunnels, by the kernel's accounting of both, against what is in
 * the mesh and what is open. Costs of many open connections are differences of a long and a short run, which leaves out
 * what opening them took.
 */
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { runCommand } from '../../src/lab/command.ts';
import { inNamespace } from '../../src/lab/namespace.ts';
import type { LabProcess } from '../../src/lab/process.ts';
import { buildTcpload } from '../loads/build.ts';
import { runTcpload } from '../loads/tcpload.ts';
import { runWrk } from '../loads/wrk.ts';
import { type Load, type LoadResult, type Proxy as Program, ports, type System } from '../model.ts';
import { readUsage } from '../usage.ts';
import type { Curve, Figure, Ground } from './curve.ts';
import { type Padding, pad, rulesPerPolicy } from './padding.ts';
import { leaveMark, untilAtRest, untilKnown } from './settle.ts';

const nodes = ['node-a', 'node-b'] as const;
const ztunnels = nodes.map((node) => `ztunnel-${node}`);

/** Of connections per second: what a ztunnel keeps up with. */
const openingRate = 1000;
/** Longer than it takes to open them and to measure. */
const holdSeconds = 200;
/** Requests per second whatever the number of connections: as many wake-ups, as much to do at each. */
const steadyRate = 1500;

let marks = 0;

const perRequest: Figure = { key: 'request', name: 'CPU µs per request, kept alive', onPath: true };
const perConnection: Figure = { key: 'connection', name: 'CPU µs per new connection', onPath: true };
const memory: Figure = { key: 'rss', name: 'RSS of the larger ztunnel, MB', onPath: false };

export const pathCurves: readonly Curve[] = [
  meshCurve('workloads', 'workloads', [100, 1000, 10_000, 100_000], [100, 1000, 10_000]),
  meshCurve('services', 'services', [100, 1000, 20_000], [100, 1000, 10_000]),
  meshCurve('endpoints', 'endpoints of the service, of which one is healthy', [1, 100, 10_000], [1, 100, 1000]),
  meshCurve('policies', `policies of ${rulesPerPolicy} rules in force`, [1, 10, 100, 1000], [1, 100, 1000]),
  connectionCurve(),
  streamCurve(),
];

/** Until the optimising compiler has seen what a load does, every turn is cheaper than the one before. */
export async function warmUp(ground: Ground): Promise<void> {
  for (const load of [requests, connections]) await run(load, ground, 5);
}

const requests: RunLoad = (turn) => runWrk(turn, { connections: 32, keepAlive: true });
const connections: RunLoad = (turn) => runTcpload(turn, { mode: 'connect', port: 'echo', connections: 8 });

function meshCurve(kind: Padding, things: string, points: readonly number[], quickPoints: readonly number[]): Curve {
  const grow = async (count: number, ground: Ground) => {
    const { mesh } = ground.world;
    pad(mesh.folder, kind, count, serviceOf(ground));
    const mark = leaveMark(mesh.folder, nodes, ++marks);
    await Promise.all(ztunnels.map((name) => untilKnown(mesh.adminSocket(name), mark)));
    const control = mesh.plan.control.pod;
    await untilAtRest([...pair(ground).proxies(), { name: control, pid: mesh.program(control).pid ?? 0 }]);
  };
  return {
    key: kind,
    title: `What a request costs against ${things}`,
    xLabel: things,
    points,
    quickPoints,
    figures: [perRequest, perConnection, memory],
    async visit(x, ground) {
      ground.progress(`${kind}: ${x}, being put in force`);
      await grow(x, ground);
      ground.progress(`${kind}: ${x}, under load`);
      const request = await costOf(requests, ground);
      const connection = await costOf(connections, ground);
      return { request, connection, rss: largestRss(pair(ground).proxies()) };
    },
    leave: (ground) => grow(0, ground),
  };
}

function connectionCurve(): Curve {
  return {
    key: 'connections',
    title: 'What a request costs against connections that are open besides',
    xLabel: 'connections',
    points: [10, 100, 1000, 10_000],
    quickPoints: [10, 100, 1000],
    figures: [perRequest, perConnection, memory],
    async visit(x, ground) {
      ground.progress(`connections: ${x}`);
      const program = await open(x, ground);
      try {
        const request = await costOf(requests, ground);
        const connection = await costOf(connections, ground);
        return { request, connection, rss: largestRss(pair(ground).proxies()) };
      } finally {
        await program.stop(20_000);
        await untilAtRest(pair(ground).proxies());
      }
    },
    leave: async () => {},
  };
}

/** Opens connections that say nothing. Resolves when all stand; the caller stops the program. */
async function open(count: number, ground: Ground): Promise<LabProcess> {
  const { pod, host } = pair(ground);
  const settings = [`--connections=${count}`, `--rate=${openingRate}`, `--seconds=${holdSeconds}`];
  const program = ground.world.lab.spawn(pod, {
    name: 'growth-idle',
    argv: [await buildTcpload(), 'idle', host, String(ports.echo), ...settings],
  });
  await program.waitForLine((line) => line.startsWith('held '), holdSeconds * 1000);
  return program;
}

function streamCurve(): Curve {
  const held = 200;
  const restart = async (streams: number | undefined, { world }: Ground) => {
    const [client] = nodes;
    await world.mesh.stop(`ztunnel-${client}`);
    const limit = streams === undefined ? {} : { POOL_MAX_STREAMS_PER_CONNECTION: String(streams) };
    await world.mesh.startZtunnel(client, limit);
  };
  return {
    key: 'streams',
    title: `What a request costs against streams per tunnel, ${held} connections in all`,
    xLabel: 'streams per tunnel at most',
    // What a ztunnel takes at most in one tunnel (`maxStreamsPerSession`) is the end of it.
    points: [10, 20, 50, 100, 200],
    quickPoints: [10, 100, 200],
    figures: [
      { ...perRequest, name: `CPU µs per request, ${steadyRate} a second over all` },
      { key: 'streams', name: 'streams per tunnel in fact', onPath: false },
      memory,
    ],
    async visit(limit, ground) {
      ground.progress(`streams: ${limit} a tunnel`);
      await restart(limit, ground);
      const request = await steadyCost(held, ground);
      let rss = Number.NaN;
      const proxies = pair(ground).proxies();
      const load = run(
        (turn) => runTcpload(turn, { mode: 'rate', port: 'http', connections: held }),
        ground,
        ground.seconds + 2,
      );
      await delay((ground.seconds + 1) * 1000);
      const streams = await streamsPerTunnel(ground);
      rss = largestRss(proxies);
      await load;
      return { request, streams, rss };
    },
    leave: (ground) => restart(undefined, ground),
  };
}

/** Of the client's ztunnel, as its metrics say it now. */
async function streamsPerTunnel({ world }: Ground): Promise<number> {
  const text = await metricsText(world.lab.namespace(ztunnels[0] ?? ''));
  const streams = metricOf(text, 'ambit_hbone_streams');
  const sessions = metricOf(text, 'ambit_hbone_sessions');
  if (!(sessions > 0)) throw new Error('no tunnel is open under load');
  return Math.round(streams / sessions);
}

export async function metricsText(namespace: Parameters<typeof inNamespace>[0]): Promise<string> {
  const script = "process.stdout.write(await (await fetch('http://127.0.0.1:15020/metrics')).text())";
  const argv = inNamespace(namespace, [process.execPath, '--input-type=module', '-e', script]);
  const outcome = await runCommand(argv, { outputBytes: 16 << 20, timeoutMs: 60_000 });
  if (!outcome.ok) throw new Error(`metrics cannot be read: ${outcome.reason} ${outcome.stderr}`);
  return outcome.stdout;
}

/** NaN when it is not there. */
export function metricOf(text: string, name: string): number {
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
}

type RunLoad = Load['run'];

/** Of a visit. Whatever else runs on the machine only ever adds to a cost, so the least disturbed turn counts. */
const turns = 3;

/** CPU µs of all proxies per unit. */
async function costOf(load: RunLoad, ground: Ground): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let turn = 0; turn < turns; turn++) {
    const { cpuSeconds, units } = await account(load, ground, ground.seconds);
    least = Math.min(least, (cpuSeconds * 1e6) / units);
  }
  return least;
}

async function steadyCost(connections: number, ground: Ground): Promise<number> {
  const load: RunLoad = (turn) => runTcpload(turn, { mode: 'rate', port: 'http', connections });
  const short = await account(load, ground, 1);
  const long = await account(load, ground, 1 + turns * ground.seconds);
  return ((long.cpuSeconds - short.cpuSeconds) * 1e6) / (long.units - short.units);
}

async function account(load: RunLoad, ground: Ground, seconds: number) {
  const proxies = pair(ground).proxies();
  const cpuOf = () => readUsage(proxies).reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0);
  const before = cpuOf();
  const { units } = await run(load, ground, seconds);
  return { cpuSeconds: cpuOf() - before, units };
}

/** Rejects when anything went wrong on the way: what it cost would mean nothing. */
async function run(load: RunLoad, ground: Ground, seconds: number): Promise<LoadResult> {
  const { world } = ground;
  const sample = () => {};
  const result = await load({ lab: world.lab, system: pair(ground), seconds, ratePerSecond: steadyRate, sample });
  if (result.errors === 0 && result.units > 0) return result;
  throw new Error(`${result.errors} errors, ${result.units} units: ${JSON.stringify(result.causes ?? {})}`);
}

function pair({ world }: Ground): System {
  const found = world.systems.find(({ key }) => key === 'ztunnel-pair');
  if (found === undefined) throw new Error('the world has no ztunnel pair');
  return found;
}

/** Key of the service that is asked. */
function serviceOf(ground: Ground): string {
  return `default/${pair(ground).pod.replace(/-client$/, '-server')}.default.svc.cluster.local`;
}

function largestRss(proxies: readonly Program[]): number {
  return Math.max(...readUsage(proxies).map(({ rssBytes }) => rssBytes)) / 1e6;
}
