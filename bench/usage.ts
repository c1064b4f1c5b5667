/** CPU and memory of a program and its children by the kernel's own accounting (proc(5)). */
import { readdirSync, readFileSync } from 'node:fs';

export interface Usage {
  readonly cpuSeconds: number;
  readonly rssBytes: number;
  readonly peakRssBytes: number;
}

/** USER_HZ, which Linux fixes at 100 for what it shows to programs. */
const ticksPerSecond = 100;

/** Sums over the process and its descendants. */
export function usageOf(pid: number): Usage {
  const children = childrenByParent();
  let usage: Usage = { cpuSeconds: 0, rssBytes: 0, peakRssBytes: 0 };
  const visit = (each: number) => {
    usage = add(usage, readUsage(each));
    for (const child of children.get(each) ?? []) visit(child);
  };
  visit(pid);
  return usage;
}

function readUsage(pid: number): Usage {
  const stat = statFields(pid);
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kilobytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
  return {
    cpuSeconds: (Number(stat[11]) + Number(stat[12])) / ticksPerSecond,
    rssBytes: kilobytes('VmRSS') * 1024,
    peakRssBytes: kilobytes('VmHWM') * 1024,
  };
}

function childrenByParent(): Map<number, number[]> {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const parent = Number(statFields(Number(name))[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    } catch {
      // It ended between the listing and the reading.
    }
  }
  return children;
}

/** Fields of /proc/PID/stat from the state on: 0 is the state, 1 the parent, 11 and 12 user and system time. */
function statFields(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

function add(a: Usage, b: Usage): Usage {
  return {
    cpuSeconds: a.cpuSeconds + b.cpuSeconds,
    rssBytes: a.rssBytes + b.rssBytes,
    peakRssBytes: a.peakRssBytes + b.peakRssBytes,
  };
}
