/** Which services a host means: of a VirtualService, and of a backend that is one. A short name is of the namespace of who says it. */
import type { Inputs } from './inputs.ts';
import { type CompileOptions, serviceHostname, specHostname } from './options.ts';
import type { ServiceSpec } from './service.ts';

/** A leading `*` stands for any beginning. */
export function servicesOfHost(
  host: string,
  namespace: string,
  inputs: Inputs,
  options: CompileOptions,
): readonly ServiceSpec[] {
  if (!host.includes('*')) {
    const [name = '', owner = namespace] = host.split('.');
    const service = inputs.services.get(`${owner}/${name}`);
    const full = !host.includes('.') || (service && serviceHostname(owner, name, options) === host);
    return service !== undefined && full === true ? [service] : entriesOfHost(host, namespace, inputs);
  }
  return [...inputs.services.values()].filter((service) => {
    const hostname = specHostname(service, options);
    return host.startsWith('*') && hostname.endsWith(host.slice(1));
  });
}

/** By full name: a Service of the cluster, else an entry's host. */
export function serviceOfHostname(
  hostname: string,
  namespace: string,
  inputs: Inputs,
  options: CompileOptions,
): ServiceSpec | undefined {
  const [name = '', owner = namespace] = hostname.split('.');
  const service = inputs.services.get(`${owner}/${name}`);
  if (service !== undefined && specHostname(service, options) === hostname) return service;
  return entriesOfHost(hostname, namespace, inputs)[0];
}

/** Those of the own namespace, else those that everybody may see. Nobody's entry takes the name of a Service of the cluster. */
function entriesOfHost(host: string, namespace: string, inputs: Inputs): readonly ServiceSpec[] {
  const entries = inputs.servicesByEntryHost.get(host.toLowerCase()) ?? [];
  const own = entries.filter((service) => service.namespace === namespace);
  return own.length > 0 ? own : entries.filter(({ entry }) => entry?.spec.visibility === 'public');
}
