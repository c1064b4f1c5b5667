// Runs a test file's body in a network namespace of its own, and makes further namespaces from there.
// Invariant: the host's namespaces are never touched, and what is made here ends with the process that made it.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { closeFd, openNamespace } from 'node-tproxy-native';
import t, { type Test } from 'tap';

const marker = 'AMBIT_TEST_IN_OWN_NAMESPACE';

// Root needs no user namespace, and a container's root may not have the right to do without.
const ways = [['--net'], ['--user', '--map-root-user', '--net']];

/**
 * Runs `body` in a second process of the test file `url`, in a fresh network namespace with loopback up and all
 * capabilities over it. Skips, with the kernel's words, where that is not allowed.
 */
export async function inOwnNamespace(url: string, body: () => void): Promise<void> {
  if (process.env[marker] === '1') {
    run('ip', 'link', 'set', 'lo', 'up');
    body();
    return;
  }
  const reasons: string[] = [];
  for (const way of ways) {
    const probe = spawnSync('unshare', [...way, 'true'], { encoding: 'utf8' });
    if (probe.status === 0) {
      const command = [...way, process.execPath, fileURLToPath(url)];
      await t.spawn('unshare', command, { env: { ...process.env, [marker]: '1' } }, 'in a namespace of its own');
      return;
    }
    reasons.push(probe.error?.message ?? probe.stderr.trim());
  }
  t.pass('network namespaces', { skip: reasons.join('; ') });
}

/** Runs a command to its end; a failure throws with what it said. */
export function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

export interface Namespace {
  readonly fd: number;
  readonly pid: number;
  /** Runs a command in it. */
  run(command: string, ...args: string[]): void;
}

/** Another network namespace, loopback up, gone at the end of the test. */
export async function createNamespace(t: Test): Promise<Namespace> {
  // cat ends when this process does, and the namespace with it.
  const script = 'ip link set lo up && echo ready && exec cat';
  const holder = spawn('unshare', ['--net', 'sh', '-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  const { pid } = holder;
  if (pid === undefined) throw new Error('unshare did not start');
  const path = `/proc/${pid}/ns/net`;
  const fd = openNamespace(path);
  t.teardown(async () => {
    closeFd(fd);
    holder.stdin.end();
    await once(holder, 'close');
  });
  return { fd, pid, run: (command, ...args) => run('nsenter', `--net=${path}`, command, ...args) };
}
