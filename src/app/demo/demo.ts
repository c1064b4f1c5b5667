/**
 * `npm run demo`: the article's example on real packets, told and checked. Exit code 0: every check held; 1: one did not,
 * or the mesh could not be built; 2: bad arguments.
 */
import { constants } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { errorCode, errorText } from '../../base/errors.ts';
import { silentLogger } from '../../base/logger.ts';
import { packageFile } from '../../base/own-files.ts';
import { enterLab } from '../../lab/enter.ts';
import { type LabMesh, startLabMesh } from '../lab-mesh.ts';
import { type Breakable, type DemoArguments, demoHelp, parseDemoArguments } from './arguments.ts';
import { DemoConsole } from './console.ts';
import { keepRunning, launcherVariable, tellNext } from './keep.ts';
import { server } from './requests.ts';
import { tellStory, tellTopology } from './story.ts';
import { showViews } from './views.ts';

const examples = packageFile('examples/bookinfo');
const shownErrorLines = 15;
const shownErrorColumns = 400;

/** Never rejects. */
export async function runDemo(argv: readonly string[]): Promise<number> {
  endWithOutput();
  const command = parseDemoArguments(argv);
  if (command.kind === 'help') {
    process.stdout.write(demoHelp);
    return 0;
  }
  if (command.kind === 'problems') {
    const lines = [...command.problems, '--help lists what can be given'];
    process.stderr.write(lines.map((line) => `demo: ${line}\n`).join(''));
    return 2;
  }
  const say = new DemoConsole(process.stdout, process.env);
  if (command.arguments.loopback) {
    const { runLoopbackDemo } = await import('./loopback.ts');
    return await runLoopbackDemo(command.arguments, say);
  }
  process.env[launcherVariable] ??= String(process.pid);
  const entry = await enterLab({ handlesSignals: true });
  if (entry.kind === 'unavailable') {
    process.stderr.write(
      `demo: nothing was intercepted, because no network namespaces can be made here: ${entry.cause}\n` +
        `      remedy: ${entry.remedy}\n      or see the path by explicit proxying: npm run demo -- --loopback\n`,
    );
    return 1;
  }
  return await runInside(command.arguments, say);
}

/** Whoever read us is gone (`| head`, a closed terminal): so are we, without a word. */
function endWithOutput(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error) => process.exit(128 + constants.signals[isPipeGone(error) ? 'SIGPIPE' : 'SIGHUP']));
  }
}

function isPipeGone(error: Error): boolean {
  return errorCode(error) === 'EPIPE';
}

async function runInside(given: DemoArguments, say: DemoConsole): Promise<number> {
  // The lab goes with this process, which is the first of its pid namespace: leaving is cleaning up.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      say.line('');
      say.line(`${signal}: leaving, and the mesh goes with us`);
      process.exit(128 + constants.signals[signal]);
    });
  }
  const startedMs = performance.now();
  let mesh: LabMesh | undefined;
  try {
    mesh = await startMesh(given, say);
    tellTopology(mesh, say, performance.now() - startedMs);
    if (given.breaks !== undefined) await breakProgram(mesh, given.breaks, say);
    await tellStory(mesh, say);
    if (given.view) await showViews(mesh, say);
  } catch (error) {
    say.check(mesh === undefined ? 'the mesh stands' : 'the story comes to its end', false, shortText(error));
  }
  tellVerdict(say, given, performance.now() - startedMs);
  if (mesh !== undefined && given.keep) await keepRunning(mesh, say);
  if (mesh !== undefined) tellNext(say, given);
  return say.failures.length === 0 ? 0 : 1;
}

function startMesh({ preset, verbose }: DemoArguments, say: DemoConsole): Promise<LabMesh> {
  const about = preset.capture === 'node' ? 'the article’s path' : 'today’s path, in-pod redirection';
  say.heading(`Ambit, preset ${preset.name}: ${about}`);
  return startLabMesh({
    preset,
    folder: path.join(examples, preset.name),
    logger: silentLogger,
    onProgress: (text) => say.progress(text),
    onLine: (name, line) => {
      if (verbose) say.line(`${say.style('cyan', name)} ${line}`);
    },
    onUnexpectedExit: (ended) => {
      say.check(`${ended.name} keeps running`, false, ended.lines.slice(-3).join(' ⏎ ') || 'it ended');
    },
  });
}

async function breakProgram(mesh: LabMesh, breaks: Breakable, say: DemoConsole): Promise<void> {
  const service = breaks === 'waypoint' ? server : breaks === 'reviews-waypoint' ? 'reviews' : undefined;
  const waypoint = mesh.plan.waypoints.find(({ gateway }) => service !== undefined && gateway.name.startsWith(service));
  const name = waypoint?.pod ?? breaks;
  await mesh.stop(name, 'SIGKILL');
  say.line('');
  say.line(say.style('yellow', `${name} was ended on purpose: checks must fail now`));
}

function tellVerdict(say: DemoConsole, { breaks }: DemoArguments, tookMs: number): void {
  const { failures, passed } = say;
  const took = say.style('gray', `in ${(tookMs / 1000).toFixed(1)} s`);
  say.line('');
  if (failures.length === 0) {
    say.line(`${say.style('green', `All ${passed} checks held`)} ${took}`);
    return;
  }
  const why = breaks === undefined ? '' : `, since ${breaks} was ended on purpose`;
  say.line(`${say.style('red', `${failures.length} of ${passed + failures.length} checks failed`)} ${took}${why}:`);
  for (const failure of failures) say.line(`  ${say.style('red', '✗')} ${failure}`);
}

/** The head of an error's text: a command's whole input may be in it. */
function shortText(error: unknown): string {
  const lines = errorText(error).split('\n').slice(0, shownErrorLines);
  return lines.map((line) => line.slice(0, shownErrorColumns)).join('\n    ');
}
