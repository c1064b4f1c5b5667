/**
 * `npm run demo`: the article's example on real packets, told and checked. Exit code 0: every check held; 1: one did not,
 * or the mesh could not be built; 2: bad arguments.
 */
import path from 'node:path';
import process from 'node:process';
import { errorText } from '../../base/errors.ts';
import { silentLogger } from '../../base/logger.ts';
import { enterLab } from '../../lab/enter.ts';
import { type LabMesh, startLabMesh } from '../lab-mesh.ts';
import { type DemoArguments, demoHelp, parseDemoArguments } from './arguments.ts';
import { DemoConsole } from './console.ts';
import { keepRunning, launcherVariable, tellNext } from './keep.ts';
import { tellStory } from './story.ts';
import { showViews } from './views.ts';

const examples = path.resolve(import.meta.dirname, '../../../examples/bookinfo');

/** Never rejects. */
export async function runDemo(argv: readonly string[]): Promise<number> {
  const command = parseDemoArguments(argv);
  if (command.kind === 'help') {
    process.stdout.write(demoHelp);
    return 0;
  }
  if (command.kind === 'problems') {
    process.stderr.write(`${command.problems.map((problem) => `demo: ${problem}`).join('\n')}\n`);
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
        `      ${entry.remedy}\n      or see the path by explicit proxying: npm run demo -- --loopback\n`,
    );
    return 1;
  }
  return await runInside(command.arguments, say);
}

async function runInside(given: DemoArguments, say: DemoConsole): Promise<number> {
  // The lab goes with this process, which is the first of its pid namespace: leaving is cleaning up.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      say.line('');
      say.line(`${signal}: leaving; the lab goes with it`);
      process.exit(signal === 'SIGINT' ? 130 : signal === 'SIGTERM' ? 143 : 129);
    });
  }
  try {
    const mesh = await startMesh(given, say);
    return await runStory(mesh, given, say);
  } catch (error) {
    say.line(`demo: ${errorText(error)}`);
    return 1;
  }
}

function startMesh({ preset, verbose }: DemoArguments, say: DemoConsole): Promise<LabMesh> {
  say.heading(
    `Ambit, preset ${preset.name}: ${preset.capture === 'node' ? 'the article’s path' : 'in-pod redirection'}`,
  );
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

async function runStory(mesh: LabMesh, given: DemoArguments, say: DemoConsole): Promise<number> {
  if (given.breaks !== undefined) {
    const name = brokenProgram(mesh, given.breaks);
    await mesh.stop(name, 'SIGTERM');
    say.line(`  ${say.style('yellow', `${name} was ended on purpose`)}`);
  }
  await tellStory(mesh, say);
  if (given.view) await showViews(mesh, say);
  say.line('');
  const { failures, passed } = say;
  if (failures.length === 0) say.line(say.style('green', `All ${passed} checks held.`));
  else {
    say.line(say.style('red', `${failures.length} of ${passed + failures.length} checks failed:`));
    for (const failure of failures) say.line(`  ${failure}`);
  }
  if (given.keep) await keepRunning(mesh, say);
  else {
    tellNext(say);
    await mesh.close();
  }
  return failures.length === 0 ? 0 : 1;
}

/** `waypoint` is the one of productpage; otherwise a program's own name. */
function brokenProgram(mesh: LabMesh, name: string): string {
  return name === 'waypoint' ? (mesh.plan.waypoints[0]?.pod ?? name) : name;
}
