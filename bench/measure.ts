/**
 * Turn by turn: each load on each system that can carry it, in turns within each repeat, the order reversed in every other
 * one, so that a drift of the machine cancels. A first turn of each warms up and is not counted. Before all of them every
 * system is run in, since proxies live for weeks: V8 still compiles after 30 000 requests.
 *
 * On a virtual machine others may take the processors away for a while: a turn in which they took too much is taken again, for
 * all systems alike, and of the attempts the quietest counts.
 *
 * I1: a turn that cannot be measured is recorded with its reason and costs the others nothing.
 * I2: everything ends: a turn that outlasts its limit ends the whole run, since its program still runs.
 */
import type { Clock } from '../src/base/clock.ts';
import { errorText } from '../src/base/errors.ts';
import type { Lab } from '../src/lab/lab.ts';
import type { Load, LoadResult, Measurement, Proxy as Program, System, Usage } from './model.ts';
import { median, type Results } from './statistics.ts';

export interface Plan {
  readonly systems: readonly System[];
  readonly loads: readonly Load[];
  readonly seconds: number;
  /** Counted ones; the warm-up comes on top. */
  readonly repeats: number;
  /** Of requests through every system before anything else, in `runInRounds` turns; 0: none. */
  readonly runInSeconds: number;
  /** Whether turns may be taken again: at most half as many as there are. */
  readonly retakes: boolean;
}

/** A turn that begins. */
export interface Step {
  readonly load: Load;
  readonly system: System;
  /** 0 is the warm-up. */
  readonly repeat: number;
  /** Of all turns, from 1. */
  readonly turn: number;
  readonly turns: number;
}

export interface Failure {
  readonly load: string;
  readonly system: string;
  readonly repeat: number;
  readonly reason: string;
}

export interface Measured extends Results {
  readonly failures: readonly Failure[];
  /** Requests per second that the loads of `fixedRate` were sent at, for each layer. */
  readonly rates: Readonly<Partial<Record<System['layer'], number>>>;
  /** Turns that were taken again because others had the processors. */
  readonly retaken: number;
}

export interface Surroundings {
  readonly lab: Lab;
  readonly clock: Clock;
  /** Throws when a program is gone. */
  readonly readUsage: (proxies: readonly Program[]) => readonly Usage[];
  readonly resetPeaks: (proxies: readonly Program[]) => void;
  /** Since the machine began, for each processor. */
  readonly stolenSeconds: () => number;
  readonly progress: (step: Step) => void;
}

interface Job {
  readonly load: Load;
  readonly system: System;
  readonly repeat: number;
  readonly seconds: number;
}

/** Its rates are what the loads of `fixedRate` go by. */
const paceKey = 'requests-32';
const warmUp = 0;
/** Connections that end are news as well, for which V8 compiles again what it had compiled for those that last. */
const runInRounds = 3;
/** Of the processors' time: what others may have during a turn, and how often one is taken at most. */
export const mostStolenShare = 0.05;
const mostAttempts = 3;
/** Beyond the seconds asked for: opening ten thousand connections takes a while. */
const turnLimitMs = 120_000;

class TurnOverdue extends Error {}

/** `known` are all loads there are, planned or not. Rejects when a turn outlasts its limit. */
export async function measure(plan: Plan, known: readonly Load[], surroundings: Surroundings): Promise<Measured> {
  const idle = plan.systems.map((system) => ({ system: system.key, usage: surroundings.readUsage(system.proxies()) }));
  const jobs = jobsOf(plan, known);
  const all: Measurement[] = [];
  const failures: Failure[] = [];
  const rates: Partial<Record<System['layer'], number>> = {};
  const mostRetakes = plan.retakes ? Math.floor(jobs.length / 2) : 0;
  let retaken = 0;
  for (const [index, job] of jobs.entries()) {
    const { load, system, repeat } = job;
    surroundings.progress({ load, system, repeat, turn: index + 1, turns: jobs.length });
    try {
      if (load.fixedRate === true) rates[system.layer] ??= paceOf(system, plan.systems, all);
      const take = () => takeTurn(job, rates[system.layer] ?? 0, surroundings);
      let measured = await take();
      if (repeat === warmUp) continue;
      for (let attempts = 1; attempts < mostAttempts && retaken < mostRetakes && isNoisy(measured); attempts++) {
        retaken++;
        const again = await take();
        if (again.stolenShare < measured.stolenShare) measured = again;
      }
      all.push(measured);
    } catch (error) {
      if (error instanceof TurnOverdue) throw error;
      failures.push({ load: load.key, system: system.key, repeat, reason: errorText(error) });
    }
  }
  const planned = new Set(plan.loads.map(({ key }) => key));
  return { idle, measurements: all.filter(({ load }) => planned.has(load)), failures, rates, retaken };
}

/** Whom a load is for: the systems of its layers that serve its port, and no proxy at all. */
export function systemsFor(load: Load, systems: readonly System[]): System[] {
  return systems.filter(
    ({ layer, serves }) => serves.has(load.port) && (layer === 'none' || load.layers.includes(layer)),
  );
}

/**
 * Loads of a rate come when the rates are known, and what sets the pace is run briefly when nobody asked for it. What
 * holds many connections comes last: memory that a proxy keeps from it would be counted under every later load.
 */
function jobsOf({ systems, loads, seconds, repeats, runInSeconds }: Plan, known: readonly Load[]): Job[] {
  const place = ({ unit, fixedRate }: Load) => (unit === 'idle connection' ? 2 : fixedRate === true ? 1 : 0);
  const ordered = loads.toSorted((a, b) => place(a) - place(b));
  const unpaced = loads.some(({ fixedRate }) => fixedRate === true) && !loads.some(({ key }) => key === paceKey);
  const usual = known.filter(({ key }) => key === paceKey);
  const pace = unpaced ? usual : [];
  const runIn = runInSeconds > 0 && loads.some(({ unit }) => unit !== 'idle connection') ? usual : [];
  return [
    ...runIn.flatMap((load) => runInJobs(load, systemsFor(load, systems), runInSeconds)),
    ...pace.flatMap((load) => jobsOfLoad(load, systemsFor(load, systems), 1, 1)),
    ...ordered.flatMap((load) => jobsOfLoad(load, systemsFor(load, systems), seconds, repeats)),
  ];
}

function runInJobs(load: Load, systems: readonly System[], seconds: number): Job[] {
  const round = systems.map((system) => ({ load, system, repeat: warmUp, seconds: seconds / runInRounds }));
  return Array.from({ length: runInRounds }, () => round).flat();
}

function jobsOfLoad(load: Load, systems: readonly System[], seconds: number, repeats: number): Job[] {
  const rounds = Array.from({ length: repeats + 1 }, (_, repeat) => repeat);
  // Nothing is quicker the second time about connections that do nothing.
  return rounds.slice(load.unit === 'idle connection' ? 1 : 0).flatMap((repeat) => {
    const order = repeat % 2 === 0 ? systems : systems.toReversed();
    return order.map((system) => ({ load, system, repeat, seconds }));
  });
}

/** Half of the slowest system's median within the layer; no proxy at all goes along with L4, or else with L7. */
function paceOf({ layer }: System, systems: readonly System[], measurements: readonly Measurement[]): number {
  const group =
    layer !== 'none' ? layer : ((['l4', 'l7'] as const).find((each) => systems.some((s) => s.layer === each)) ?? layer);
  const rates = systems
    .filter((system) => system.layer === group)
    .map(({ key }) => measurements.filter((each) => each.load === paceKey && each.system === key))
    .filter((turns) => turns.length > 0)
    .map((turns) => median(turns.map(({ result }) => result.perSecond)));
  if (rates.length === 0) throw new Error(`no rate to send at: ${paceKey} gave none`);
  return Math.max(1, Math.round(Math.min(...rates) / 2));
}

async function takeTurn(job: Job, ratePerSecond: number, surroundings: Surroundings): Promise<Measurement> {
  const { load, system, repeat, seconds } = job;
  const { lab, clock, readUsage, resetPeaks, stolenSeconds } = surroundings;
  const proxies = system.proxies();
  let sampled: readonly Usage[] | undefined;
  const sample = () => {
    sampled = readUsage(proxies);
  };
  resetPeaks(proxies);
  const [startedMs, stolenBefore] = [clock.nowMs(), stolenSeconds()];
  const before = readUsage(proxies);
  const turn = load.run({ lab, system, seconds, ratePerSecond, sample });
  const result = await withinLimit(turn, job, clock);
  const after = sampled ?? readUsage(proxies);
  const elapsedSeconds = (clock.nowMs() - startedMs) / 1000;
  const stolenShare = elapsedSeconds > 0 ? (stolenSeconds() - stolenBefore) / elapsedSeconds : 0;
  return { load: load.key, system: system.key, repeat, result, before, after, stolenShare };
}

function isNoisy({ stolenShare }: Measurement): boolean {
  return stolenShare > mostStolenShare;
}

async function withinLimit(
  turn: Promise<LoadResult>,
  { load, system, seconds }: Job,
  clock: Clock,
): Promise<LoadResult> {
  const limitMs = turnLimitMs + 2000 * seconds;
  const { promise: overdue, reject } = Promise.withResolvers<never>();
  const words = `${load.key} on ${system.key} had not ended after ${limitMs / 1000} s`;
  const timer = clock.after(limitMs, () => reject(new TurnOverdue(words)));
  try {
    return await Promise.race([turn, overdue]);
  } finally {
    timer.cancel();
  }
}
