/**
 * A compiled waypoint over a folder of many routes: what reading and compiling costs, in this process by the CPU of its thread;
 * and in the program, from outside, how soon a changed route answers while connections hammer it, and what it holds.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import process from 'node:process';
import type { Duplex } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { programCommand } from '../../src/app/program-command.ts';
import { parseSocketAddress } from '../../src/base/address.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { unscrapedMetrics } from '../../src/base/metrics.ts';
import { systemRandom } from '../../src/base/random.ts';
import { formatSpiffeId, type SpiffeId } from '../../src/base/spiffe.ts';
import { Compiler } from '../../src/compile/compile.ts';
import { defaultCompileOptions } from '../../src/compile/options.ts';
import { modernPreset } from '../../src/config/preset.ts';
import { createRelay } from '../../src/hbone/relay.ts';
import { openAuthority } from '../../src/identity/authority.ts';
import { createOwnAuthorityClient } from '../../src/identity/own-authority.ts';
import { SecretManager } from '../../src/identity/secret-manager.ts';
import { plainSocket } from '../../src/net/socket-spec.ts';
import { FolderFiles } from '../../src/xds/folder-files.ts';
import { folderSteps } from '../../src/xds/folder-model.ts';
import { compiledPrograms } from '../programs.ts';
import { askedPath, askedVip, changeRoute, gateway, type RouteFolder, writeFolder } from './folder.ts';
import { type Hammer, hammer } from './hammer.ts';

export interface RouteFigures {
  /** Of this thread's CPU: reading the folder into objects, the first compilation, one after a change and its longest slice. */
  readonly readCpuMs: number;
  readonly compileCpuMs: number;
  readonly changeCpuMs: number;
  readonly longestSliceCpuMs: number;
  /** From the write of the file until a request got the new answer. */
  readonly changeMs: readonly number[];
  readonly requests: number;
  readonly failed: readonly string[];
  /** When it was ready, and when it was at rest again after the load. */
  readonly readyMb: number;
  readonly settledMb: number;
  /** The most, until it was ready, and under the load. */
  readonly startPeakMb: number;
  readonly peakMb: number;
}

const changes = 40;
const connections = 32;

export async function measureRoutes(
  size: { readonly services: number; readonly routes: number },
  folder: string,
  progress: (text: string) => void,
): Promise<RouteFigures> {
  const application = createServer((_request, response) => response.end('ok'));
  application.listen(0, '127.0.0.2');
  await once(application, 'listening');
  const { port } = application.address() as { port: number };
  const mesh: RouteFolder = {
    directory: path.join(folder, 'mesh'),
    services: size.services,
    routesPerService: Math.ceil(size.routes / size.services),
    application: { ip: '127.0.0.2', port },
  };
  writeFolder(mesh);
  progress('the folder is read and compiled here');
  const compiling = await measureCompiling(mesh);
  progress('a waypoint starts over it');
  const program = await startWaypoint(folder, mesh);
  try {
    const { tunnels, close } = await openTunnels(folder, program.address);
    const readyMb = memoryOf(program.pid, 'VmRSS');
    const startPeakMb = memoryOf(program.pid, 'VmHWM');
    // The kernel begins to look for the largest anew (proc(5), clear_refs).
    writeFileSync(`/proc/${program.pid}/clear_refs`, '5');
    const load = hammer(tunnels, askedPath);
    try {
      await load.until('first');
      progress(`${connections} connections ask, ${changes} times a route changes`);
      const changeMs = await measureChanges(mesh, load);
      const { requests, failed } = { requests: load.answered, failed: [...load.failed] };
      const peakMb = memoryOf(program.pid, 'VmHWM');
      load.stop();
      // The beat that gives memory back is of five seconds.
      await pause(25_000);
      return {
        ...compiling,
        changeMs,
        requests,
        failed,
        readyMb,
        startPeakMb,
        settledMb: memoryOf(program.pid, 'VmRSS'),
        peakMb,
      };
    } finally {
      load.stop();
      await close();
    }
  } finally {
    program.end();
    application.close().closeAllConnections();
  }
}

async function measureCompiling(
  mesh: RouteFolder,
): Promise<Pick<RouteFigures, 'readCpuMs' | 'compileCpuMs' | 'changeCpuMs' | 'longestSliceCpuMs'>> {
  const files = new FolderFiles(mesh.directory, systemClock);
  const compiler = new Compiler({ ...defaultCompileOptions, preset: modernPreset });
  let beforeMs = cpuMs();
  let scan = await files.scan();
  const readCpuMs = cpuMs() - beforeMs;
  const { totalMs: compileCpuMs } = stepped(folderSteps(scan, compiler));
  const totals: number[] = [];
  const longest: number[] = [];
  for (let i = 0; i < 20; i++) {
    const changed = new Set([changeRoute(mesh, `warm-${i}`, 'write')]);
    beforeMs = cpuMs();
    scan = await files.scan({ changed });
    const readMs = cpuMs() - beforeMs;
    const { totalMs, longestMs } = stepped(folderSteps(scan, compiler));
    totals.push(readMs + totalMs);
    longest.push(longestMs);
  }
  changeRoute(mesh, 'first', 'write');
  return { readCpuMs, compileCpuMs, changeCpuMs: median(totals), longestSliceCpuMs: median(longest) };
}

/** Of one step at a time, as the data thread takes them at most. */
function stepped(steps: Iterator<unknown>): { readonly totalMs: number; readonly longestMs: number } {
  let totalMs = 0;
  let longestMs = 0;
  for (let done = false; !done; ) {
    const beforeMs = cpuMs();
    done = steps.next().done === true;
    const tookMs = cpuMs() - beforeMs;
    totalMs += tookMs;
    longestMs = Math.max(longestMs, tookMs);
  }
  return { totalMs, longestMs };
}

async function measureChanges(mesh: RouteFolder, load: Hammer): Promise<readonly number[]> {
  const times: number[] = [];
  for (let i = 0; i < changes; i++) {
    await pause(150);
    const version = `version-${i}`;
    const seen = load.until(version);
    const startedMs = performance.now();
    changeRoute(mesh, version, i % 2 === 0 ? 'rename' : 'write');
    await seen;
    times.push(performance.now() - startedMs);
  }
  return times;
}

async function startWaypoint(folder: string, mesh: RouteFolder) {
  const ca = path.join(folder, 'ca');
  await openAuthority({ folder: ca, create: true, trustDomain: 'cluster.local', clock: systemClock });
  const [command, ...argv] = programCommand(path.join(compiledPrograms, 'waypoint.js'));
  const child = spawn(command, argv, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      AMBIT_CONFIG: mesh.directory,
      AMBIT_GATEWAY: gateway,
      AMBIT_CA_DIR: ca,
      AMBIT_LISTEN_IP: '127.0.0.1',
      AMBIT_WAYPOINT_PORTS: '0',
      AMBIT_ADMIN_SOCKET: path.join(folder, 'admin.sock'),
      AMBIT_METRICS_PORT: '0',
      AMBIT_READINESS_PORT: '0',
      RUST_LOG: 'warn,waypoint=info',
    },
  });
  let log = '';
  const address = await new Promise<{ readonly ip: string; readonly port: number }>((resolve, reject) => {
    const look = (chunk: Buffer) => {
      if (log.length < 1e6) log += String(chunk);
      const found = parseSocketAddress(/accepting tunnels.*?address="?([0-9.:]+)/.exec(log)?.[1] ?? '');
      if (found !== undefined) resolve(found);
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.once('exit', () => reject(new Error(`the waypoint ended:\n${log}`)));
  });
  child.removeAllListeners('exit');
  return { pid: child.pid ?? 0, address, end: () => child.kill('SIGKILL') };
}

async function openTunnels(folder: string, peer: { readonly ip: string; readonly port: number }) {
  const clock = systemClock;
  const authority = await openAuthority({
    folder: path.join(folder, 'ca'),
    create: false,
    trustDomain: 'cluster.local',
    clock,
  });
  const dependencies = { clock, random: systemRandom, logger: silentLogger, metrics: unscrapedMetrics };
  const secrets = new SecretManager({ ...dependencies, ca: createOwnAuthorityClient(authority, silentLogger) });
  const relay = createRelay({ secrets, logger: silentLogger, clock });
  const sourceIdentity = identityOf('client');
  await secrets.acquire(sourceIdentity);
  const target = {
    peer,
    sourceIdentity,
    expectedIdentities: [identityOf('waypoint')],
    socket: plainSocket,
  } as const;
  const tunnels: Duplex[] = [];
  for (let i = 0; i < connections; i++) {
    const outcome = await relay.open({ target, authority: `${askedVip}:80`, headers: [] });
    if (outcome.kind !== 'open') throw new Error(`no tunnel: ${outcome.kind}`);
    tunnels.push(outcome.stream);
  }
  const close = async () => {
    await relay.close();
    secrets.close();
  };
  return { tunnels, close };
}

function identityOf(serviceAccount: string): SpiffeId {
  return formatSpiffeId({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount });
}

function memoryOf(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const found = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return (Number(found?.[1]) * 1024) / 1e6;
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}
