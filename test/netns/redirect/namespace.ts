/**
 * A network namespace of the test's own, held by a child that ends with the test: the host's is never touched.
 * I1: the holder reads from a pipe of ours, so it cannot outlive this process however that ends.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Test } from 'tap';
import { createRunner, type Runner } from '../../../src/redirect/runner.ts';

export interface TestNamespace {
  readonly path: string;
  readonly runner: Runner;
  /** Runs words split at blanks; standard output. Throws when the command fails. */
  run(line: string): Promise<string>;
  /** Everything that redirection may change, as text: devices, rules, routes, sets, chains, settings. */
  snapshot(): Promise<string>;
}

/** Undefined, with the test skipped, where namespaces cannot be made. */
export async function makeNamespace(t: Test): Promise<TestNamespace | undefined> {
  const holder = spawn('unshare', ['--net', '--', 'sh', '-c', 'echo ready; exec cat'], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  holder.on('error', () => {});
  holder.stdin.on('error', () => {});
  const exited = once(holder, 'exit');
  const ready = await Promise.race([once(holder.stdout, 'data').then(() => true), exited.then(() => false)]);
  if (!ready || holder.pid === undefined) {
    t.skip(`network namespaces cannot be made here: ${String(holder.stderr.read() ?? '').trim()}`);
    return undefined;
  }
  t.teardown(async () => {
    holder.stdin.end();
    await exited;
  });
  const path = `/proc/${holder.pid}/ns/net`;
  const runner = createRunner({ networkNamespace: path });
  const run = async (line: string): Promise<string> => {
    const [program = '', ...args] = line.split(' ');
    const { status, stdout, stderr } = await runner.run({ program, arguments: args });
    if (status !== 0) throw new Error(`${line}: ${stderr}`);
    return stdout;
  };
  await run('ip link set lo up');
  return { path, runner, run, snapshot: () => snapshot(run) };
}

async function snapshot(run: TestNamespace['run']): Promise<string> {
  const parts = [
    (await run('ip -brief address show')).replaceAll(/@if\d+|fe80::\S+/g, ''),
    await run('ip rule show'),
    await run('ip -6 rule show'),
    (await run('ip -4 route show table all')).replaceAll(' linkdown', ''),
    await run('ip -6 route show table all type local'),
    (await run('ipset save')).replaceAll(/ initval \S+/g, ''),
    withoutNoise(await run('iptables-save')),
    withoutNoise(await run('ip6tables-save')),
    await run('grep -r . /proc/sys/net/ipv4/conf --include=rp_filter --include=accept_local'),
    await run('cat /proc/sys/net/ipv4/ip_forward'),
  ];
  return parts.join('\n---\n');
}

/** Built-in tables and chains stay once they were used; counters and times differ. */
function withoutNoise(saved: string): string {
  const tables = saved.split('\nCOMMIT').map((table) =>
    table
      .split('\n')
      .filter((line) => !line.startsWith('#') && line !== '')
      .map((line) => line.replace(/ \[\d+:\d+\]$/, '')),
  );
  const isBuiltIn = (line: string) => line.startsWith('*') || / (ACCEPT|DROP)$/.test(line);
  return tables
    .filter((lines) => !lines.every(isBuiltIn))
    .map((lines) => lines.join('\n'))
    .sort()
    .join('\n');
}
