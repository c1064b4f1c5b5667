#!/usr/bin/env node
/**
 * Makes a fresh clone runnable, then runs one program of it: `node bin/bootstrap.mjs [--tools LIST] SCRIPT [ARG ...]`.
 * Plain JavaScript, so that it starts under whatever Node the machine has. In order: a Node that is new enough (this one,
 * $AMBIT_NODE, or one installed from npm into a cache folder), system tools (with apt when root), the packages of the
 * lock file, the native addon. Every step is skipped when it is done already. `--only-setup` stops before the script.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const nodeVersion = '26.10.0';
const oldestNode = [26, 9];
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

/** Command that must exist → Debian package that has it. */
const toolSets = {
  base: { cc: 'gcc libc6-dev', ip: 'iproute2', iptables: 'iptables', ipset: 'ipset', unshare: 'util-linux' },
  interop: {
    curl: 'curl',
    nginx: 'nginx-light',
    h2load: 'nghttp2-client',
    haproxy: 'haproxy',
    iperf3: 'iperf3',
    wrk: 'wrk',
    'python3:ensurepip': 'python3-venv',
  },
};

/** A cause the user can mend; shown without a stack. */
class SetupError extends Error {}

const options = readArguments(process.argv.slice(2));
watchParent();
try {
  const node = findNode();
  const env = { ...process.env, PATH: [path.dirname(node), ...searchPath()].join(path.delimiter) };
  installTools(options.tools, env);
  installPackages(node, env);
  run(node, [path.join(root, 'native/build.mjs'), '--quiet'], env, 'build the native addon');
  if (!options.onlySetup) runScript(node, env);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`ambit: ${error.message}\n`);
  process.exit(1);
}

function readArguments(argv) {
  const read = { onlySetup: false, tools: ['base'], script: undefined, rest: [] };
  while (argv.length > 0) {
    const word = argv.shift();
    if (word === '--only-setup') read.onlySetup = true;
    else if (word === '--tools') read.tools = (argv.shift() || '').split(',').filter((set) => set in toolSets);
    else {
      read.script = word;
      read.rest = argv;
      return read;
    }
  }
  return read;
}

/** The path of a Node that is new enough; installs one when there is none. */
function findNode() {
  if (isNewEnough(process.versions.node)) return process.execPath;
  const given = process.env.AMBIT_NODE;
  if (given !== undefined && isNewEnough(versionOf(given))) return fs.realpathSync(given);
  const directory = path.join(cacheFolder(), `node-${nodeVersion}-${process.arch}`);
  const node = path.join(directory, 'bin/node');
  if (isNewEnough(versionOf(node))) return node;
  return installNode(directory, node);
}

function installNode(directory, node) {
  const name = `node-linux-${process.arch}`;
  if (os.platform() !== 'linux' || !['x64', 'arm64'].includes(process.arch)) {
    throw new SetupError(
      `needs Node >= ${oldestNode.join('.')} (this is ${process.version}); install it, or name one: AMBIT_NODE=/path/to/node`,
    );
  }
  say(`installing Node ${nodeVersion} into ${directory} (this machine's is ${process.version})`);
  fs.mkdirSync(path.dirname(directory), { recursive: true });
  // Into a folder of our own first: another run may be doing the same, and half a Node must never be found.
  const scratch = fs.mkdtempSync(`${directory}.`);
  try {
    const args = ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error', '--prefix', scratch];
    run('npm', [...args, `${name}@${nodeVersion}`], process.env, `install Node ${nodeVersion} from npm`, scratch);
    try {
      fs.renameSync(path.join(scratch, 'node_modules', name), directory);
    } catch (error) {
      if (!isNewEnough(versionOf(node))) throw error;
    }
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true });
  }
  if (!isNewEnough(versionOf(node))) throw new SetupError(`the Node installed in ${directory} does not run here`);
  return node;
}

function cacheFolder() {
  const { AMBIT_CACHE_DIR, XDG_CACHE_HOME, HOME } = process.env;
  const home = XDG_CACHE_HOME || (HOME ? path.join(HOME, '.cache') : undefined);
  for (const folder of [AMBIT_CACHE_DIR, home && path.join(home, 'ambit')]) {
    if (folder && isWritable(folder)) return folder;
  }
  return path.join(root, '.cache');
}

function isWritable(folder) {
  try {
    fs.mkdirSync(folder, { recursive: true });
    fs.accessSync(folder, fs.constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function isNewEnough(version) {
  const [major, minor] = (version || '0.0').replace(/^v/, '').split('.').map(Number);
  return major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1]);
}

function versionOf(node) {
  const result = spawnSync(node, ['--version'], { encoding: 'utf8' });
  return result.status === 0 ? result.stdout.trim() : undefined;
}

/** Missing system tools: installed when we are root on Debian; otherwise told with the line to run, and we go on. */
function installTools(sets, env) {
  const wanted = Object.assign({}, ...sets.map((set) => toolSets[set]));
  const missing = Object.keys(wanted).filter((command) => !hasTool(command, env));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.flatMap((command) => wanted[command].split(' ')))];
  const line = `apt-get update && apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  if (process.getuid() === 0 && hasTool('apt-get', env)) {
    say(`installing ${packages.join(', ')}`);
    const aptEnv = { ...env, DEBIAN_FRONTEND: 'noninteractive' };
    const output = spawnSync('sh', ['-c', line], { env: aptEnv, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    if (output.status === 0) return;
    say(`could not install them: ${output.stderr.trim().split('\n').slice(-3).join(' ')}`);
  }
  say(`missing: ${missing.map((command) => command.split(':')[0]).join(', ')}. As root run: ${line}`);
}

function hasTool(command, env) {
  const [name, module] = command.split(':');
  const found = env.PATH.split(path.delimiter).some((folder) => fs.existsSync(path.join(folder, name)));
  if (!found || module === undefined) return found;
  return spawnSync(name, ['-c', `import ${module}`], { env, stdio: 'ignore' }).status === 0;
}

/** `npm ci` under the right Node, when the lock file has changed since the last time. */
function installPackages(node, env) {
  const lock = fs.readFileSync(path.join(root, 'package-lock.json'));
  const wanted = `${createHash('sha256').update(lock).digest('hex')} ${process.arch}`;
  const stamp = path.join(root, 'node_modules/.ambit-setup');
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === wanted) return;
  say('installing packages');
  const npm = path.join(path.dirname(node), 'npm');
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  run(fs.existsSync(npm) ? npm : 'npm', args, env, 'install packages (npm ci)');
  fs.writeFileSync(stamp, wanted);
}

function run(command, args, env, purpose, cwd = root) {
  const result = spawnSync(command, args, { cwd, env, stdio: ['ignore', 'inherit', 'inherit'] });
  if (result.error) throw new SetupError(`cannot ${purpose}: ${result.error.message}`);
  if (result.signal) throw new SetupError(`cannot ${purpose}: ended by ${result.signal}`);
  if (result.status !== 0) throw new SetupError(`cannot ${purpose}: exit code ${result.status}, see above`);
}

/** Runs the script in our place: its exit code is ours, a terminal's Ctrl-C reaches it directly, other signals by us. */
function runScript(node, env) {
  const args = ['--disable-sigusr1', '--disable-warning=ExperimentalWarning', path.resolve(root, options.script)];
  // Whatever kills us, even with -9, ends the script as well: the kernel sees to it.
  const tied = hasTool('setpriv', env) ? ['setpriv', '--pdeathsig', 'KILL', node] : [node];
  const child = spawn(tied[0], [...tied.slice(1), ...args, ...options.rest], { env, stdio: 'inherit' });
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  process.on('exit', () => child.kill('SIGKILL'));
  child.on('error', (error) => {
    process.stderr.write(`ambit: cannot start ${options.script}: ${error.message}\n`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => process.exit(code ?? 128 + os.constants.signals[signal]));
}

/** When npm, or whoever started us, is killed so that it can tell nobody, we leave too and take the script with us. */
function watchParent() {
  const ancestors = [process.ppid];
  try {
    const stat = fs.readFileSync(`/proc/${process.ppid}/stat`, 'utf8');
    const grandparent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    const command = fs.readFileSync(`/proc/${grandparent}/cmdline`, 'utf8');
    if (/npm/.test(command)) ancestors.push(grandparent);
  } catch {
    // No /proc to ask: the direct parent alone is watched.
  }
  setInterval(() => {
    if (process.ppid !== ancestors[0] || !ancestors.every(isAlive)) process.exit(137);
  }, 200).unref();
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function searchPath() {
  const folders = (process.env.PATH || '').split(path.delimiter);
  // System tools live in sbin, which an ordinary user's PATH may lack.
  return [...folders, ...['/usr/local/sbin', '/usr/sbin', '/sbin'].filter((folder) => !folders.includes(folder))];
}

function say(text) {
  process.stderr.write(`ambit: ${text}\n`);
}
