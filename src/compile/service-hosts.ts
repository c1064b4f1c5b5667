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
    const entries = inputs.servicesByEntryHost.get(host.toLowerCase());
    if (entries !== undefined) {
      // Of several that claim the name, those that its own namespace or everybody may see.
      return entries.filter(
        (service) => service.namespace === namespace || service.entry?.spec.visibility === 'public',
      );
    }
    const [name = '', owner = namespace] = host.split('.');
    const service = inputs.services.get(`${owner}/${name}`);
    const full = !host.includes('.') || (service && serviceHostname(owner, name, options) === host);
    return service !== undefined && full === true ? [service] : [];
  }
  return [...inputs.services.values()].filter((service) => {
    const hostname = specHostname(service, options);
    return host.startsWith('*') && hostname.endsWith(host.slice(1));
  });
}

/** By full name: the entry of the own namespace, then the first that everybody sees, or a Service of the cluster. */
export function serviceOfHostname(
  hostname: string,
  namespace: string,
  inputs: Inputs,
  options: CompileOptions,
): ServiceSpec | undefined {
  const entries = inputs.servicesByEntryHost.get(hostname) ?? [];
  const visible = entries.filter(({ entry, namespace: home }) => {
    return home === namespace || entry?.spec.visibility === 'public';
  });
  const own = visible.find((service) => service.namespace === namespace) ?? visible[0];
  if (own !== undefined) return own;
  const [name = '', owner = namespace] = hostname.split('.');
  const service = inputs.services.get(`${owner}/${name}`);
  return service !== undefined && specHostname(service, options) === hostname ? service : undefined;
}
