/** One ztunnel that starts with a large mesh, measured from outside: by the kernel's accounting and by its own metrics. */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { programCommand } from '../../src/app/program-command.ts';
import { systemClock } from '../../src/base/clock.ts';
import { openAuthority } from '../../src/identity/authority.ts';
import { untilAtRest, untilReady } from '../growth/settle.ts';
import type { Usage } from '../model.ts';
import { compiledPrograms } from '../programs.ts';
import { readUsage } from '../usage.ts';
import { type MeshSize, ownPod } from './mesh.ts';
import type { ServerOrder, ServerReport, ServerSetup } from './server.ts';

export interface ScaleFigures {
  /** From the start of the program until it has asked for its mesh. */
  readonly startSeconds: number;
  /** From then, that is from the control plane's answer, until it is ready. */
  readonly firstStateSeconds: number;
  /** For that alone. */
  readonly cpuSeconds: number;
  readonly settledMb: number;
  readonly peakMb: number;
  readonly delayP99Ms: number;
  readonly delayMaxMs: number;
  /** From the push until the client's answer has arrived. */
  readonly changeMs: number;
  readonly changeCpuMs: number;
}

const warmUpPushes = 50;
const pushes = 200;

export async function measureScale(size: MeshSize, progress: (text: string) => void): Promise<ScaleFigures> {
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-scale-'));
  const children: ChildProcess[] = [];
  try {
    const tls = await serverCertificate(folder);
    progress('a control plane makes its mesh');
    const server = fork(path.join(import.meta.dirname, 'server.ts'), {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    children.push(server);
    const reports = new Reports(server);
    server.send({ size, ...tls } satisfies ServerSetup);
    const { port, bytes } = await reports.next('listening');
    progress(`a ztunnel starts; ${(bytes / 1e6).toFixed(1)} MB of addresses are served`);
    const startedMs = performance.now();
    const socket = path.join(folder, 'admin');
    const metricsPort = await freePort();
    const ztunnel = startZtunnel(folder, { socket, metricsPort, xdsPort: port, rootsFile: tls.rootsFile });
    children.push(ztunnel);
    const programs = [{ name: 'ztunnel', pid: ztunnel.pid ?? 0 }];
    const usage = (): Usage => {
      const [own] = readUsage(programs);
      if (own === undefined) throw new Error('the ztunnel is gone');
      return own;
    };
    const readMetrics = async () => await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
    await reports.next('asked');
    const askedMs = performance.now();
    // What its start took is not what a mesh takes: the delays begin anew with every reading.
    await readMetrics();
    await untilAtRest(programs);
    const before = usage();
    const answeredMs = performance.now();
    server.send({ kind: 'answer' } satisfies ServerOrder);
    const readyMs = await untilReady(socket);
    const cpuSeconds = usage().cpuSeconds - before.cpuSeconds;
    const metrics = await readMetrics();
    await untilAtRest(programs);
    progress('it is at rest');
    // Whoever is quiet gives memory back some seconds later.
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    const settled = usage();
    const change = await measureChanges(server, reports, usage);
    return {
      startSeconds: (askedMs - startedMs) / 1000,
      firstStateSeconds: (readyMs - answeredMs) / 1000,
      cpuSeconds,
      settledMb: settled.rssBytes / 1e6,
      peakMb: settled.peakRssBytes / 1e6,
      delayP99Ms: delayOf(metrics, '0.99'),
      delayMaxMs: delayOf(metrics, '1'),
      ...change,
    };
  } finally {
    for (const child of children) {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measureChanges(
  server: ChildProcess,
  reports: Reports,
  usage: () => Usage,
): Promise<{ readonly changeMs: number; readonly changeCpuMs: number }> {
  const times: number[] = [];
  reports.drop();
  let cpuSeconds = 0;
  for (let i = 0; i < warmUpPushes + pushes; i++) {
    if (i === warmUpPushes) ({ cpuSeconds } = usage());
    const atMs = performance.now();
    server.send({ kind: 'push', workload: 1 + i * 397 } satisfies ServerOrder);
    await reports.next('acknowledged');
    if (i >= warmUpPushes) times.push(performance.now() - atMs);
  }
  const changeCpuMs = ((usage().cpuSeconds - cpuSeconds) * 1000) / pushes;
  return { changeMs: times.sort((a, b) => a - b)[times.length >> 1] ?? Number.NaN, changeCpuMs };
}

/** What the server says, in order. */
class Reports {
  readonly #waiting: ServerReport[] = [];
  readonly #server: ChildProcess;

  constructor(server: ChildProcess) {
    this.#server = server;
    server.on('message', (report: ServerReport) => this.#waiting.push(report));
  }

  drop(): void {
    this.#waiting.length = 0;
  }

  /** The next of a kind; those of other kinds before it are passed over. Rejects at a refusal. */
  async next<K extends ServerReport['kind']>(kind: K): Promise<Extract<ServerReport, { kind: K }>> {
    for (;;) {
      const report = this.#waiting.shift();
      if (report === undefined) await once(this.#server, 'message', { signal: AbortSignal.timeout(120_000) });
      else if (report.kind === kind) return report as Extract<ServerReport, { kind: K }>;
      else if (report.kind === 'refused') throw new Error(`refused ${report.typeUrl}: ${report.reason}`);
    }
  }
}

interface ZtunnelPlace {
  readonly socket: string;
  readonly metricsPort: number;
  readonly xdsPort: number;
  readonly rootsFile: string;
}

function startZtunnel(folder: string, { socket, metricsPort, xdsPort, rootsFile }: ZtunnelPlace): ChildProcess {
  const [command, ...argv] = programCommand(path.join(compiledPrograms, 'ztunnel.js'));
  const ports = ['OUTBOUND', 'INBOUND', 'PLAINTEXT', 'ADMIN', 'READINESS'];
  return spawn(command, [...argv, 'proxy', 'ztunnel'], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      PATH: process.env.PATH,
      ...Object.fromEntries(ports.map((name) => [`AMBIT_${name}_PORT`, '0'])),
      AMBIT_METRICS_PORT: String(metricsPort),
      AMBIT_ADMIN_SOCKET: socket,
      AMBIT_CA_DIR: path.join(folder, 'ca'),
      AMBIT_LISTEN_IP: '127.0.0.1',
      ENABLE_ORIG_SRC: 'false',
      IPV6_ENABLED: 'false',
      ISTIO_META_DNS_CAPTURE: 'false',
      PROXY_MODE: 'dedicated',
      PROXY_WORKLOAD_INFO: ownPod,
      RUST_LOG: 'warn',
      XDS_ADDRESS: `https://localhost:${xdsPort}`,
      XDS_ROOT_CA: rootsFile,
    },
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return address === null || typeof address === 'string' ? 0 : address.port;
}

async function serverCertificate(folder: string) {
  const home = path.join(folder, 'control-plane');
  mkdirSync(home, { mode: 0o700 });
  const authority = await openAuthority({
    folder: home,
    create: true,
    trustDomain: 'cluster.local',
    clock: systemClock,
  });
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { chainPem } = await authority.issue({
    publicKey: createPublicKey(privateKey).export({ type: 'spki', format: 'der' }),
    names: [{ type: 'dns', value: 'localhost' }],
    lifeMs: 86_400_000,
  });
  const rootsFile = path.join(folder, 'roots.pem');
  writeFileSync(rootsFile, authority.rootsPem);
  const keyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { keyPem, certPem: chainPem.join('\n'), rootsFile };
}

function delayOf(metrics: string, quantile: string): number {
  const line = new RegExp(`^ambit_event_loop_delay_seconds\\{quantile="${quantile}"\\} (\\S+)$`, 'm').exec(metrics);
  return Number(line?.[1] ?? Number.NaN) * 1000;
}
