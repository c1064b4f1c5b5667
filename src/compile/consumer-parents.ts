/**
 * Whose route a route is at each of its parents (GEP-1426). A producer route is of the Service's namespace, or of its waypoint's;
 * what hangs on any other is not for a waypoint to run or to count for: its author has no say there.
 */
import type { Bindings } from './bindings.ts';
import type { ParentSpec } from './http-route.ts';
import type { Inputs } from './inputs.ts';
import type { ServiceSpec } from './service.ts';

export function isProducer(namespace: string, service: ServiceSpec, bindings: Bindings): boolean {
  return namespace === service.namespace || namespace === bindings.services.get(service)?.gateway?.namespace;
}

export function servicesOfParent({ kind, namespace, name }: ParentSpec, inputs: Inputs): readonly ServiceSpec[] {
  if (kind === 'ServiceEntry') return inputs.entryHosts.get(`${namespace}/${name}`) ?? [];
  const service = inputs.services.get(`${namespace}/${name}`);
  return service === undefined ? [] : [service];
}

/** A Service for which the route is a consumer's; undefined: there is none. */
export function consumedService(
  namespace: string,
  parents: readonly ParentSpec[],
  { inputs, bindings }: { readonly inputs: Inputs; readonly bindings: Bindings },
): ServiceSpec | undefined {
  return parents
    .flatMap((parent) => servicesOfParent(parent, inputs))
    .find((service) => !isProducer(namespace, service, bindings));
}
