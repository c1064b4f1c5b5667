/**
 * Programs that others wrote, run by tests: found on PATH or named with the line that installs them, started as our
 * own child, ended by their process id with the test at the latest.
 *
 * I1: the kernel kills a child whose test process died; nothing outlives a run.
 * I2: only a bounded tail of a program's output is kept.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import type { Test } from 'tap';
import { within } from './eventually.ts';

const keptOutput = 256 * 1024;

/** Program → Debian package that has it. */
const packages = {
  curl: 'curl',
  nginx: 'nginx-light',
  h2load: 'nghttp2-client',
  iperf3: 'iperf3',
  wrk: 'wrk',
  python3: 'python3-venv',
} as const;

export type ProgramName = keyof typeof packages;

/** False when all are installed; else the reason for a skip, with the line that mends it. */
export function missing(...names: readonly ProgramName[]): string | false {
  const absent = names.filter((name) => findProgram(name) === undefined);
  if (absent.length === 0) return false;
  const wanted = [...new Set(absent.map((name) => packages[name]))];
  return `needs ${absent.join(', ')}; as root run: apt-get install -y ${wanted.join(' ')}`;
}

/** Full path of an executable; looks in sbin as well, which an ordinary user's PATH may lack. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(path.delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return folders.map((folder) => path.join(folder, name)).find(isExecutable);
}

export function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export interface RunningProgram {
  readonly pid: number;
  /** Tail of what it wrote to either output so far. */
  log(): string;
  hasExited(): boolean;
  /** Settles with the exit code, or -1 when a signal ended it. */
  readonly exited: Promise<number>;
  signal(signal: NodeJS.Signals): void;
  /** SIGTERM, then SIGKILL after five seconds. Settles when it has gone. */
  stop(): Promise<void>;
}

/** Starts a program that runs until it is stopped; the test's end stops it. */
export function startProgram(
  t: Test,
  argv: readonly [string, ...string[]],
  env: Readonly<Record<string, string>> = {},
): RunningProgram {
  const output = new Tail();
  const child = spawnTied(argv, env);
  child.stdout?.on('data', (chunk: Buffer) => output.add(chunk));
  child.stderr?.on('data', (chunk: Buffer) => output.add(chunk));
  const exited = exitOf(child, output);
  const stop = async () => {
    child.kill('SIGTERM');
    const kill = setTimeout(() => child.kill('SIGKILL'), 5000);
    await exited;
    clearTimeout(kill);
  };
  t.teardown(stop);
  return {
    pid: child.pid ?? -1,
    log: () => output.text(),
    hasExited: () => child.exitCode !== null || child.signalCode !== null || child.pid === undefined,
    exited,
    signal: (signal) => void child.kill(signal),
    stop,
  };
}

export interface Finished {
  /** -1 when a signal ended it. */
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Runs a program to its end, at most `timeoutMs` long. Its standard output is kept whole. */
export async function runProgram(argv: readonly [string, ...string[]], timeoutMs = 30_000): Promise<Finished> {
  const stderr = new Tail();
  const chunks: Buffer[] = [];
  const child = spawnTied(argv, {});
  child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => stderr.add(chunk));
  try {
    const code = await within(`${argv.join(' ')} to end`, exitOf(child, stderr), timeoutMs);
    return { code, stdout: Buffer.concat(chunks), stderr: stderr.text() };
  } finally {
    child.kill('SIGKILL');
  }
}

function spawnTied(argv: readonly [string, ...string[]], env: Readonly<Record<string, string>>): ChildProcess {
  const setpriv = findProgram('setpriv');
  // exec keeps the process id, so the child's id is the program's.
  const [command, ...rest] = setpriv === undefined ? argv : [setpriv, '--pdeathsig', 'KILL', ...argv];
  return spawn(command, rest, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
}

function exitOf(child: ChildProcess, output: Tail): Promise<number> {
  return new Promise((resolve) => {
    child.once('error', (error) => {
      output.add(Buffer.from(`${error.message}\n`));
      resolve(-1);
    });
    child.once('close', (code) => resolve(code ?? -1));
  });
}

class Tail {
  readonly #chunks: Buffer[] = [];
  #size = 0;

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    while (this.#chunks.length > 1 && this.#size > keptOutput) this.#size -= this.#chunks.shift()?.length ?? 0;
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }
}
