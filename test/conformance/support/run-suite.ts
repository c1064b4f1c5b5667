/** Every folder of a suite as tests: one world a folder, one subtest a case. */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { errorText } from '../../../src/base/errors.ts';
import { eventually } from '../../support/eventually.ts';
import { type ConformanceCase, loadCaseFile, type Step } from './case-file.ts';
import { carryOut, type Observation } from './exchange.ts';
import { differences, logDifferences, shareDifferences } from './judge.ts';
import { startWorld, type World } from './world.ts';

const suites = path.resolve(import.meta.dirname, '..');

/** `name`: the folder under test/conformance. `part`: only these of it. */
export async function runSuite(name: string, part: (folder: string) => boolean = () => true): Promise<void> {
  t.setTimeout(180_000);
  const folders = readdirSync(path.join(suites, name), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && part(entry.name))
    .map((entry) => entry.name)
    .sort();
  t.ok(folders.length > 0, `test/conformance/${name} has folders`);
  for (const folder of folders) await t.test(folder, (t) => runFolder(t, path.join(suites, name, folder)));
}

async function runFolder(t: Test, folder: string): Promise<void> {
  const cases = path.join(folder, 'cases.yaml');
  if (!existsSync(cases)) return void t.fail(`${cases} is missing`);
  const file = loadCaseFile(cases);
  const world = await startWorld(folder, file);
  t.teardown(() => world.close());
  t.same(diagnosed(world), [...new Set(file.diagnostics)].sort(), 'what the objects are told about');
  for (const one of file.cases) {
    await t.test(one.name, async (t) => {
      const problems = await problemsOf(world, one).catch((error: unknown) => [errorText(error)]);
      t.same(problems, [], one.rule ?? file.rule);
    });
  }
}

/** Codes of errors and warnings, each once; a hint is not of interest. */
function diagnosed(world: World): readonly string[] {
  const codes = world.diagnostics.flatMap(({ severity, code }) => (severity === 'info' ? [] : [code]));
  return [...new Set(codes)].sort();
}

/** Everything in which the case went otherwise than expected. */
export async function problemsOf(world: World, one: ConformanceCase): Promise<string[]> {
  const saved = new Map<string, string>();
  const problems: string[] = [];
  for (const [index, step] of one.steps.entries()) {
    const found = await runStep(world, withSaved(step, saved), saved);
    problems.push(...found.map((text) => (one.steps.length > 1 ? `step ${index + 1}: ${text}` : text)));
  }
  return problems;
}

async function runStep(world: World, { request, expect, save }: Step, saved: Map<string, string>): Promise<string[]> {
  const logBefore = world.accessLog.length;
  const seen: Observation[] = [];
  const width = request.concurrent === true ? request.times : Number(request.concurrent || 1);
  for (let left = request.times; left > 0; left -= width)
    seen.push(...(await Promise.all(Array.from({ length: Math.min(width, left) }, () => carryOut(world, request)))));
  // Mirrored requests arrive in their own time; that none comes cannot be waited for.
  if (expect.mirrored !== undefined && expect.mirrored.length > 0) await mirrored(world, seen, expect.mirrored.length);
  const problems = [...new Set(seen.flatMap((one) => differences(expect, one)))];
  if (expect.shares !== undefined) problems.push(...shareDifferences(expect.shares, seen));
  const { log } = expect;
  if (log !== undefined) {
    const found = () => logDifferences(log, world.accessLog.slice(logBefore));
    await eventually('the access log', () => found().length === 0, 1000).catch(() => {});
    problems.push(...found());
  }
  for (const [name, { header, match }] of Object.entries(save)) {
    const value = seen.at(-1)?.headers.find(([other]) => other === header)?.[1] ?? '';
    const taken = new RegExp(match).exec(value)?.[1];
    if (taken === undefined) problems.push(`nothing to save from header ${header}: ${JSON.stringify(value)}`);
    saved.set(name, taken ?? '');
  }
  return problems;
}

async function mirrored(world: World, seen: Observation[], count: number): Promise<void> {
  const [first] = seen;
  if (first === undefined) return;
  const caseId = first.arrivals[0]?.caseId;
  const arrived = () => world.pods.arrivals.filter((one) => one.caseId === caseId);
  await eventually('mirrored requests', () => arrived().length > count, 1000).catch(() => {});
  seen[0] = { ...first, arrivals: arrived() };
}

/** `${NAME}` of what an earlier step saved. */
function withSaved(step: Step, saved: ReadonlyMap<string, string>): Step {
  if (saved.size === 0) return step;
  const { request, expect, ...rest } = step;
  const text = JSON.stringify({ request, expect }).replaceAll(/\$\{(\w+)\}/g, (whole, name: string) =>
    saved.has(name) ? JSON.stringify(saved.get(name)).slice(1, -1) : whole,
  );
  return { ...rest, ...(JSON.parse(text) as Pick<Step, 'request' | 'expect'>) };
}
