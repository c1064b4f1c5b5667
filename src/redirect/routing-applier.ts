/** Routes in tables of ours and the `ip rule`s that lead to them. Others' routes and rules are neither read as ours nor touched. */
import { AmbitError } from '../base/errors.ts';
import type { ApplyContext } from './context.ts';
import type { Family } from './rule.ts';
import { command, commandError, type Runner, runOrThrow } from './runner.ts';
import type { PolicyRuleStep, RouteStep, RoutingStep } from './step.ts';

interface InstalledRule {
  readonly priority: number;
  readonly src?: string;
  readonly fwmark?: string;
  readonly fwmask?: string;
  readonly table?: string;
  readonly goto?: number;
}

interface InstalledRoute {
  readonly type?: string;
  readonly dst: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly scope?: string;
  readonly prefsrc?: string;
  readonly flags?: readonly string[];
}

interface Routing {
  readonly rules: ReadonlyMap<Family, readonly InstalledRule[]>;
  /** By family and table: `ipv4 100`. */
  readonly routes: ReadonlyMap<string, readonly InstalledRoute[]>;
}

export async function ensureRouting(context: ApplyContext, steps: readonly RoutingStep[]): Promise<number> {
  if (steps.length === 0) return 0;
  const routing = await readRouting(context.runner, steps);
  if (!context.ours) refuseTakenTables(routing, steps);
  const missing = steps.filter((step) => !isPresent(routing, step));
  if (missing.length === 0) return 0;
  context.undo.push(() => withdrawRouting(context, missing).then(() => {}));
  await runBatches(context.runner, missing, addRoutingLine);
  return missing.length;
}

export async function withdrawRouting(context: ApplyContext, steps: readonly RoutingStep[]): Promise<number> {
  if (steps.length === 0) return 0;
  const routing = await readRouting(context.runner, steps);
  const present = steps.toReversed().filter((step) => isPresent(routing, step));
  await runBatches(context.runner, present, deleteLine);
  return present.length;
}

/** The arguments of `ip` (`ip -6`) that make the step so. */
export function addRoutingLine(step: RoutingStep): string {
  return step.kind === 'route' ? `route add ${routeText(step)}` : `rule add ${policyRuleText(step)}`;
}

function deleteLine(step: RoutingStep): string {
  return step.kind === 'route' ? `route del ${routeText(step)}` : `rule del ${policyRuleText(step)}`;
}

function routeText(step: RouteStep): string {
  const to = step.to === 'default' && step.type === 'local' ? (step.family === 'ipv4' ? '0.0.0.0/0' : '::/0') : step.to;
  return [
    ...(step.type === undefined ? [] : [step.type]),
    to,
    ...(step.via === undefined ? [] : ['via', step.via]),
    `dev ${step.device}`,
    ...(step.onlink === undefined ? [] : ['onlink']),
    ...(step.scope === undefined ? [] : ['scope', step.scope]),
    ...(step.source === undefined ? [] : ['src', step.source]),
    `table ${step.table}`,
  ].join(' ');
}

function policyRuleText(step: PolicyRuleStep): string {
  const mark = step.mark === undefined ? '' : ` fwmark ${hex(step.mark.value)}/${hex(step.mark.mask)}`;
  const action = step.action.kind === 'goto' ? `goto ${step.action.priority}` : `lookup ${step.action.table}`;
  return `priority ${step.priority}${mark} ${action}`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

function isPresent(routing: Routing, step: RoutingStep): boolean {
  if (step.kind === 'route') return (routing.routes.get(tableKey(step)) ?? []).some((route) => isRoute(route, step));
  return (routing.rules.get(step.family) ?? []).some((rule) => isRule(rule, step));
}

function isRule(rule: InstalledRule, step: PolicyRuleStep): boolean {
  const mark = step.mark === undefined ? undefined : hex(step.mark.value);
  // The kernel reports a full mask by leaving it out.
  const mask = step.mark === undefined || step.mark.mask === 0xffffffff ? undefined : hex(step.mark.mask);
  const action =
    step.action.kind === 'goto' ? rule.goto === step.action.priority : Number(rule.table) === step.action.table;
  return rule.priority === step.priority && rule.fwmark === mark && rule.fwmask === mask && action;
}

function isRoute(route: InstalledRoute, step: RouteStep): boolean {
  return (
    route.dst === step.to &&
    route.dev === step.device &&
    isLocal(route) === (step.type === 'local') &&
    route.gateway === step.via &&
    route.prefsrc === step.source &&
    (step.scope === undefined || route.scope === linkScope)
  );
}

/** `ip -N` prints numbers for tables, so that names from rt_tables do not matter, and then for types and scopes too. */
const linkScope = '253';
const localType = '2';

function isLocal(route: InstalledRoute): boolean {
  return route.type === localType || route.type === 'local';
}

function tableKey(step: RouteStep): string {
  return `${step.family} ${step.table}`;
}

/** A table in use by somebody else: a route there by a device that our plan does not use in it. */
function refuseTakenTables(routing: Routing, steps: readonly RoutingStep[]): void {
  const routes = steps.filter((step) => step.kind === 'route');
  for (const step of routes) {
    const devices = new Set(routes.filter((other) => tableKey(other) === tableKey(step)).map((other) => other.device));
    const foreign = (routing.routes.get(tableKey(step)) ?? []).find((route) => !devices.has(route.dev ?? ''));
    if (foreign === undefined) continue;
    throw new AmbitError(
      `routing table ${step.table} is in use: it has a route to ${foreign.dst} by ${foreign.dev}. Choose another table number.`,
      { code: 'REDIRECT_TABLE_TAKEN', origin: 'local' },
    );
  }
}

async function readRouting(runner: Runner, steps: readonly RoutingStep[]): Promise<Routing> {
  const rules = new Map<Family, InstalledRule[]>();
  const routes = new Map<string, InstalledRoute[]>();
  for (const step of steps) {
    if (step.kind === 'policy-rule' && !rules.has(step.family)) {
      const text = await runOrThrow(runner, command('ip', [...familyFlag(step.family), '-N', '-json', 'rule', 'show']));
      rules.set(step.family, parseList(text));
    }
    if (step.kind === 'route' && !routes.has(tableKey(step))) routes.set(tableKey(step), await readTable(runner, step));
  }
  return { rules, routes };
}

async function readTable(runner: Runner, { family, table }: RouteStep): Promise<InstalledRoute[]> {
  const wanted = command('ip', [...familyFlag(family), '-N', '-json', 'route', 'show', 'table', String(table)]);
  const result = await runner.run(wanted);
  if (result.status === 0) return parseList(result.stdout);
  if (result.stderr.includes('table does not exist')) return [];
  throw commandError(wanted, result);
}

function parseList<T>(text: string): T[] {
  return text.trim() === '' ? [] : (JSON.parse(text) as T[]);
}

function familyFlag(family: Family): readonly string[] {
  return family === 'ipv6' ? ['-6'] : [];
}

async function runBatches(
  runner: Runner,
  steps: readonly RoutingStep[],
  line: (step: RoutingStep) => string,
): Promise<void> {
  for (const family of ['ipv4', 'ipv6'] as const) {
    const lines = steps.filter((step) => step.family === family).map(line);
    if (lines.length === 0) continue;
    await runOrThrow(runner, command('ip', [...familyFlag(family), '-batch', '-'], `${lines.join('\n')}\n`));
  }
}
