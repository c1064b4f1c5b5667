/**
 * Kernel settings. I1: the former value is in the state file before the new one is in the kernel, and is put back on
 * removal, unless somebody else has changed the setting meanwhile or its device is gone.
 */
import { AmbitError } from '../base/errors.ts';
import type { ApplyContext } from './context.ts';
import { command, commandError, type Runner, runOrThrow } from './runner.ts';
import type { SysctlStep } from './step.ts';

const root = '/proc/sys/';

export async function ensureSysctls(context: ApplyContext, steps: readonly SysctlStep[]): Promise<number> {
  if (steps.length === 0) return 0;
  const current = await readSysctls(context.runner, steps);
  for (const step of steps) {
    if (current.has(step.path)) continue;
    throw new AmbitError(`there is no setting ${root}${step.path} here: ${step.why}`, {
      code: 'REDIRECT_SETTING_MISSING',
      origin: 'local',
    });
  }
  const changes = steps.filter((step) => current.get(step.path) !== step.value);
  if (changes.length === 0) return 0;
  for (const step of changes) context.saved.set(step.path, current.get(step.path) ?? '');
  await context.persist();
  context.undo.push(() => withdrawSysctls(context, changes).then(() => {}));
  for (const step of changes) await writeSysctl(context.runner, step.path, step.value);
  return changes.length;
}

export async function withdrawSysctls(context: ApplyContext, steps: readonly SysctlStep[]): Promise<number> {
  const changed = steps.filter((step) => context.saved.has(step.path));
  if (changed.length === 0) return 0;
  const current = await readSysctls(context.runner, changed);
  let count = 0;
  for (const step of changed.toReversed()) {
    const former = context.saved.get(step.path);
    if (former !== undefined && current.get(step.path) === step.value) {
      await writeSysctl(context.runner, step.path, former);
      count++;
    }
    context.saved.delete(step.path);
  }
  return count;
}

/** Values by path; paths that do not exist are left out. */
async function readSysctls(runner: Runner, steps: readonly SysctlStep[]): Promise<Map<string, string>> {
  const wanted = command('grep', ['-sH', '', ...steps.map((step) => root + step.path)]);
  const result = await runner.run(wanted);
  // grep: 1 is no line, 2 is a file that could not be read: both say that settings are not there.
  if (result.status > 2) throw commandError(wanted, result);
  const values = new Map<string, string>();
  for (const line of result.stdout.split('\n')) {
    const colon = line.lastIndexOf(':');
    if (line.startsWith(root) && colon > 0) values.set(line.slice(root.length, colon), line.slice(colon + 1).trim());
  }
  return values;
}

async function writeSysctl(runner: Runner, path: string, value: string): Promise<void> {
  await runOrThrow(runner, command('tee', [root + path], `${value}\n`));
}
