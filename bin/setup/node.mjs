/**
 * Which Node runs us: $AMBIT_NODE, this one, or one installed from npm into a cache folder; the first that is as new as
 * package.json asks for. An installed Node appears by rename, so that half a Node is never found.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { locked, run, SetupError, say } from './process.mjs';

const installedVersion = '26.10.0';

/** The path of a Node that is new enough; installs one when there is none. */
export async function findNode(root) {
  if (process.platform !== 'linux') throw new SetupError(`Ambit runs on Linux, this is ${process.platform}`);
  const { engines } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
  const oldest = engines.node.replace('>=', '');
  const given = process.env.AMBIT_NODE;
  if (given) {
    const node = probe(given);
    if (node !== undefined && isAsNewAs(node.version, oldest)) return node.path;
    throw new SetupError(`AMBIT_NODE=${given} is ${node?.version ?? 'no Node that runs'}; needs Node >= ${oldest}`);
  }
  if (isAsNewAs(process.version, oldest)) return process.execPath;
  if (!['x64', 'arm64'].includes(process.arch)) {
    const remedy = 'install it, or name one: AMBIT_NODE=/path/to/node';
    throw new SetupError(`needs Node >= ${oldest} (this is ${process.version}); ${remedy}`);
  }
  const cache = cacheFolder(root);
  const folder = path.join(cache, `node-${installedVersion}-${process.arch}`);
  const node = path.join(folder, 'bin/node');
  if (probe(node) === undefined) await locked(`${folder}.lock`, () => install(folder, node, npmSettings(cache)));
  return node;
}

async function install(folder, node, env) {
  if (probe(node) !== undefined) return;
  say(`installing Node ${installedVersion} into ${folder} (this machine's is ${process.version})`);
  const scratch = `${folder}.part`;
  const name = `node-linux-${process.arch}`;
  const purpose = `install Node ${installedVersion} from npm (or name one that is there: AMBIT_NODE=/path/to/node)`;
  // What a run that was killed has left.
  fs.rmSync(scratch, { recursive: true, force: true });
  fs.mkdirSync(scratch, { recursive: true });
  // A project of its own: npm would look for one further up, and --prefix makes it forget the machine's own settings.
  fs.writeFileSync(path.join(scratch, 'package.json'), '{}');
  try {
    const args = ['install', '--no-save', `${name}@${installedVersion}`];
    await run('npm', args, { env: { ...process.env, ...env }, cwd: scratch, quiet: true }, purpose);
    fs.rmSync(folder, { recursive: true, force: true });
    fs.renameSync(path.join(scratch, 'node_modules', name), folder);
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true });
  }
  if (probe(node) === undefined) throw new SetupError(`the Node installed in ${folder} does not run here`);
}

/**
 * Settings of npm: few words, an answer within seconds when there is no network, a cache it can write, and the machine's
 * own settings (proxies, roots), which an npm beside another Node would not find.
 */
export function npmSettings(folder) {
  const { npm_config_cache, npm_config_globalconfig, HOME } = process.env;
  const askNpm = () => spawnSync('npm', ['config', 'get', 'globalconfig'], { encoding: 'utf8' }).stdout?.trim();
  const cache = npm_config_cache || (HOME && path.join(HOME, '.npm'));
  return {
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    npm_config_update_notifier: 'false',
    npm_config_loglevel: 'error',
    npm_config_fetch_retry_mintimeout: '1000',
    npm_config_fetch_retry_maxtimeout: '5000',
    npm_config_globalconfig: npm_config_globalconfig || askNpm() || '',
    npm_config_cache: cache && isWritable(cache) ? cache : path.join(folder, 'npm'),
  };
}

export function cacheFolder(root) {
  const { AMBIT_CACHE_DIR, XDG_CACHE_HOME, HOME } = process.env;
  const home = XDG_CACHE_HOME || (HOME && path.join(HOME, '.cache'));
  // Root's home is closed to others; what root installs is for every user of the machine.
  const common = process.getuid?.() === 0 && !XDG_CACHE_HOME ? '/var/cache/ambit' : undefined;
  const folders = [AMBIT_CACHE_DIR, common, home && path.join(home, 'ambit')];
  return folders.find((folder) => folder && isWritable(folder)) ?? path.join(root, '.cache');
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

/** What a Node says of itself, or undefined when it does not run. */
function probe(node) {
  const { status, stdout } = spawnSync(node, ['-p', 'process.version + " " + process.execPath'], { encoding: 'utf8' });
  if (status !== 0) return undefined;
  const [version, ...words] = stdout.trim().split(' ');
  return { version, path: words.join(' ') };
}

function isAsNewAs(version, oldest) {
  const [major, minor] = version.replace(/^v/, '').split('.').map(Number);
  const [oldestMajor, oldestMinor] = oldest.split('.').map(Number);
  return major > oldestMajor || (major === oldestMajor && minor >= oldestMinor);
}
