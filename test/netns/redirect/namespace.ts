/**
 * A network namespace of the test's own, held by a child that ends with the test: the host's is never touched.
 * I1: the holder reads from a pipe of ours, so it cannot outlive this process however that ends.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { silentLogger } from '../../../src/base/logger.ts';
import type { BackendChoice } from '../../../src/redirect/iptables-backend.ts';
import { createRedirection, type Redirection } from '../../../src/redirect/redirection.ts';
import { createRunner, type Runner } from '../../../src/redirect/runner.ts';
import { createFileStateStore, networkNamespaceId, type StateStore } from '../../../src/redirect/state-store.ts';

/** Why tests that need namespaces are skipped; false where they can be made. */
export const withoutNamespaces: string | false = whyNoNamespaces();

export interface TestNamespace {
  readonly path: string;
  readonly runner: Runner;
  readonly store: StateStore;
  readonly stateDirectory: string;
  readonly redirection: Redirection;
  /** A redirection of the same place and record whose commands go through `runner`. */
  redirectionBy(runner: Runner, iptables?: BackendChoice): Redirection;
  /** Runs words split at blanks; standard output. Throws when the command fails. */
  run(line: string, input?: string): Promise<string>;
  /** Everything that redirection may change, as text: devices, rules, routes, sets, chains, settings. */
  snapshot(): Promise<string>;
}

/**
 * A node as the programs find it: veth pairs of ztunnel (`vethza`), sleep (`vethsl`) and productpage (`vethpp`), and `eth0`;
 * settings that only a true restoration brings back; and another agent's rules, with a mark of its own.
 */
export async function makeNode(t: Test): Promise<TestNamespace> {
  const holder = spawn('unshare', ['--net', '--', 'sh', '-c', 'echo ready; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(holder, 'exit');
  holder.stdin.on('error', () => {});
  await once(holder.stdout, 'data');
  const stateDirectory = await mkdtemp(join(tmpdir(), 'ambit-redirect-'));
  t.teardown(async () => {
    holder.stdin.end();
    await exited;
    await rm(stateDirectory, { recursive: true });
  });
  const path = `/proc/${holder.pid}/ns/net`;
  const runner = createRunner({ networkNamespace: path });
  const run = async (line: string, input = ''): Promise<string> => {
    const [program = '', ...args] = line.split(' ');
    const { status, stdout, stderr } = await runner.run({ program, arguments: args, input });
    if (status !== 0) throw new Error(`${line}: ${stderr}`);
    return stdout;
  };
  await run('ip -batch -', nodeDevices);
  await run('sysctl -qw net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.vethsl.rp_filter=1');
  await run('iptables-restore --noflush', otherAgent);
  const store = createFileStateStore(stateDirectory, await networkNamespaceId(path));
  const redirectionBy = (by: Runner, iptables: BackendChoice = 'auto') =>
    createRedirection({ runner: by, store, iptables, logger: silentLogger });
  return {
    path,
    runner,
    store,
    stateDirectory,
    redirection: redirectionBy(runner),
    redirectionBy,
    run,
    snapshot: () => snapshot(run),
  };
}

const nodeDevices = `link set lo up
${['vethza ztpeer', 'vethsl slpeer', 'vethpp pppeer', 'eth0 peer0']
  .map((pair) => pair.split(' '))
  .map(([one, other]) => `link add ${one} type veth peer name ${other}\nlink set ${one} up\nlink set ${other} up\n`)
  .join('')}address add 10.244.1.1/32 dev vethza
`;

const otherAgent = `*mangle
:OTHER-MARK - [0:0]
-A PREROUTING -j OTHER-MARK
-A OTHER-MARK -p tcp -j MARK --set-xmark 0x4000/0x4000
COMMIT
*nat
:KUBE-SERVICES - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.179.71/32 -p tcp -m tcp --dport 9080 -j DNAT --to-destination 10.244.2.5:9080
COMMIT
`;

function whyNoNamespaces(): string | false {
  const { status, stderr, error } = spawnSync('unshare', ['--net', 'true'], { encoding: 'utf8' });
  return status === 0 ? false : `network namespaces cannot be made here: ${error?.message ?? stderr.trim()}`;
}

async function snapshot(run: TestNamespace['run']): Promise<string> {
  const parts = [
    devicesText(await run('ip -json address show')),
    await run('ip rule show'),
    await run('ip -6 rule show'),
    (await run('ip -4 route show table all')).replaceAll(' linkdown', ''),
    (await run('ip -6 route show table all type local')).replaceAll(/^local fe80.*\n/gm, ''),
    (await run('ipset save'))
      .replaceAll(/ initval \S+/g, '')
      .split('\n')
      .sort()
      .join('\n'),
    withoutNoise(await run('iptables-save')),
    withoutNoise(await run('ip6tables-save')),
    await run('grep -r . /proc/sys/net/ipv4/conf --include=rp_filter --include=accept_local'),
    await run('cat /proc/sys/net/ipv4/ip_forward'),
  ];
  return parts.map((part) => part.replaceAll(/ +$/gm, '').trim()).join('\n---\n');
}

/** Whether up by will, not by carrier, and without link-local addresses: those come when the kernel gets round to it. */
function devicesText(json: string): string {
  const devices = JSON.parse(json) as {
    ifname: string;
    flags: string[];
    addr_info: { local: string; scope: string }[];
  }[];
  return devices
    .map(({ ifname, flags, addr_info: addresses }) => {
      const lasting = addresses.filter(({ scope }) => scope !== 'link').map(({ local }) => local);
      return [ifname, flags.includes('UP') ? 'up' : 'down', ...lasting].join(' ');
    })
    .join('\n');
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
