/** The loads of tcpload/ (see tcpload.h): new connections, round trips of one byte, idle connections, a fixed rate. */
import { setTimeout as delay } from 'node:timers/promises';
import { type LoadResult, type PortName, ports, type Turn } from '../model.ts';
import { buildTcpload } from './build.ts';
import { runInPod, unreadable, withErrors } from './program.ts';
import { widenSourcePorts } from './source-ports.ts';

/** How fast idle connections are opened at most, per second. */
const openingRate = 2000;
/** How long they may take to open, and then to be held. */
const idleSeconds = 120;
/** Before what they cost is looked at: what was needed only to open them has been let go. */
const settleMs = 1000;

export interface TcploadSettings {
  readonly mode: 'connect' | 'ping-pong' | 'rate';
  readonly port: PortName;
  readonly connections: number;
}

export async function runTcpload(turn: Turn, { mode, port, connections }: TcploadSettings): Promise<LoadResult> {
  await widenSourcePorts(turn.lab.namespace(turn.system.pod));
  const rate = mode === 'rate' ? [`--rate=${turn.ratePerSecond}`] : [];
  const size = [`--connections=${connections}`, `--seconds=${turn.seconds}`, ...rate];
  const outcome = await runInPod(turn, [await buildTcpload(), mode, turn.system.host, String(ports[port]), ...size]);
  if (!outcome.ok) throw unreadable('tcpload', outcome);
  return readTcpload(outcome.stdout);
}

/** Opens so many, has the turn's figures taken while they are held, and closes them. */
export async function holdIdle(turn: Turn, connections: number): Promise<LoadResult> {
  await widenSourcePorts(turn.lab.namespace(turn.system.pod));
  const size = [`--connections=${connections}`, `--rate=${openingRate}`, `--seconds=${idleSeconds}`];
  const program = turn.lab.spawn(turn.system.pod, {
    name: 'load-idle',
    argv: [await buildTcpload(), 'idle', turn.system.host, String(ports.echo), ...size],
  });
  try {
    await program.waitForLine((line) => line.startsWith('held '), (idleSeconds + 10) * 1000);
    await delay(settleMs);
    turn.sample();
  } finally {
    await program.stop(20_000);
  }
  return readTcpload(program.lines.at(-1) ?? '');
}

/** Throws when it is not the line that tcpload ends with. */
export function readTcpload(text: string): LoadResult {
  let said: TcploadLine;
  try {
    said = JSON.parse(text) as TcploadLine;
  } catch {
    throw new Error(`tcpload said what cannot be read: ${text}`);
  }
  const { units, seconds, latencyUs } = said;
  const result = { units, perSecond: seconds > 0 ? units / seconds : 0, ...withErrors(said.errors) };
  if (latencyUs === null) return result;
  const { p50, p90, p99, p999 } = latencyUs;
  return { ...result, latency: { p50Ms: p50 / 1000, p90Ms: p90 / 1000, p99Ms: p99 / 1000, p999Ms: p999 / 1000 } };
}

interface TcploadLine {
  readonly units: number;
  readonly seconds: number;
  readonly latencyUs: Readonly<Record<'p50' | 'p90' | 'p99' | 'p999', number>> | null;
  readonly errors: Readonly<Record<string, number>>;
}
