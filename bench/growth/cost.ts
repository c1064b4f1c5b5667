/**
 * What a unit of a load costs the pair of ztunnels, by the kernel's accounting of both.
 *
 * I1: a cost is of a load all of which went through: with errors there is no cost.
 */
import { runTcpload } from '../loads/tcpload.ts';
import { runWrk } from '../loads/wrk.ts';
import type { Load, System } from '../model.ts';
import { readUsage } from '../usage.ts';
import type { Ground } from './curve.ts';

export type RunLoad = Load['run'];

export const newConnections: RunLoad = (turn) => runTcpload(turn, { mode: 'connect', port: 'echo', connections: 8 });

/** HTTP/1.1 requests over so many connections that are kept alive. */
export function requestsOver(connections: number): RunLoad {
  return (turn) => runWrk(turn, { connections, keepAlive: true });
}

/** Of a cost. Whatever else runs on the machine only ever adds to it, so the least disturbed turn counts. */
const turns = 3;
/** Until the optimising compiler has seen what a load does, every turn is cheaper than the one before. */
const warmUpSeconds = 5;

export async function warmUp(ground: Ground): Promise<void> {
  for (const load of [requestsOver(32), newConnections]) await runOn(load, ground, warmUpSeconds);
}

/** CPU µs of both proxies per unit. */
export async function costOf(load: RunLoad, ground: Ground): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let turn = 0; turn < turns; turn++) {
    const before = cpuSeconds(ground);
    const units = await runOn(load, ground, ground.seconds);
    least = Math.min(least, ((cpuSeconds(ground) - before) * 1e6) / units);
  }
  return least;
}

/** Resolves with the units that went through. */
export async function runOn(load: RunLoad, ground: Ground, seconds: number): Promise<number> {
  const turn = { lab: ground.world.lab, system: pairOf(ground), seconds, ratePerSecond: 0, sample: () => {} };
  const { units, errors, causes } = await load(turn);
  if (errors === 0 && units > 0) return units;
  throw new Error(`${errors} errors, ${units} units: ${JSON.stringify(causes ?? {})}`);
}

export function pairOf({ world }: Ground): System {
  const found = world.systems.find(({ key }) => key === 'ztunnel-pair');
  if (found === undefined) throw new Error('the world has no ztunnel pair');
  return found;
}

/** Megabytes of the larger one. */
export function residentMb(ground: Ground): number {
  return Math.max(...readUsage(pairOf(ground).proxies()).map(({ rssBytes }) => rssBytes)) / 1e6;
}

function cpuSeconds(ground: Ground): number {
  return readUsage(pairOf(ground).proxies()).reduce((sum, usage) => sum + usage.cpuSeconds, 0);
}
