/**
 * One soak: a mesh of two nodes in the lab, real programs, load over every kind of path, and change under it. To be called
 * inside the lab.
 */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as secure } from 'node:tls';
import { type LabMesh, startLabMesh } from '../../src/app/lab-mesh.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { modernPreset } from '../../src/config/preset.ts';
import { connectFrom } from '../../src/lab/sockets.ts';
import { eventually, within } from '../support/eventually.ts';
import { builtPrograms } from '../support/program-files.ts';
import { Churn, Echo } from './churn.ts';
import { clientPod, outsider, port, type SoakPod, servers, vips, writeMesh, writePolicies } from './mesh.ts';
import type { ProxyRecord, Sample, SoakRecord } from './report.ts';
import { type LaneSpec, Traffic } from './traffic.ts';

export interface SoakOptions {
  readonly seconds: number;
  /** Of the caller's; the mesh's files are written there. */
  readonly directory: string;
  readonly onProgress: (text: string) => void;
}

const environment = {
  '*': {
    SECRET_TTL: '20s',
    POOL_UNUSED_RELEASE_TIMEOUT: '3s',
    // Of connections only those that failed: none is meant to.
    RUST_LOG: 'warn,access=error',
  },
};
const progressEverySeconds = 10;
const certificateEverySeconds = 5;

export async function runSoak({ seconds, directory, onProgress }: SoakOptions): Promise<SoakRecord> {
  const folder = path.join(directory, 'mesh');
  mkdirSync(folder, { recursive: true });
  writeMesh(folder);
  writePolicies(folder, 0);
  const mesh = await startLabMesh({
    ...builtPrograms,
    preset: modernPreset,
    folder,
    logger: silentLogger,
    environment,
    onProgress,
  });
  try {
    return await soak(mesh, seconds, onProgress);
  } finally {
    await mesh.close();
  }
}

async function soak(mesh: LabMesh, seconds: number, onProgress: (text: string) => void): Promise<SoakRecord> {
  const echoes = await Promise.all(servers.map((pod) => new Echo().start(mesh, pod)));
  // Everything once, so that what is made on first use is there before anything is compared.
  const warming = new Traffic(lanes(mesh));
  await eventually(
    'every path works',
    () => [...warming.results.values()].every(({ exchanges }) => exchanges > 0),
    20_000,
  );
  await warming.stop();
  await quiet(mesh);
  const before = samples(mesh);
  const during = new Map<string, Sample[]>([...before.keys()].map((name) => [name, []]));
  const serials = new Set<string>();
  const problems: string[] = [];
  const traffic = new Traffic(lanes(mesh));
  const churn = new Churn(mesh);
  const startedMs = performance.now();
  for (let second = 1; second <= seconds; second++) {
    await delay(Math.max(0, startedMs + second * 1000 - performance.now()));
    for (const [name, sample] of samples(mesh)) during.get(name)?.push(sample);
    if (second % certificateEverySeconds === 0) serials.add(await shownSerial(mesh, servers[0] as SoakPod));
    if (second % progressEverySeconds !== 0) continue;
    onProgress(
      `${second} s: ${traffic.exchanges} exchanges, ${traffic.failures} failures, ${churn.pods} pods, ${churn.policies} policies`,
    );
  }
  await churn.stop();
  await traffic.stop();
  await quiet(mesh).catch((error: unknown) => problems.push(String(error)));
  await givenBack(mesh, before);
  const after = samples(mesh);
  const proxies = await Promise.all(
    [...before].map(async ([name, sample]): Promise<ProxyRecord> => {
      const connections = await liveConnections(mesh, name);
      return { name, before: sample, during: during.get(name) ?? [], after: after.get(name) ?? sample, connections };
    }),
  );
  for (const name of mesh.proxies) {
    if (!mesh.program(name).running) problems.push(`${name} has ended`);
    const errors = mesh.program(name).lines.filter((line) => line.includes('"level":"error"'));
    if (errors.length > 0) problems.push(`${name} logged ${errors.length} errors: ${errors.slice(0, 5).join('\n')}`);
  }
  for (const echo of echoes) echo.close();
  return {
    seconds,
    lanes: [...traffic.results].map(([name, { exchanges, failures }]) => ({ name, exchanges, failures })),
    pods: churn.pods,
    policies: churn.policies,
    certificates: serials.size,
    proxies,
    problems: [...problems, ...churn.problems],
  };
}

function lanes(mesh: LabMesh): readonly LaneSpec[] {
  const to = (pod: SoakPod, host: string) => () =>
    connectFrom(mesh.lab.namespace(pod.name), { host, port, deadlineMs: 10_000 });
  const short = { bytes: 300, pauseMs: 20 };
  const [server] = servers as readonly [SoakPod];
  return [
    { name: 'tunnel', connect: to(clientPod, vips.server), count: 4, ...short },
    { name: 'in process', connect: to(clientPod, vips.local), count: 2, ...short },
    { name: 'plaintext', connect: to(outsider, server.ip), count: 2, ...short },
    { name: 'changing pods', connect: to(clientPod, vips.churn), count: 4, ...short },
    { name: 'kept', connect: to(clientPod, vips.server), count: 16, bytes: 300, pauseMs: 300, kept: true },
    { name: 'much', connect: to(clientPod, vips.server), count: 1, bytes: 2 << 20, pauseMs: 200 },
  ];
}

function samples(mesh: LabMesh): ReadonlyMap<string, Sample> {
  return new Map(
    mesh.proxies.map((name) => {
      const { pid } = mesh.program(name);
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      const kilobytes = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
      return [name, { residentMiB: kilobytes / 1024, descriptors: readdirSync(`/proc/${pid}/fd`).length }];
    }),
  );
}

/** The certificate somebody without any is shown by a pod. */
async function shownSerial(mesh: LabMesh, { ip }: SoakPod): Promise<string> {
  const socket = await connectFrom(mesh.lab.namespace(outsider.name), { host: ip, port: 15008 });
  const tls = secure({ socket, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  tls.on('error', () => {});
  try {
    await within('a handshake', new Promise((resolve) => tls.once('secureConnect', resolve)));
    return tls.getPeerX509Certificate()?.serialNumber ?? 'none';
  } finally {
    tls.destroy();
    socket.destroy();
  }
}

async function quiet(mesh: LabMesh): Promise<void> {
  const none = async () => {
    for (const name of mesh.proxies) if ((await liveConnections(mesh, name)) > 0) return false;
    return true;
  };
  await eventually('no connection is left', none, 15_000);
}

/** Until sessions that nobody uses are closed, or the wait is over: the report says what was left. */
async function givenBack(mesh: LabMesh, before: ReadonlyMap<string, Sample>): Promise<void> {
  const all = () =>
    [...samples(mesh)].every(([name, { descriptors }]) => descriptors <= (before.get(name)?.descriptors ?? 0));
  await eventually('descriptors are given back', all, 20_000).catch(() => {});
}

interface Dump {
  readonly workloadState?: Readonly<
    Record<string, { readonly connections: { inbound: unknown[]; outbound: unknown[] } }>
  >;
}

async function liveConnections(mesh: LabMesh, name: string): Promise<number> {
  const { body } = await mesh.ask(name, '/config_dump');
  const { workloadState = {} } = JSON.parse(body) as Dump;
  return Object.values(workloadState).reduce(
    (sum, { connections }) => sum + connections.inbound.length + connections.outbound.length,
    0,
  );
}
