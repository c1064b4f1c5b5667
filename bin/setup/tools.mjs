/**
 * System tools that the demo, tests and benchmarks call. Missing ones are installed when we are root on Debian or
 * Ubuntu; otherwise the line to run is printed and we go on: what needs them says so itself.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { run, SetupError, say } from './process.mjs';

/** Command that must exist (`command:module` for a module of Python) → Debian packages that have it. */
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

export async function installTools(sets, env) {
  const unknown = sets.filter((set) => !Object.hasOwn(toolSets, set));
  if (unknown.length > 0) {
    throw new SetupError(`no set of tools ${unknown.join(', ')}; there are ${Object.keys(toolSets).join(', ')}`, 2);
  }
  const wanted = Object.assign({}, ...sets.map((set) => toolSets[set]));
  const missing = Object.keys(wanted).filter((command) => !hasTool(command, env));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.flatMap((command) => wanted[command].split(' ')))];
  const install = ['install', '-y', '--no-install-recommends', ...packages];
  if (process.getuid() === 0 && hasTool('apt-get', env)) {
    say(`installing ${packages.join(', ')}`);
    // A package that brings a server (nginx, haproxy) must not start it.
    const settings = { env: { ...env, DEBIAN_FRONTEND: 'noninteractive', SYSTEMD_OFFLINE: '1' }, quiet: true };
    try {
      await run('apt-get', ['update', '-q'], settings, 'read the package lists');
      await run('apt-get', install, settings, `install ${packages.join(', ')}`);
      return;
    } catch (error) {
      if (!(error instanceof SetupError) || error.exitCode !== 1) throw error;
      say(error.message);
    }
  }
  const names = missing.map((command) => command.split(':')[0]).join(', ');
  say(`missing: ${names}. As root run: apt-get update && apt-get ${install.join(' ')}`);
}

function hasTool(command, env) {
  const [name, module] = command.split(':');
  const found = env.PATH.split(path.delimiter).some((folder) => fs.existsSync(path.join(folder, name)));
  if (!found || module === undefined) return found;
  return spawnSync(name, ['-c', `import ${module}`], { env, stdio: 'ignore' }).status === 0;
}

/** $PATH, and sbin, where system tools live and which an ordinary user's PATH may lack. */
export function searchPath() {
  const folders = (process.env.PATH || '').split(path.delimiter);
  return [...folders, ...['/usr/local/sbin', '/usr/sbin', '/sbin'].filter((folder) => !folders.includes(folder))];
}
