/** Whether anybody listens on a TCP port of a namespace, as the kernel's own table says: no connection is made for it. */
import { runCommand } from './command.ts';
import { inNamespace, type LabNamespace } from './namespace.ts';

const listenState = '0A';

export async function isListening(namespace: LabNamespace, port: number): Promise<boolean> {
  const outcome = await runCommand(inNamespace(namespace, ['cat', '/proc/net/tcp', '/proc/net/tcp6']));
  return listeningPorts(outcome.stdout).has(port);
}

/** Ports in state LISTEN of /proc/net/tcp or tcp6 (proc_net_tcp): `sl local_address rem_address st …`. Pure. */
export function listeningPorts(table: string): ReadonlySet<number> {
  const ports = new Set<number>();
  for (const line of table.split('\n')) {
    const [, local = '', , state] = line.trim().split(/\s+/);
    if (state === listenState) ports.add(Number.parseInt(local.slice(local.lastIndexOf(':') + 1), 16));
  }
  return ports;
}
