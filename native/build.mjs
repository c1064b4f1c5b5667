// Builds the addon with the C compiler alone: node native/build.mjs [--asan] [--force]
// CC picks the compiler, AMBIT_NODE_INCLUDE the folder with node_api.h. An output whose inputs have not changed is kept;
// a new one appears by rename, so a reader or a second build beside this one never sees half a file.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const sourceFolder = join(here, 'src');
const outputFolder = join(here, 'build');

const baseFlags = [
  '-std=gnu11',
  '-D_GNU_SOURCE',
  '-DNAPI_VERSION=8',
  '-DBUILDING_NODE_EXTENSION',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-g',
  '-fPIC',
  '-shared',
  '-fvisibility=hidden',
  '-Wl,-z,relro,-z,now',
];
const releaseFlags = ['-O2', '-fstack-protector-strong', '-U_FORTIFY_SOURCE', '-D_FORTIFY_SOURCE=2'];
const sanitizerFlags = ['-O1', '-fno-omit-frame-pointer', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];

/** A cause the user can mend; shown without a stack. */
class BuildError extends Error {}

/** The compiler's command line as words: CC may carry arguments ("ccache gcc"). */
export function compilerCommand() {
  return (process.env.CC || 'cc').trim().split(/\s+/);
}

/**
 * Builds unless up to date. Returns the addon's path and whether it was compiled now.
 * @param {{ sanitize?: boolean, force?: boolean }} [options]
 */
export function build({ sanitize = false, force = false } = {}) {
  if (process.platform !== 'linux')
    throw new BuildError(`node-tproxy-native is for Linux, this is ${process.platform}`);
  const include = findHeaders();
  const compiler = compilerCommand();
  const version = compilerVersion(compiler);
  const flags = [...baseFlags, ...(sanitize ? sanitizerFlags : releaseFlags), '-isystem', include];
  const output = join(outputFolder, `node-tproxy-native${sanitize ? '.asan' : ''}.node`);
  const stamp = `${output}.hash`;

  const files = readdirSync(sourceFolder)
    .sort()
    .map((name) => join(sourceFolder, name));
  const hash = createHash('sha256').update(JSON.stringify([version, flags, process.arch]));
  for (const file of [...files, join(include, 'node_version.h')]) hash.update(`\0${file}\0`).update(readFileSync(file));
  const digest = hash.digest('hex');
  if (!force && existsSync(output) && existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) {
    return { output, compiled: false };
  }

  mkdirSync(outputFolder, { recursive: true });
  const sources = files.filter((file) => file.endsWith('.c'));
  writeByRename(output, (temporary) => compile(compiler, [...flags, '-o', temporary, ...sources]));
  writeByRename(stamp, (temporary) => writeFileSync(temporary, digest));
  return { output, compiled: true };
}

function findHeaders() {
  const include = process.env.AMBIT_NODE_INCLUDE || join(dirname(process.execPath), '..', 'include', 'node');
  for (const header of ['node_api.h', 'uv.h', 'node_version.h']) {
    if (existsSync(join(include, header))) continue;
    throw new BuildError(
      `no ${header} in ${include}: install Node's headers, or name their folder in AMBIT_NODE_INCLUDE`,
    );
  }
  return include;
}

function compilerVersion([command, ...words]) {
  const { error, status, stdout, stderr } = spawnSync(command, [...words, '--version'], { encoding: 'utf8' });
  if (error) throw new BuildError(`no C compiler: ${command}: ${error.message}; install gcc and libc6-dev, or set CC`);
  if (status !== 0) throw new BuildError(`${command} --version failed:\n${stderr}`);
  return stdout;
}

function compile([command, ...words], args) {
  const { error, status, stderr } = spawnSync(command, [...words, ...args, '-lm'], { encoding: 'utf8' });
  if (error) throw new BuildError(`${command}: ${error.message}`);
  if (status !== 0) throw new BuildError(`${command} failed:\n${stderr}`);
}

function writeByRename(path, write) {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    write(temporary);
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const options = process.argv.slice(2);
    const unknown = options.find((option) => option !== '--asan' && option !== '--force');
    if (unknown !== undefined) throw new BuildError(`unknown option ${unknown}; usage: build.mjs [--asan] [--force]`);
    const { output, compiled } = build({ sanitize: options.includes('--asan'), force: options.includes('--force') });
    console.log(`${compiled ? 'built' : 'up to date'} ${output}`);
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
