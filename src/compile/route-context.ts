/** What all kinds of routes share when they are put together: their parents, their backends, and reports about both. */
import type { Diagnostic } from '../base/diagnostics.ts';
import type { Destinations } from '../route/destination.ts';
import type { RouteBackend } from '../route/model.ts';
import type { Bindings } from './bindings.ts';
import type { BackendSpec, ParentSpec } from './http-route.ts';
import type { Inputs } from './inputs.ts';
import { type ConfigObject, diagnose, type Path } from './object.ts';
import { type CompileOptions, specHostname, specKey } from './options.ts';
import type { ServiceSpec } from './service.ts';
import type { ServicePortSpec } from './service-port.ts';
import type { DestinationSpec } from './virtual-service.ts';

/** What putting routes together needs, and where it says what is wrong. */
export interface RouteContext {
  readonly inputs: Inputs;
  readonly bindings: Bindings;
  readonly destinations: Destinations;
  readonly options: CompileOptions;
  readonly diagnostics: Diagnostic[];
  readonly reported: Set<BackendSpec | DestinationSpec>;
}

export interface ParentPort {
  readonly service: ServiceSpec;
  readonly port: ServicePortSpec;
  /** Of the reference. */
  readonly path: Path;
}

/** The ports of the Services that a route may be attached to. */
export function portsOfParents(
  spec: { readonly object: ConfigObject; readonly parents: readonly ParentSpec[] },
  context: RouteContext,
): readonly ParentPort[] {
  const { inputs, diagnostics } = context;
  return spec.parents.flatMap((parent): ParentPort[] => {
    const name = `${parent.namespace}/${parent.name}`;
    const kind = parent.kind ?? 'Service';
    const services = kind === 'Service' ? oneOrNone(inputs.services.get(name)) : (inputs.entryHosts.get(name) ?? []);
    if (services.length === 0) {
      const message = `there is no ${kind} ${name}`;
      diagnostics.push(diagnose(spec.object, 'ROUTE_UNKNOWN_PARENT', message, parent.path));
    }
    return services.flatMap((service) => {
      if (!mayAttach(spec, service, context, parent.path)) return [];
      const ports = service.ports.filter(({ port }) => parent.port === undefined || port === parent.port);
      if (ports.length === 0) {
        const message = `${kind} ${name} has no port ${parent.port ?? 'at all'}`;
        diagnostics.push(diagnose(spec.object, 'ROUTE_UNKNOWN_PARENT', message, parent.path));
      }
      return ports.map((port) => ({ service, port, path: parent.path }));
    });
  });
}

function oneOrNone(service: ServiceSpec | undefined): readonly ServiceSpec[] {
  return service === undefined ? [] : [service];
}

/** Producer routes only: those of the Service's namespace or of its waypoint's (Istio ambient). */
export function mayAttach(
  { object }: { readonly object: ConfigObject },
  service: ServiceSpec,
  { bindings, diagnostics }: RouteContext,
  path: readonly (string | number)[],
): boolean {
  const binding = bindings.services.get(service);
  const { namespace } = object.metadata;
  if (binding === undefined) {
    const message = `Service ${service.namespace}/${service.name} has no waypoint`;
    diagnostics.push(diagnose(object, 'ROUTE_WITHOUT_WAYPOINT', message, path));
  }
  if (namespace === service.namespace || namespace === binding?.gateway?.namespace) return true;
  const message = `a route for Service ${service.namespace}/${service.name} may not come from namespace ${namespace}`;
  diagnostics.push(diagnose(object, 'ROUTE_NAMESPACE', message, path));
  return false;
}

export function portKey(service: ServiceSpec, port: number, options: CompileOptions): string {
  return `${specKey(service, options)}:${port}`;
}

/** What is reported for a reference that leads nowhere. */
export type UnknownCode = 'ROUTE_UNKNOWN_BACKEND' | 'ROUTE_UNKNOWN_MIRROR';
export const unknownMirror: UnknownCode = 'ROUTE_UNKNOWN_MIRROR';

/** The Service a backend names; without one its share is answered with an error. */
export function resolveBackend(
  spec: { readonly object: ConfigObject },
  backend: BackendSpec,
  port: number,
  context: RouteContext,
  unknown: UnknownCode = 'ROUTE_UNKNOWN_BACKEND',
): RouteBackend {
  const { inputs, options } = context;
  const { namespace, name, weight, requestHeaders, responseHeaders } = backend;
  const service =
    backend.hostname === undefined
      ? inputs.services.get(`${namespace}/${name}`)
      : serviceOfHostname(backend.hostname, spec.object.metadata.namespace, context);
  const target = backend.port ?? port;
  const known = service?.ports.some((candidate) => candidate.port === target) === true;
  if (!known) {
    const what = backend.hostname ?? `Service ${namespace}/${name}`;
    const message =
      name === '' && backend.hostname === undefined
        ? 'the backend is no Service'
        : `there is no ${what} with port ${target}`;
    reportOnce(context, backend, diagnose(spec.object, unknown, message, backend.path));
  }
  const key = known ? specKey(service, options) : undefined;
  return { service: key, port: target, weight, requestHeaders, responseHeaders };
}

/** By host name: the entry of the own namespace, then the first that everybody sees, or a Service of the cluster. */
function serviceOfHostname(
  hostname: string,
  namespace: string,
  { inputs, options }: RouteContext,
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

/** A backend stands in a route of every port of the parent, but is reported once. */
export function reportOnce(
  context: RouteContext,
  backend: BackendSpec | DestinationSpec,
  diagnostic: Diagnostic,
): void {
  if (context.reported.has(backend)) return;
  context.reported.add(backend);
  context.diagnostics.push(diagnostic);
}
