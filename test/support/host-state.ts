/** What a run may not leave behind on the host: changes of its network, and processes of its own. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

type Commands = Readonly<Record<string, readonly string[]>>;

const network: Commands = {
  links: ['ip', '-o', 'link'],
  addresses: ['ip', '-o', 'address'],
  rules: ['ip', 'rule'],
  routes: ['ip', 'route', 'show', 'table', 'all'],
  namespaces: ['ip', 'netns'],
  iptables: ['iptables-save'],
  sets: ['ipset', 'list'],
  mounts: ['cat', '/proc/self/mounts'],
};

/** What these commands and `also` print, to be compared before and after. Counters and times are left out. */
export function hostState(also: Commands): Record<string, string> {
  return Object.fromEntries(
    Object.entries({ ...network, ...also }).map(([name, [command = '', ...args]]) => {
      const { stdout } = spawnSync(command, args, { encoding: 'utf8' });
      return [name, (stdout ?? '').replace(/^#.*$|\[\d+:\d+\]|_lft \d+sec/gm, '')];
    }),
  );
}

/** All processes that inherited the token in their environment. */
export function processesOf(token: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => environmentOf(pid).includes(token))
    .map(Number);
}

function environmentOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8');
  } catch {
    return ''; // It has ended, or is somebody else's.
  }
}
