/**
 * Network namespaces pinned as files of the lab's private directory, and commands run inside one.
 *
 * A bind mount holds a namespace without a process in it. `ip netns` is not used: it wants to mount /sys, which fails
 * in containers. `ip link … netns` takes the file's path, because the path contains a slash.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from './command.ts';

export interface LabNamespace {
  /** Unique in its lab: a node's, a pod's or a ztunnel's name. */
  readonly name: string;
  /** The file that is the namespace; open it to get a descriptor for setns. */
  readonly path: string;
}

/** Makes an empty namespace with its loopback up. `releaseNamespace` lets it go, as does the end of the lab. */
export async function createNamespace(directory: string, name: string): Promise<LabNamespace> {
  const path = join(directory, name);
  writeFileSync(path, '', { flag: 'wx' });
  await mustRun(['unshare', '--net', 'mount', '--bind', '/proc/self/ns/net', path]);
  const namespace = { name, path };
  await runIp(namespace, ['link set lo up']);
  return namespace;
}

/** Unpins a namespace; the kernel removes it and its devices once no process or socket is left in it. */
export async function releaseNamespace(namespace: LabNamespace): Promise<void> {
  await mustRun(['umount', namespace.path]);
  await mustRun(['rm', namespace.path]);
}

/** The command line that runs `argv` in a namespace: same process, no fork. */
export function inNamespace(namespace: LabNamespace, argv: readonly string[]): [string, ...string[]] {
  return ['nsenter', `--net=${namespace.path}`, '--', ...argv];
}

/** Runs lines of `ip -batch` (without the leading `ip`) in a namespace. */
export async function runIp(namespace: LabNamespace, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  await mustRun(inNamespace(namespace, ['ip', '-batch', '-']), { stdin: `${lines.join('\n')}\n` });
}

/** Sets sysctls (`net.ipv4.ip_forward`) of a namespace. */
export async function setSysctls(namespace: LabNamespace, values: Readonly<Record<string, string>>): Promise<void> {
  const lines = Object.entries(values).map(([key, value]) => `echo ${value} > /proc/sys/${key.replaceAll('.', '/')}\n`);
  await mustRun(inNamespace(namespace, ['sh', '-e']), { stdin: lines.join('') });
}
