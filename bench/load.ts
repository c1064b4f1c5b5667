/** Load by wrk from inside a pod, and what it said. */
import { runCommand } from '../src/lab/command.ts';
import type { Lab } from '../src/lab/lab.ts';
import { inNamespace } from '../src/lab/namespace.ts';

export interface Load {
  readonly connections: number;
  readonly seconds: number;
  /** False: a new connection for each request. */
  readonly keepAlive: boolean;
}

export interface LoadResult {
  readonly requests: number;
  readonly perSecond: number;
  /** Latency as wrk saw it; saturated, so it tells queueing more than the way. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Answers other than 2xx and socket errors. */
  readonly errors: number;
}

/** Rejects when wrk cannot run or says what cannot be read. */
export async function runLoad(lab: Lab, pod: string, url: string, load: Load): Promise<LoadResult> {
  const close = load.keepAlive ? [] : ['-H', 'Connection: close'];
  const argv = ['wrk', '-t1', `-c${load.connections}`, `-d${load.seconds}s`, '--latency', ...close, url] as const;
  const outcome = await runCommand(inNamespace(lab.namespace(pod), argv), { timeoutMs: (load.seconds + 20) * 1000 });
  return readWrk(outcome.stdout);
}

export function readWrk(text: string): LoadResult {
  const requests = /^\s*(\d+) requests in/m.exec(text)?.[1];
  const perSecond = /^Requests\/sec:\s+([\d.]+)/m.exec(text)?.[1];
  if (requests === undefined || perSecond === undefined) throw new Error(`wrk said what cannot be read:\n${text}`);
  const socketErrors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text);
  const failed = (socketErrors?.slice(1) ?? []).reduce((sum, count) => sum + Number(count), 0);
  return {
    requests: Number(requests),
    perSecond: Number(perSecond),
    p50Ms: percentile(text, '50%'),
    p99Ms: percentile(text, '99%'),
    errors: failed + Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0),
  };
}

function percentile(text: string, name: string): number {
  const [, value, unit] = new RegExp(`^\\s*${name}\\s+([\\d.]+)(us|ms|s)`, 'm').exec(text) ?? [];
  const factor = unit === 'us' ? 0.001 : unit === 's' ? 1000 : 1;
  return value === undefined ? Number.NaN : Number(value) * factor;
}
