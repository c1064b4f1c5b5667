/**
 * A ztunnel by itself that starts with a mesh of some size, and is then told of one more workload: time until it is
 * ready, memory, delay of its event loop, and how long a change takes to be in force.
 */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { programCommand } from '../../src/app/program-command.ts';
import type { LabProcess } from '../../src/lab/process.ts';
import { readUsage } from '../usage.ts';
import type { Curve, Ground } from './curve.ts';
import { metricOf, readMetrics } from './metrics.ts';
import { pad } from './padding.ts';
import { leaveMark, untilAtRest, untilKnown, untilReady } from './settle.ts';

const node = 'node-alone';
const script = path.resolve(import.meta.dirname, `../../bin/ztunnel${path.extname(import.meta.filename)}`);
let starts = 0;

export const startCurve: Curve = {
  key: 'start',
  title: 'A ztunnel that starts, against workloads in the mesh',
  xLabel: 'workloads',
  points: [100, 1000, 10_000, 100_000],
  quickPoints: [100, 1000, 10_000],
  figures: [
    { key: 'readyMs', name: 'from start to ready, ms', onPath: false },
    { key: 'cpuMs', name: 'CPU until then, ms', onPath: false },
    { key: 'settledMb', name: 'settled RSS, MB', onPath: false },
    { key: 'peakMb', name: 'peak RSS, MB', onPath: false },
    { key: 'delayP99Ms', name: 'event-loop delay, p99, ms', onPath: false },
    { key: 'delayMaxMs', name: 'event-loop delay, longest, ms', onPath: false },
    { key: 'changeMs', name: 'one workload more until in force, ms', onPath: false },
    { key: 'changeCpuMs', name: 'CPU for that, ms', onPath: false },
  ],
  async visit(x, ground) {
    ground.progress(`start: ${x} workloads`);
    const place = makePlace(ground);
    pad(place.folder, 'workloads', x, '');
    leaveMark(place.folder, [node], 0);
    const startedMs = performance.now();
    const program = start(ground, place);
    try {
      const proxies = [{ name: 'ztunnel-alone', pid: program.pid ?? 0 }];
      const usage = () => readUsage(proxies)[0] ?? { cpuSeconds: 0, rssBytes: 0, peakRssBytes: 0 };
      const readyMs = (await untilReady(place.socket)) - startedMs;
      const cpuMs = usage().cpuSeconds * 1000;
      const metrics = await readMetrics(program.namespace);
      const secondsOf = (name: string) => metricOf(metrics, `nodejs_eventloop_lag_${name}_seconds`);
      await untilAtRest(proxies);
      const settled = usage();
      const changedMs = performance.now();
      const mark = leaveMark(place.folder, [node], 1);
      const changeMs = (await untilKnown(place.socket, mark)) - changedMs;
      const changeCpuMs = (usage().cpuSeconds - settled.cpuSeconds) * 1000;
      return {
        readyMs,
        cpuMs,
        settledMb: settled.rssBytes / 1e6,
        peakMb: usage().peakRssBytes / 1e6,
        delayP99Ms: secondsOf('p99') * 1000,
        delayMaxMs: secondsOf('max') * 1000,
        changeMs,
        changeCpuMs,
      };
    } finally {
      await program.stop(20_000);
    }
  },
  leave: async () => {},
};

interface AlonePlace {
  readonly folder: string;
  readonly state: string;
  readonly socket: string;
}

/** A folder of its own for every start: nothing is left of the one before. */
function makePlace({ world }: Ground): AlonePlace {
  const home = path.join(world.lab.directory, `alone-${++starts}`);
  const place = {
    folder: path.join(home, 'config'),
    state: path.join(home, 'state'),
    socket: path.join(home, 'admin'),
  };
  for (const folder of [home, place.folder, place.state]) mkdirSync(folder, { mode: 0o700 });
  return place;
}

/** In a pod that no other proxy listens in. */
function start({ world }: Ground, { folder, state, socket }: AlonePlace): LabProcess {
  const bare = world.systems.find(({ key }) => key === 'none');
  if (bare === undefined) throw new Error('the world has no pod without a proxy');
  return world.lab.spawn(bare.pod, {
    name: `ztunnel-alone-${starts}`,
    argv: [...programCommand(script), '--config', folder, '--preset', 'legacy', '--node', node],
    env: { AMBIT_CA_DIR: state, AMBIT_ADMIN_SOCKET: socket },
  });
}
