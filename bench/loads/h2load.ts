/**
 * HTTP/2 requests by h2load with prior knowledge. Latency is from its log, one line per request: what it prints has no
 * percentiles.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { CommandOutcome } from '../../src/lab/command.ts';
import { type Latency, type LoadResult, ports, type Turn } from '../model.ts';
import { runInPod, unreadable, wholeSeconds, withErrors } from './program.ts';

export interface H2loadSettings {
  readonly connections: number;
  /** Requests at a time on each. */
  readonly streams: number;
}

export async function runH2load(turn: Turn, { connections, streams }: H2loadSettings): Promise<LoadResult> {
  const log = path.join(turn.lab.directory, 'h2load.log');
  const size = ['-t1', `-c${connections}`, `-m${streams}`, `-D${wholeSeconds(turn)}`];
  try {
    const url = `http://${turn.system.host}:${ports.h2c}/`;
    const outcome = await runInPod(turn, ['h2load', ...size, `--log-file=${log}`, url]);
    return readH2load(outcome, existsSync(log) ? readFileSync(log, 'latin1') : '');
  } finally {
    rmSync(log, { force: true });
  }
}

/** Throws when it is not what h2load says. */
export function readH2load(outcome: CommandOutcome, log: string): LoadResult {
  const text = outcome.stdout;
  const perSecond = numbers(/^finished in \S+, ([\d.]+) req\/s/m, text);
  const counts = numbers(/(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout/, text);
  const connections = numbers(/(\d+) total client\(s\)/, text);
  const each = numbers(/^req\/s\s+:\s+([\d.]+)\s+[\d.]+\s+([\d.]+)/m, text);
  if (!outcome.ok || !perSecond || !counts || !connections || !each) throw unreadable('h2load', outcome);
  const [units = 0, failed = 0, errored = 0, timeout = 0] = counts;
  const [slowest = 0, mean = 0] = each;
  const [rate = 0] = perSecond;
  const latency = readLog(log);
  return {
    units,
    // What it says counts failed requests, too.
    perSecond: units + failed === 0 ? 0 : (rate * units) / (units + failed),
    ...(latency === undefined ? {} : { latency }),
    // Of a connection that is refused or breaks off it says nothing. But the rate of each is over the time it lasted:
    // zero when it carried nothing, and together above the rate of the run when some ended before it.
    ...withErrors({
      status: failed - errored - timeout,
      errored,
      timeout,
      'connection without an answer': slowest === 0 ? 1 : 0,
      'connection that broke off': mean * (connections[0] ?? 0) > rate * 1.05 ? 1 : 0,
    }),
  };
}

function readLog(log: string): Latency | undefined {
  const taken = [...log.matchAll(/^\d+\t2\d\d\t(\d+)$/gm)].map((match) => Number(match[1])).sort((a, b) => a - b);
  const percentileMs = (part: number) => (taken[Math.max(0, Math.ceil(part * taken.length) - 1)] ?? 0) / 1000;
  if (taken.length === 0) return undefined;
  return {
    p50Ms: percentileMs(0.5),
    p90Ms: percentileMs(0.9),
    p99Ms: percentileMs(0.99),
    p999Ms: percentileMs(0.999),
  };
}

function numbers(pattern: RegExp, text: string): number[] | undefined {
  return pattern.exec(text)?.slice(1).map(Number);
}
