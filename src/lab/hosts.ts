/** Names of services in the lab: an /etc/hosts of its own, bound over the machine's in the lab's mount namespace only. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from './command.ts';
import { type LabService, serviceVips } from './topology.ts';

/** The file's text: every form of a service's name that a pod may use; the bare name for the `default` namespace. Pure. */
export function hostsText(services: readonly LabService[]): string {
  const lines = services.flatMap((service) => {
    const { name, namespace } = service;
    const full = [`${name}.${namespace}`, `${name}.${namespace}.svc`, `${name}.${namespace}.svc.cluster.local`];
    const names = [...(namespace === 'default' ? [name] : []), ...full];
    return serviceVips(service).map((vip) => [vip, ...names].join(' '));
  });
  return ['127.0.0.1 localhost', ...lines, ''].join('\n');
}

/** Writes the file and shows it as /etc/hosts. Returns a function that puts the machine's back. */
export async function bindHosts(directory: string, services: readonly LabService[]): Promise<() => Promise<void>> {
  const path = join(directory, 'hosts');
  writeFileSync(path, hostsText(services));
  await mustRun(['mount', '--bind', path, '/etc/hosts']);
  return async () => {
    await mustRun(['umount', '/etc/hosts']);
  };
}

/** Rewrites a file that is already bound. */
export function rewriteHosts(directory: string, services: readonly LabService[]): void {
  writeFileSync(join(directory, 'hosts'), hostsText(services));
}
