#!/usr/bin/env node
/**
 * Makes a fresh clone runnable, then runs one program of it: `node bin/bootstrap.mjs [--tools SET,…] SCRIPT [ARG ...]`.
 * Plain JavaScript, so that it starts under whatever Node the machine has. In order: a Node that is new enough, system
 * tools, the packages of the lock file, the native addon. A step that is done already is skipped, and one that was cut
 * short is done again. `--only-setup` stops before the script; `--built` builds the programs as they are shipped, and SCRIPT, one
 * of them, is run as that: a mesh of them starts in a quarter of the time.
 */
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { findNode } from './setup/node.mjs';
import { installPackages } from './setup/packages.mjs';
import { endWithNpm, run, runScript, SetupError } from './setup/process.mjs';
import { installTools, searchPath } from './setup/tools.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const usage = 'usage: node bin/bootstrap.mjs [--tools base|interop[,…]] --only-setup | [--built] SCRIPT [ARG ...]';
const programs = path.join(root, '.cache/programs');

endWithNpm();
try {
  const options = readArguments(process.argv.slice(2));
  const node = await findNode(root);
  const env = { ...process.env, PATH: [path.dirname(node), ...searchPath()].join(path.delimiter) };
  await installTools(options.tools, env);
  await installPackages(root, node, env);
  await run(node, [path.join(root, 'native/build.mjs')], { env, cwd: root, quiet: true }, 'build the native addon');
  if (!options.onlySetup) {
    if (options.built) {
      const build = [path.join(root, 'bin/setup/programs.mjs'), programs];
      await run(node, build, { env, cwd: root }, 'build the programs');
    }
    const script = options.built ? path.join(programs, options.script.replace(/\.ts$/, '.js')) : options.script;
    process.exitCode = await runScript(node, path.resolve(root, script), options.rest, env);
  }
} catch (error) {
  // What the file system refuses (a full disk, a folder of somebody else's) is the user's to mend, too.
  if (!(error instanceof SetupError) && error.syscall === undefined) throw error;
  process.stderr.write(`ambit: ${error.message}\n`);
  process.exitCode = error.exitCode ?? 1;
}

function readArguments(argv) {
  const read = { onlySetup: false, built: false, tools: ['base'], script: undefined, rest: [] };
  for (let at = 0; at < argv.length; at++) {
    if (argv[at] === '--only-setup') read.onlySetup = true;
    else if (argv[at] === '--built') read.built = true;
    else if (argv[at] === '--tools') read.tools = (argv[++at] || '').split(',');
    else {
      [read.script, ...read.rest] = argv.slice(at);
      break;
    }
  }
  if (!read.onlySetup && (read.script === undefined || read.script.startsWith('-'))) throw new SetupError(usage, 2);
  return read;
}
