/**
 * Runs jobs, so many at a time, each a process of its own under Node's type stripping whose TAP is read when it has ended.
 *
 * I1: a process that ends by a signal or a code of its own, too late, or before its tests have, is a failure.
 * I2: the kernel ends every test process with us.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import type { Job } from './jobs.ts';
import { type JobEnd, judge, type Verdict } from './verdict.ts';

/** A file's limit, unless it sets one; the process gets a minute more, to say which test it was. */
const fileSeconds = 300;
const lastSeconds = 60;
const killMs = 5000;

export interface JobResult extends Verdict {
  readonly job: Job;
  readonly startedMs: number;
  readonly endedMs: number;
  /** Of the process and of all that it has waited for. */
  readonly cpuSeconds: number;
}

export interface RunOptions {
  readonly root: string;
  /** Where output is kept. */
  readonly scratch: string;
  readonly env: NodeJS.ProcessEnv;
  /** How many places there are; what is heavier than all of them runs when nothing else does. */
  readonly width: number;
  /** Asked before each start. */
  readonly goesOn: () => boolean;
  /** What is running, at each start and end. */
  readonly onChange?: (running: readonly Job[]) => void;
  readonly onResult: (result: JobResult) => void;
}

const together = path.join(import.meta.dirname, 'together.ts');
const enterLab = path.join(import.meta.dirname, 'enter-lab.ts');
let outputs = 0;

/** Settles when all have ended that were started. */
export async function runJobs(jobs: readonly Job[], options: RunOptions): Promise<void> {
  const waiting = [...jobs];
  const running = new Map<Job, Promise<void>>();
  const run = async (job: Job) => {
    options.onResult(await runJob(job, options));
    running.delete(job);
    options.onChange?.([...running.keys()]);
  };
  for (;;) {
    const next = options.goesOn() ? nextFitting(waiting, [...running.keys()], options.width) : undefined;
    if (next !== undefined) {
      waiting.splice(waiting.indexOf(next), 1);
      running.set(next, run(next));
      options.onChange?.([...running.keys()]);
    } else if (running.size > 0) await Promise.race(running.values());
    else return;
  }
}

/** The first that has a place, or any when all places are free. Pure. */
export function nextFitting(waiting: readonly Job[], running: readonly Job[], width: number): Job | undefined {
  if (running.length === 0) return waiting[0];
  const taken = running.reduce((sum, { weight }) => sum + weight, 0);
  return waiting.find(({ weight }) => taken + weight <= width);
}

async function runJob(job: Job, options: RunOptions): Promise<JobResult> {
  const startedMs = Date.now();
  const output = path.join(options.scratch, `${outputs++}.tap`);
  const end = await endOf(job, output, options);
  const verdict = judge(job, end, readFileSync(output, 'utf8'));
  return { job, ...verdict, startedMs, endedMs: Date.now(), cpuSeconds: cpuSinceLast() };
}

function endOf({ files }: Job, output: string, { root, env }: RunOptions): Promise<JobEnd> {
  const first = files.every((file) => file.startsWith('test/netns/')) ? ['--import', enterLab] : [];
  const argv = [process.execPath, ...first, ...(files.length === 1 ? files : [together, ...files])];
  const descriptor = openSync(output, 'w');
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...argv], {
    cwd: root,
    env: { ...env, TAP_TIMEOUT: String(fileSeconds) },
    stdio: ['ignore', descriptor, 'inherit'],
  });
  closeSync(descriptor);
  const limitMs = (files.length * fileSeconds + lastSeconds) * 1000;
  let late = false;
  const terminating = setTimeout(() => {
    late = true;
    child.kill('SIGTERM');
  }, limitMs);
  const killing = setTimeout(() => child.kill('SIGKILL'), limitMs + killMs);
  return new Promise((resolve) => {
    const settle = (end: JobEnd) => {
      clearTimeout(terminating);
      clearTimeout(killing);
      resolve(late ? { kind: 'late', seconds: limitMs / 1000 } : end);
    };
    child.on('error', ({ message }) => settle({ kind: 'unstarted', cause: message }));
    child.on('exit', (code, signal) => {
      settle(signal === null ? { kind: 'exited', code: code ?? -1 } : { kind: 'killed', signal });
    });
  });
}

let usedBefore = 0;

/** Processor time of the children that have ended since this was last asked. */
function cpuSinceLast(): number {
  // proc(5): cutime and cstime, in ticks of 10 ms. The second field may hold spaces.
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  const used = (Number(fields[13]) + Number(fields[14])) / 100;
  const since = used - usedBefore;
  usedBefore = used;
  return since;
}
