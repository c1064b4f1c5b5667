/** HTTP/1.1 requests by wrk, each connection sending its next when it has its answer; wrk.lua says what came of it. */
import path from 'node:path';
import type { CommandOutcome } from '../../src/lab/command.ts';
import { type LoadResult, ports, type Turn } from '../model.ts';
import { nothing, runInPod, unreadable, wholeSeconds, withErrors } from './program.ts';

const script = path.join(import.meta.dirname, 'wrk.lua');

export interface WrkSettings {
  readonly connections: number;
  /** False: a new connection for each request. */
  readonly keepAlive: boolean;
}

export async function runWrk(turn: Turn, { connections, keepAlive }: WrkSettings): Promise<LoadResult> {
  const close = keepAlive ? [] : ['-H', 'Connection: close'];
  const url = `http://${turn.system.host}:${ports.http}/`;
  const argv = ['wrk', '-t1', `-c${connections}`, `-d${wholeSeconds(turn)}s`, '-s', script, ...close, url];
  return readWrk(await runInPod(turn, argv));
}

/** Throws when it is not what wrk and the script say. */
export function readWrk(outcome: CommandOutcome): LoadResult {
  // It tries one connection before it begins.
  const refused = /^unable to connect to \S+ (.+)$/m.exec(outcome.stderr + outcome.stdout)?.[1];
  if (refused !== undefined) return nothing(`connect: ${refused}`);
  const line = /^\{.*\}$/m.exec(outcome.stdout)?.[0];
  if (!outcome.ok || line === undefined) throw unreadable('wrk', outcome);
  const said = JSON.parse(line) as WrkLine;
  // A request that was answered with an error is among the requests, too.
  const units = said.requests - said.errors.status;
  const result = { units, perSecond: (units * 1e6) / said.microseconds, ...withErrors(said.errors) };
  if (said.requests === 0) return result.errors > 0 ? result : { ...result, ...withErrors({ 'no answer': 1 }) };
  const { p50, p90, p99, p999 } = said;
  return { ...result, latency: { p50Ms: p50 / 1000, p90Ms: p90 / 1000, p99Ms: p99 / 1000, p999Ms: p999 / 1000 } };
}

interface WrkLine extends Readonly<Record<'requests' | 'microseconds' | 'p50' | 'p90' | 'p99' | 'p999', number>> {
  readonly errors: Readonly<Record<'connect' | 'read' | 'write' | 'status' | 'timeout', number>>;
}
