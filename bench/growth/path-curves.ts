/** What requests and new connections cost the pair of ztunnels, against what is in the mesh and what is open. */
import { setTimeout as delay } from 'node:timers/promises';
import type { LabProcess } from '../../src/lab/process.ts';
import { buildTcpload } from '../loads/build.ts';
import { ports } from '../model.ts';
import { costOf, newConnections, pairOf, requestsOver, residentMb, runOn } from './cost.ts';
import type { Curve, Figure, Ground } from './curve.ts';
import { metricOf, readMetrics } from './metrics.ts';
import { type Padding, pad, rulesPerPolicy } from './padding.ts';
import { leaveMark, untilAtRest, untilKnown } from './settle.ts';

const clientNode = 'node-a';
const nodes = [clientNode, 'node-b'] as const;

/** Of connections per second: what a ztunnel keeps up with. */
const openingRate = 1000;
/** Longer than it takes to open them and to measure. */
const holdSeconds = 200;

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

function meshCurve(kind: Padding, things: string, points: readonly number[], quickPoints: readonly number[]): Curve {
  const grow = async (count: number, ground: Ground) => {
    const { mesh } = ground.world;
    pad(mesh.folder, kind, count, serviceOf(ground));
    const mark = leaveMark(mesh.folder, nodes, ++marks);
    await Promise.all(nodes.map((node) => untilKnown(mesh.adminSocket(`ztunnel-${node}`), mark)));
    const control = mesh.plan.control.pod;
    await untilAtRest([...pairOf(ground).proxies(), { name: control, pid: mesh.program(control).pid ?? 0 }]);
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
      const request = await costOf(requestsOver(32), ground);
      const connection = await costOf(newConnections, ground);
      return { request, connection, rss: residentMb(ground) };
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
        const request = await costOf(requestsOver(32), ground);
        const connection = await costOf(newConnections, ground);
        return { request, connection, rss: residentMb(ground) };
      } finally {
        await program.stop(20_000);
        await untilAtRest(pairOf(ground).proxies());
      }
    },
    leave: async () => {},
  };
}

/** Opens connections that say nothing. Resolves when all stand; the caller stops the program. */
async function open(count: number, ground: Ground): Promise<LabProcess> {
  const { pod, host } = pairOf(ground);
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
  const load = requestsOver(held);
  const restart = async (more: Readonly<Record<string, string>>, { world }: Ground) => {
    await world.mesh.stop(`ztunnel-${clientNode}`);
    await world.mesh.startZtunnel(clientNode, more);
  };
  return {
    key: 'streams',
    title: `What a request costs against streams per tunnel, ${held} connections in all`,
    xLabel: 'streams per tunnel at most',
    // No ztunnel takes more in one tunnel (`maxStreamsPerSession`).
    points: [10, 20, 50, 100, 200],
    quickPoints: [10, 50, 100],
    figures: [perRequest, { key: 'streams', name: 'streams per tunnel in fact', onPath: false }, memory],
    async visit(limit, ground) {
      ground.progress(`streams: ${limit} a tunnel`);
      await restart({ POOL_MAX_STREAMS_PER_CONNECTION: String(limit) }, ground);
      await runOn(load, ground, 2 * ground.seconds);
      const request = await costOf(load, ground);
      const running = runOn(load, ground, ground.seconds + 2);
      await delay(ground.seconds * 1000);
      const [streams] = await Promise.all([streamsPerTunnel(ground), running]);
      return { request, streams, rss: residentMb(ground) };
    },
    leave: (ground) => restart({}, ground),
  };
}

/** Of the client's ztunnel, as its metrics say it now. */
async function streamsPerTunnel({ world }: Ground): Promise<number> {
  const text = await readMetrics(world.lab.namespace(`ztunnel-${clientNode}`));
  return metricOf(text, 'ambit_hbone_streams') / metricOf(text, 'ambit_hbone_sessions');
}

/** Key of the service that is asked. */
function serviceOf(ground: Ground): string {
  return `default/${pairOf(ground).pod.replace(/-client$/, '-server')}.default.svc.cluster.local`;
}
