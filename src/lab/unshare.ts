/**
 * Which `unshare` makes the lab's namespaces on this machine, or why none does and the one line that would mend it.
 *
 * Ways are tried, not guessed: root needs no user namespace but may lack CAP_SYS_ADMIN in a container; a container may
 * forbid a fresh /proc. Only when all fail are the machine's settings read to name the cause.
 */
import { existsSync, readFileSync } from 'node:fs';
import { runCommand } from './command.ts';

export type UnshareWay =
  | { readonly kind: 'available'; readonly flags: readonly string[]; readonly user: boolean }
  | { readonly kind: 'unavailable'; readonly cause: string; readonly remedy: string };

/** What the machine says about namespaces; read by `readNamespaceFacts`. */
export interface NamespaceFacts {
  readonly root: boolean;
  readonly error: string;
  readonly maxUserNamespaces: string | undefined;
  readonly unprivilegedClone: string | undefined;
  readonly apparmorRestricts: string | undefined;
  readonly container: boolean;
}

const common = ['--mount', '--net', '--pid', '--fork', '--kill-child'];

/** Finds the first way that works for this user. Changes nothing: each trial runs `true` and ends. */
export async function findUnshare(root = process.getuid?.() === 0): Promise<UnshareWay> {
  const withUser = ['--user', '--map-root-user', ...common];
  const bases = root ? [common, withUser] : [withUser];
  let firstError = '';
  for (const flags of bases.flatMap((base) => [[...base, '--mount-proc'], base])) {
    const outcome = await runCommand(['setpriv', '--pdeathsig', 'KILL', 'unshare', ...flags, 'true']);
    if (outcome.ok) return { kind: 'available', flags, user: flags.includes('--user') };
    firstError ||= outcome.reason;
  }
  return { kind: 'unavailable', ...diagnoseNamespaces(readNamespaceFacts(root, firstError)) };
}

/** Names the cause and its one-line remedy. Pure. */
export function diagnoseNamespaces(facts: NamespaceFacts): { cause: string; remedy: string } {
  if (facts.error.includes('ENOENT')) {
    return {
      cause: 'setpriv or unshare is not installed',
      remedy: 'apt-get install util-linux (or your system’s package)',
    };
  }
  if (!facts.root && facts.unprivilegedClone === '0') {
    return {
      cause: 'this kernel forbids user namespaces to ordinary users (kernel.unprivileged_userns_clone=0)',
      remedy: 'sudo sysctl -w kernel.unprivileged_userns_clone=1',
    };
  }
  if (facts.maxUserNamespaces === '0') {
    return {
      cause: 'user namespaces are switched off (user.max_user_namespaces=0)',
      remedy: 'sudo sysctl -w user.max_user_namespaces=15000',
    };
  }
  if (!facts.root && facts.apparmorRestricts === '1') {
    return {
      cause: 'AppArmor restricts user namespaces (Ubuntu 23.10 and later)',
      remedy: 'sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0',
    };
  }
  if (facts.container) {
    return {
      cause: `this container may not make namespaces (${facts.error})`,
      remedy: 'start the container with --privileged',
    };
  }
  return { cause: `namespaces cannot be made here (${facts.error})`, remedy: 'run as root, on Linux 5.11 or later' };
}

function readNamespaceFacts(root: boolean, error: string): NamespaceFacts {
  return {
    root,
    error,
    maxUserNamespaces: readSetting('/proc/sys/user/max_user_namespaces'),
    unprivilegedClone: readSetting('/proc/sys/kernel/unprivileged_userns_clone'),
    apparmorRestricts: readSetting('/proc/sys/kernel/apparmor_restrict_unprivileged_userns'),
    container: existsSync('/.dockerenv') || existsSync('/run/.containerenv'),
  };
}

/** A setting this kernel does not have is undefined. */
function readSetting(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
}
