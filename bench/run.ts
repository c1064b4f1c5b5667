/**
 * `npm run bench`: what the mesh costs on this machine, against no proxy in the same lab, in turns, same load. Figures of
 * one run compare with each other only. `--seconds N` per measurement (3), `--repeats N` (3), `--json`.
 */
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { startLabMesh } from '../src/app/lab-mesh.ts';
import { errorText } from '../src/base/errors.ts';
import { silentLogger } from '../src/base/logger.ts';
import { legacyPreset } from '../src/config/preset.ts';
import { enterLab } from '../src/lab/enter.ts';
import { type Load, runLoad } from './load.ts';
import { originPort, startOrigin } from './origin.ts';
import { type Measurement, printTable } from './table.ts';
import { usageOf } from './usage.ts';

interface System {
  readonly name: string;
  readonly client: string;
  readonly vip: string;
  /** Programs whose work counts. */
  readonly proxies: readonly string[];
}

const ztunnels = ['ztunnel-node-a', 'ztunnel-node-b'];
const systems: readonly System[] = [
  { name: 'no proxy', client: 'bare-client', vip: '10.96.0.4', proxies: [] },
  { name: 'ztunnel pair', client: 'client', vip: '10.96.0.5', proxies: ztunnels },
  { name: 'ztunnels and waypoint', client: 'client', vip: '10.96.0.6', proxies: [...ztunnels, 'l7-waypoint'] },
];

const loads: readonly (readonly [name: string, load: Omit<Load, 'seconds'>])[] = [
  ['32 connections, kept alive', { connections: 32, keepAlive: true }],
  ['1 connection, kept alive', { connections: 1, keepAlive: true }],
  ['8 at a time, a new connection each', { connections: 8, keepAlive: false }],
];

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '3' },
      repeats: { type: 'string', default: '3' },
      json: { type: 'boolean', default: false },
    },
  });
  const [seconds, repeats] = [Number(values.seconds), Number(values.repeats)];
  if (!(seconds >= 1 && seconds <= 60 && repeats >= 1 && repeats <= 20)) {
    process.stderr.write('bench: --seconds is from 1 to 60, --repeats from 1 to 20\n');
    return 2;
  }
  const entry = await enterLab();
  if (entry.kind === 'unavailable') {
    process.stderr.write(`bench: no network namespaces here: ${entry.cause}\n       ${entry.remedy}\n`);
    return 1;
  }
  const measurements = await measureAll(seconds, repeats);
  if (values.json) process.stdout.write(`${JSON.stringify(measurements, undefined, 2)}\n`);
  else printTable(measurements, process.stdout);
  return measurements.some((measurement) => measurement.errors > 0) ? 1 : 0;
}

async function measureAll(seconds: number, repeats: number): Promise<readonly Measurement[]> {
  const mesh = await startLabMesh({
    preset: legacyPreset,
    folder: path.join(import.meta.dirname, 'mesh'),
    logger: silentLogger,
    environment: { '*': { RUST_LOG: 'info,access=off' } },
  });
  for (const pod of ['plain', 'l4', 'l7']) await startOrigin(mesh.lab, pod);
  const measurements: Measurement[] = [];
  for (const [loadName, load] of loads) {
    for (let repeat = 0; repeat <= repeats; repeat++) {
      for (const system of systems) {
        process.stderr.write(`… ${loadName}: ${system.name}${repeat === 0 ? ' (warm-up)' : ''}\n`);
        const usage = () => system.proxies.map((name) => usageOf(mesh.program(name).pid ?? 0));
        const before = usage();
        const url = `http://${system.vip}:${originPort}/`;
        const result = await runLoad(mesh.lab, system.client, url, { ...load, seconds });
        const after = usage();
        if (repeat === 0) continue;
        const cpuSeconds = after.reduce((sum, each, i) => sum + each.cpuSeconds - (before[i]?.cpuSeconds ?? 0), 0);
        const rssBytes = Math.max(0, ...after.map((each) => each.rssBytes));
        measurements.push({ load: loadName, system: system.name, ...result, cpuSeconds, rssBytes });
      }
    }
  }
  await mesh.close();
  return measurements;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`bench: ${errorText(error)}\n`);
  process.exitCode = 1;
}
