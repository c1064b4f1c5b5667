/** What the loads' programs have in common: where they run, and how errors by name become part of a result. */
import { type CommandOutcome, runCommand } from '../../src/lab/command.ts';
import { inNamespace } from '../../src/lab/namespace.ts';
import type { LoadResult, Turn } from '../model.ts';

/** Beyond the load's own time: what is in flight at its end, and a slow machine. */
const graceMs = 20_000;

/** Runs a program in the turn's pod to its end. */
export function runInPod({ lab, system, seconds }: Turn, argv: readonly string[]): Promise<CommandOutcome> {
  return runCommand(inNamespace(lab.namespace(system.pod), argv), { timeoutMs: seconds * 1000 + graceMs });
}

/** For programs that count whole seconds. */
export function wholeSeconds({ seconds }: Turn): number {
  return Math.max(1, Math.round(seconds));
}

export function withErrors(causes: Readonly<Record<string, number>>): Pick<LoadResult, 'errors' | 'causes'> {
  const found = Object.entries(causes).filter(([, count]) => count > 0);
  return {
    errors: found.reduce((sum, [, count]) => sum + count, 0),
    ...(found.length === 0 ? {} : { causes: Object.fromEntries(found) }),
  };
}

/** A load of which nothing went through. */
export function nothing(cause: string): LoadResult {
  return { units: 0, perSecond: 0, ...withErrors({ [cause]: 1 }) };
}

export function unreadable(program: string, outcome: CommandOutcome): Error {
  const said = `${outcome.reason}\n${outcome.stdout}${outcome.stderr}`;
  return new Error(`${program} said what cannot be read: ${said.slice(0, 1000)}`);
}
