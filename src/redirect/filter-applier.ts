/**
 * iptables chains. I1: only chains of our names are written; in a built-in chain nothing is done but to put our one jump
 * first. I2: each table changes in one `iptables-restore --noflush` transaction, or not at all.
 */
import { AmbitError } from '../base/errors.ts';
import type { ApplyContext } from './context.ts';
import { restoreProgram, saveProgram } from './iptables-backend.ts';
import { type Family, ruleText, type TableName } from './rule.ts';
import { command, runOrThrow } from './runner.ts';
import { parseSavedRules, type SavedRules, savedChain } from './saved-rules.ts';
import type { FilterStep, Jump, MemberRuleStep, TableStep } from './step.ts';

export async function ensureFilters(context: ApplyContext, steps: readonly FilterStep[]): Promise<number> {
  let count = 0;
  for (const [family, own] of byFamily(steps)) {
    const saved = await readRules(context, family);
    if (!context.ours) refuseTakenChains(saved, own);
    const lines = eachTable(own, (table, ofTable) => ensureLines(saved, table, ofTable));
    if (lines.length === 0) continue;
    const added = own.filter((step) => step.kind === 'table' || !hasMemberRule(saved, step));
    context.undo.push(() => revert(context, family, saved, added));
    await restore(context, family, lines);
    count += lines.length;
  }
  return count;
}

export async function withdrawFilters(context: ApplyContext, steps: readonly FilterStep[]): Promise<number> {
  let count = 0;
  for (const [family, own] of byFamily(steps)) {
    const saved = await readRules(context, family);
    const lines = eachTable(own, (table, ofTable) => withdrawLines(saved, table, ofTable));
    if (lines.length === 0) continue;
    await restore(context, family, lines);
    count += lines.length;
  }
  return count;
}

export function jumpText(jump: Jump): string {
  return `${jump.protocol === undefined ? '' : `-p ${jump.protocol} `}-j ${jump.chain}`;
}

function ensureLines(saved: SavedRules, table: TableName, steps: readonly FilterStep[]): string[] {
  const declarations: string[] = [];
  const jumps: string[] = [];
  const rules: string[] = [];
  for (const step of steps.filter((each) => each.kind === 'table')) {
    for (const chain of step.chains) {
      const installed = savedChain(saved, table, chain.name);
      const wanted = chain.rules.map(ruleText);
      if (installed !== undefined && (chain.members || sameLines(installed, wanted))) continue;
      // Declaring a chain also empties it.
      declarations.push(`:${chain.name} - [0:0]`);
      rules.push(...wanted.map((rule) => `-A ${chain.name} ${rule}`));
    }
    for (const jump of step.jumps) jumps.push(...jumpLines(savedChain(saved, table, jump.hook) ?? [], jump));
  }
  for (const step of steps.filter((each) => each.kind === 'member-rule')) {
    if (!hasMemberRule(saved, step)) rules.push(`-A ${step.chain} ${ruleText(step.rule)}`);
  }
  return [...declarations, ...jumps, ...rules];
}

function jumpLines(installed: readonly string[], jump: Jump): string[] {
  const text = jumpText(jump);
  const count = installed.filter((rule) => rule === text).length;
  if (count === 1 && installed[0] === text) return [];
  return [...Array<string>(count).fill(`-D ${jump.hook} ${text}`), `-I ${jump.hook} 1 ${text}`];
}

function withdrawLines(saved: SavedRules, table: TableName, steps: readonly FilterStep[]): string[] {
  const lines: string[] = [];
  for (const step of steps.filter((each) => each.kind === 'member-rule')) {
    if (hasMemberRule(saved, step)) lines.push(`-D ${step.chain} ${ruleText(step.rule)}`);
  }
  const tables = steps.filter((each) => each.kind === 'table');
  for (const jump of tables.flatMap((step) => step.jumps)) {
    const installed = savedChain(saved, table, jump.hook) ?? [];
    const text = jumpText(jump);
    for (const rule of installed) if (rule === text) lines.push(`-D ${jump.hook} ${text}`);
  }
  const chains = tables
    .flatMap((step) => step.chains)
    .map((chain) => chain.name)
    .filter((name) => savedChain(saved, table, name) !== undefined);
  // All are emptied before the first is deleted, since they may refer to each other.
  return [...lines, ...chains.map((name) => `-F ${name}`), ...chains.map((name) => `-X ${name}`)];
}

/** Puts chains back to what they were; those that were not there go. */
async function revert(context: ApplyContext, family: Family, before: SavedRules, added: readonly FilterStep[]) {
  await withdrawFilters(context, added);
  const lines = eachTable(added, (table, steps) => {
    const tables = steps.filter((step) => step.kind === 'table');
    const chains = tables
      .flatMap((step) => step.chains)
      .flatMap(({ name }) => {
        const rules = savedChain(before, table, name);
        return rules === undefined ? [] : [{ name, rules }];
      });
    const jumps = tables
      .flatMap((step) => step.jumps)
      .filter((jump) => {
        return (savedChain(before, table, jump.hook) ?? []).includes(jumpText(jump));
      });
    return [
      ...chains.map(({ name }) => `:${name} - [0:0]`),
      ...jumps.map((jump) => `-I ${jump.hook} 1 ${jumpText(jump)}`),
      ...chains.flatMap(({ name, rules }) => rules.map((rule) => `-A ${name} ${rule}`)),
    ];
  });
  if (lines.length > 0) await restore(context, family, lines);
}

function hasMemberRule(saved: SavedRules, step: MemberRuleStep): boolean {
  return (savedChain(saved, step.table, step.chain) ?? []).includes(ruleText(step.rule));
}

function refuseTakenChains(saved: SavedRules, steps: readonly FilterStep[]): void {
  for (const step of steps.filter((each): each is TableStep => each.kind === 'table')) {
    for (const chain of step.chains) {
      const installed = savedChain(saved, step.table, chain.name);
      if (installed === undefined || chain.members || sameLines(installed, chain.rules.map(ruleText))) continue;
      throw new AmbitError(
        `table ${step.table} has a chain ${chain.name} with other rules, and no record says that Ambit made it. ` +
          'Remove it with the agent that made it, or with `ambit redirect remove` and the options it was applied with.',
        { code: 'REDIRECT_NAME_TAKEN', origin: 'local' },
      );
    }
  }
}

function sameLines(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((line, index) => line === b[index]);
}

function byFamily(steps: readonly FilterStep[]): [Family, FilterStep[]][] {
  return (['ipv4', 'ipv6'] as const)
    .map((family): [Family, FilterStep[]] => [family, steps.filter((step) => step.family === family)])
    .filter(([, own]) => own.length > 0);
}

function eachTable(
  steps: readonly FilterStep[],
  linesOf: (table: TableName, steps: readonly FilterStep[]) => string[],
): string[] {
  return (['raw', 'mangle', 'nat'] as const).flatMap((table) => {
    const lines = linesOf(
      table,
      steps.filter((step) => step.table === table),
    );
    return lines.length === 0 ? [] : [`*${table}`, ...lines, 'COMMIT'];
  });
}

async function readRules(context: ApplyContext, family: Family): Promise<SavedRules> {
  const program = saveProgram(await context.backend(), family);
  return parseSavedRules(await runOrThrow(context.runner, command(program, [])));
}

async function restore(context: ApplyContext, family: Family, lines: readonly string[]): Promise<void> {
  const program = restoreProgram(await context.backend(), family);
  await runOrThrow(context.runner, command(program, ['--noflush', '--wait=5'], `${lines.join('\n')}\n`));
}
