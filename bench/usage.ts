/**
 * CPU and memory of the proxies by the kernel's own accounting (proc(5)), a program and its children together.
 *
 * I1: CPU is never counted too high. The scheduler's figures are in ns but go with a thread that ends; the process's own
 * stay but are cut to 10 ms. Each is at most the truth, so the larger of both is taken.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Proxy as Program, Usage } from './model.ts';

/** How exact this machine's figures are, for the report. */
export interface Accounting {
  readonly cpu: 'scheduler, 1 ns' | 'clock ticks, 10 ms';
  /** Whether the kernel lets peaks be reset (`/proc/PID/clear_refs`), so that they are the turn's own. */
  readonly peak: 'since the turn began' | 'since the program began';
}

/** USER_HZ, which Linux fixes at 100 for what it shows to programs. */
const ticksPerSecond = 100;

/** What the kernel offers to this process, seen on itself. */
export function findAccounting(proc = '/proc'): Accounting {
  return {
    cpu: schedulerSeconds(path.join(proc, 'self')) > 0 ? 'scheduler, 1 ns' : 'clock ticks, 10 ms',
    peak: resetPeak(path.join(proc, 'self')) ? 'since the turn began' : 'since the program began',
  };
}

/** Sums over each program and its descendants. Throws when a program is gone. */
export function readUsage(proxies: readonly Program[], proc = '/proc'): Usage[] {
  const children = childrenByParent(proc);
  return proxies.map(({ name, pid }) => {
    const parts = family(pid, children).map((each) => usageOf(path.join(proc, String(each))));
    const sum = (figure: (part: Omit<Usage, 'name'>) => number) =>
      parts.reduce((total, part) => total + figure(part), 0);
    return {
      name,
      cpuSeconds: sum((part) => part.cpuSeconds),
      rssBytes: sum((part) => part.rssBytes),
      peakRssBytes: sum((part) => part.peakRssBytes),
    };
  });
}

/** Lets the peaks of these programs begin at what they hold now, where that is permitted. */
export function resetPeaks(proxies: readonly Program[], proc = '/proc'): void {
  const children = childrenByParent(proc);
  for (const { pid } of proxies) for (const each of family(pid, children)) resetPeak(path.join(proc, String(each)));
}

/** Processor time that whoever runs this virtual machine gave to others since it began, in seconds for each processor. */
export function stolenSeconds(proc = '/proc'): number {
  const text = readFileSync(path.join(proc, 'stat'), 'utf8');
  const ticks = Number(/^cpu +(?:\d+ +){7}(\d+)/m.exec(text)?.[1] ?? 0);
  return ticks / ticksPerSecond / (text.match(/^cpu\d/gm)?.length ?? 1);
}

function family(pid: number, children: ReadonlyMap<number, readonly number[]>): number[] {
  return [pid, ...(children.get(pid) ?? []).flatMap((child) => family(child, children))];
}

function usageOf(folder: string): Omit<Usage, 'name'> {
  const stat = statFields(folder);
  const status = readFileSync(path.join(folder, 'status'), 'utf8');
  const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * 1024;
  const ticks = Number(stat[11]) + Number(stat[12]);
  return {
    cpuSeconds: Math.max(schedulerSeconds(folder), ticks / ticksPerSecond),
    rssBytes: bytes('VmRSS'),
    peakRssBytes: bytes('VmHWM'),
  };
}

/** Time on a CPU of all threads that live; 0 where the kernel does not tell. */
function schedulerSeconds(folder: string): number {
  let nanoseconds = 0;
  for (const thread of readdirSync(path.join(folder, 'task'))) {
    try {
      nanoseconds += Number(readFileSync(path.join(folder, 'task', thread, 'schedstat'), 'utf8').split(' ')[0]);
    } catch {
      // The thread has just ended, or this kernel has no such file: the clock ticks stand.
    }
  }
  return nanoseconds / 1e9;
}

function resetPeak(folder: string): boolean {
  try {
    writeFileSync(path.join(folder, 'clear_refs'), '5');
    return true;
  } catch {
    return false;
  }
}

function childrenByParent(proc: string): ReadonlyMap<number, readonly number[]> {
  const children = new Map<number, number[]>();
  for (const name of readdirSync(proc)) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const parent = Number(statFields(path.join(proc, name))[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    } catch {
      // It ended between the listing and the reading.
    }
  }
  return children;
}

/** Fields of /proc/PID/stat from the state on: 0 is the state, 1 the parent, 11 and 12 user and system time. */
function statFields(folder: string): string[] {
  const text = readFileSync(path.join(folder, 'stat'), 'utf8');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}
