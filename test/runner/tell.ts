/** Lines about a run. Pure. */
import path from 'node:path';
import type { Job } from './jobs.ts';
import type { JobResult } from './run-jobs.ts';

/** `netns: 3 of 40 done; test/netns/dns/pods.test.ts, …` */
export function statusLine(name: string, ended: number, all: number, running: readonly Job[]): string {
  return `${name}: ${ended} of ${all} done; ${running.map(nameOf).join(', ')}`;
}

/** When a job began, how long it took, and how much processor time. */
export function timesLine({ job, startedMs, endedMs, cpuSeconds }: JobResult, beganMs: number): string {
  const at = ((startedMs - beganMs) / 1000).toFixed(1);
  const seconds = ((endedMs - startedMs) / 1000).toFixed(1);
  return `  at ${at.padStart(5)} s for ${seconds.padStart(5)} s, CPU ${cpuSeconds.toFixed(1).padStart(5)} s: ${nameOf(job)}`;
}

function nameOf({ files }: Job): string {
  const [first = '', last = first] = [files[0], files.at(-1)];
  return files.length === 1 ? first : `${first} to ${path.relative('test', last)}`;
}
