/**
 * One node with many pods, as bare as it can be had: a network namespace each, no links, no programs; a node agent; and the
 * real ztunnel in front of a local file. What a pod costs ztunnel is what it holds more than before.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { askSocket } from '../../src/app/lab-admin.ts';
import { programCommand } from '../../src/app/program-command.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { openAuthority } from '../../src/identity/authority.ts';
import { mustRun } from '../../src/lab/command.ts';
import { makePrivateDirectory } from '../../src/lab/private-directory.ts';
import type { ZdsPod } from '../../src/lab/zds-connection.ts';
import { ZdsServer } from '../../src/lab/zds-server.ts';

export interface LoopDelay {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface Footprint {
  readonly residentMiB: number;
  readonly descriptors: number;
}

const pollMs = 20;
const deadlineMs = 60_000;

/** Call inside the lab. `program`: ztunnel's script. Ready when it returns: certificates for all, no pods yet. */
export async function openNode(count: number, program: string): Promise<PodNode> {
  const folder = await makePrivateDirectory();
  const netFolder = path.join(folder, 'net');
  mkdirSync(netFolder);
  const script = `for i in $(seq 0 ${count - 1}); do : > "$0/$i"; unshare --net="$0/$i" true; done`;
  await mustRun(['sh', '-ec', script, netFolder], { timeoutMs: deadlineMs });
  const authority = path.join(folder, 'authority');
  await openAuthority({ folder: authority, create: true, trustDomain: 'cluster.local', clock: systemClock });
  const meshFile = path.join(folder, 'mesh.yaml');
  writeFileSync(meshFile, JSON.stringify({ workloads: Array.from({ length: count }, (_, i) => workload(i)) }));
  const agent = new ZdsServer({ path: path.join(folder, 'agent'), clock: systemClock, logger: silentLogger });
  const adminSocket = path.join(folder, 'admin');
  const [command, ...rest] = programCommand(program);
  const child = spawn(command, [...rest, '--node', 'node'], {
    env: {
      ...process.env,
      NODE_OPTIONS: `--import=${pathToFileURL(path.join(import.meta.dirname, 'loop-delay.mjs')).href}`,
      LOCAL_XDS_PATH: meshFile,
      AMBIT_CA_DIR: authority,
      AMBIT_ADMIN_SOCKET: adminSocket,
      AMBIT_ADMIN_PORT: '0',
      AMBIT_METRICS_PORT: '0',
      AMBIT_READINESS_PORT: '0',
      INPOD_UDS: agent.path,
      RUST_LOG: 'warn',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const node = new PodNode(count, netFolder, agent, adminSocket, child);
  await node.until('it is ready', async () => (await node.ask('/healthz/ready')).startsWith('ready'));
  await node.until('the certificates are there', async () => {
    const certificates = await node.ask('/config_dump?view=certs.txt');
    return !certificates.includes('Initializing') && certificates.includes('Available');
  });
  return node;
}

function workload(i: number): unknown {
  const name = `pod-${i}`;
  return {
    uid: `Kubernetes//Pod/default/${name}`,
    name,
    namespace: 'default',
    workloadIps: [`10.244.${i >> 8}.${i & 255}`],
    serviceAccount: name,
    trustDomain: 'cluster.local',
    protocol: 'HBONE',
    node: 'node',
    services: {},
  };
}

export class PodNode {
  readonly #count: number;
  readonly #netFolder: string;
  #agent: ZdsServer;
  readonly #adminSocket: string;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];

  /** Use `openNode`. */
  constructor(count: number, netFolder: string, agent: ZdsServer, adminSocket: string, child: ChildProcess) {
    this.#count = count;
    this.#netFolder = netFolder;
    this.#agent = agent;
    this.#adminSocket = adminSocket;
    this.#child = child;
    if (child.stdout !== null) createInterface(child.stdout).on('line', (line) => this.#lines.push(line));
  }

  /** One after the other, each acknowledged before the next, as istio-cni does it. Milliseconds of each answer. */
  async addPods(): Promise<readonly number[]> {
    const answersMs: number[] = [];
    for (let i = 0; i < this.#count; i++) {
      const started = performance.now();
      const answer = await this.#agent.addPod(this.#pod(i));
      if (answer?.kind !== 'acked') throw new Error(`pod ${i}: ${JSON.stringify(answer)}`);
      answersMs.push(performance.now() - started);
    }
    return answersMs;
  }

  /** The agent ends, and one that knows the first `left` pods alone takes its place. Resolves when ztunnel has its snapshot. */
  async restartAgent(left: number): Promise<void> {
    const { path: socket } = this.#agent;
    this.#agent.close();
    this.#agent = new ZdsServer({ path: socket, clock: systemClock, logger: silentLogger });
    for (let i = 0; i < left; i++) await this.#agent.addPod(this.#pod(i));
    await this.#agent.snapshotAcknowledged();
  }

  #pod(i: number): ZdsPod {
    const name = `pod-${i}`;
    const netns = path.join(this.#netFolder, String(i));
    return { uid: uidOf(i), name, namespace: 'default', serviceAccount: name, netns };
  }

  async removePods(): Promise<void> {
    for (let i = 0; i < this.#count; i++) await this.#agent.removePod(uidOf(i));
  }

  footprint(): Footprint {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8');
    const residentMiB = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
    return { residentMiB, descriptors: readdirSync(`/proc/${this.#child.pid}/fd`).length };
  }

  /** Processor time so far, seconds. */
  cpuSeconds(): number {
    const fields = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  /** Since the last call, or the start. */
  async loopDelay(): Promise<LoopDelay> {
    const before = this.#lines.length;
    this.#child.kill('SIGUSR2');
    const line = await this.until('it tells', async () =>
      this.#lines.slice(before).find((each) => each.startsWith('loop-delay ')),
    );
    return JSON.parse(line.slice('loop-delay '.length)) as LoopDelay;
  }

  async ask(target: string): Promise<string> {
    try {
      return (await askSocket(this.#adminSocket, target)).body;
    } catch {
      return ''; // Not there yet: whoever waits for it asks again.
    }
  }

  /** Polls until it is so. Throws with what was awaited and the program's last lines. */
  async until<T>(what: string, condition: () => Promise<T | undefined | false>): Promise<T> {
    const deadline = Date.now() + deadlineMs;
    for (;;) {
      const found = await condition();
      if (found !== undefined && found !== false) return found;
      if (Date.now() > deadline || this.#child.exitCode !== null) {
        throw new Error(`in vain: ${what}\n${this.#lines.slice(-10).join('\n')}`);
      }
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.kill('SIGTERM');
    await ended;
    this.#agent.close();
  }
}

function uidOf(i: number): string {
  return `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`;
}
