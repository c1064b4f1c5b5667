/** Bulk by iperf3: as much as goes through, to the origin (up) or from it (down). */
import { setTimeout as systemDelay } from 'node:timers/promises';
import type { CommandOutcome } from '../../src/lab/command.ts';
import { type LoadResult, ports, type Turn } from '../model.ts';
import { nothing, runInPod, unreadable, wholeSeconds } from './program.ts';

const busy = 'the server is busy running a test. try again later';
const busyTries = 20;
const busyWaitMs = 250;

export interface Iperf3Settings {
  readonly direction: 'up' | 'down';
  readonly streams: number;
}

export async function runIperf3(turn: Turn, { direction, streams }: Iperf3Settings): Promise<LoadResult> {
  const size = ['-t', String(wholeSeconds(turn)), '-P', String(streams), ...(direction === 'down' ? ['-R'] : [])];
  const to = ['-c', turn.system.host, '-p', String(ports.bulk), '--connect-timeout', '5000'];
  // The server takes one test at a time, and hears of the end of the last one when the proxies have let it through.
  for (let triesLeft = busyTries; ; triesLeft--) {
    const result = readIperf3(await runInPod(turn, ['iperf3', '-J', ...to, ...size]));
    if (triesLeft === 0 || result.causes?.[busy] === undefined) return result;
    await systemDelay(busyWaitMs);
  }
}

/** Throws when it is not what iperf3 says. What broke off counts as nothing: how much of it arrived nobody knows. */
export function readIperf3(outcome: CommandOutcome): LoadResult {
  if (outcome.reason.includes('ended by SIGKILL')) return nothing('not finished in time');
  let said: Iperf3Report;
  try {
    said = JSON.parse(outcome.stdout) as Iperf3Report;
  } catch {
    throw unreadable('iperf3', outcome);
  }
  if (said.error !== undefined) return nothing(said.error);
  const received = said.end?.sum_received;
  if (!outcome.ok || received === undefined) throw unreadable('iperf3', outcome);
  if (received.bytes === 0) return nothing('nothing arrived');
  const units = received.bytes / 1e9;
  return { units, perSecond: units / received.seconds, errors: 0 };
}

interface Iperf3Report {
  readonly error?: string;
  readonly end?: { readonly sum_received?: { readonly bytes: number; readonly seconds: number } };
}
