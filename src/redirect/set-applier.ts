/** The ipset of captured pods and its members. A set that is there keeps its members; removal takes the set whole. */
import { AmbitError } from '../base/errors.ts';
import type { ApplyContext } from './context.ts';
import { command, commandError, type Runner, runOrThrow } from './runner.ts';
import type { SetStep } from './step.ts';

export async function ensureSets(context: ApplyContext, steps: readonly SetStep[]): Promise<number> {
  if (steps.length === 0) return 0;
  const sets = await readSets(context.runner, steps);
  refuseOddSets(sets, steps);
  const missing = steps.filter((step) => !isPresent(sets, step));
  if (missing.length === 0) return 0;
  context.undo.push(() => withdrawSets(context, missing).then(() => {}));
  await restore(context.runner, missing.map(addSetLine));
  return missing.length;
}

export async function withdrawSets(context: ApplyContext, steps: readonly SetStep[]): Promise<number> {
  if (steps.length === 0) return 0;
  const sets = await readSets(context.runner, steps);
  const present = steps.toReversed().filter((step) => isPresent(sets, step));
  const lines = present.map((step) => (step.kind === 'set' ? `destroy ${step.set}` : `del ${step.set} ${step.ip}`));
  if (lines.length > 0) await restore(context.runner, lines);
  return lines.length;
}

/** The arguments of `ipset` that make the step so. */
export function addSetLine(step: SetStep): string {
  if (step.kind === 'set') return `create ${step.set} ${setType(step.family)} comment`;
  return `add ${step.set} ${step.ip}${step.comment === undefined ? '' : ` comment "${step.comment}"`}`;
}

interface InstalledSet {
  readonly definition: string;
  readonly members: ReadonlySet<string>;
}

function setType(family: 'ipv4' | 'ipv6'): string {
  return `hash:ip family ${family === 'ipv4' ? 'inet' : 'inet6'}`;
}

function isPresent(sets: ReadonlyMap<string, InstalledSet>, step: SetStep): boolean {
  const installed = sets.get(step.set);
  return installed !== undefined && (step.kind === 'set' || installed.members.has(step.ip));
}

function refuseOddSets(sets: ReadonlyMap<string, InstalledSet>, steps: readonly SetStep[]): void {
  for (const step of steps) {
    const installed = sets.get(step.set);
    if (step.kind !== 'set' || installed === undefined) continue;
    const fits = installed.definition.includes(setType(step.family)) && / comment\b/.test(installed.definition);
    if (fits) continue;
    throw new AmbitError(
      `an ipset ${step.set} exists and is \`${installed.definition}\`: remove it, or choose another name`,
      { code: 'REDIRECT_NAME_TAKEN', origin: 'local' },
    );
  }
}

async function readSets(runner: Runner, steps: readonly SetStep[]): Promise<Map<string, InstalledSet>> {
  const sets = new Map<string, InstalledSet>();
  for (const name of new Set(steps.map((step) => step.set))) {
    const wanted = command('ipset', ['save', name]);
    const result = await runner.run(wanted);
    if (result.status !== 0) {
      if (result.stderr.includes('does not exist')) continue;
      throw commandError(wanted, result);
    }
    const lines = result.stdout.split('\n');
    const members = lines.filter((line) => line.startsWith(`add ${name} `)).map((line) => line.split(' ')[2] ?? '');
    sets.set(name, { definition: lines.find((line) => line.startsWith('create ')) ?? '', members: new Set(members) });
  }
  return sets;
}

async function restore(runner: Runner, lines: readonly string[]): Promise<void> {
  await runOrThrow(runner, command('ipset', ['restore'], `${lines.join('\n')}\n`));
}
