/** What all kinds of routes share when they are put together: their parents, their backends, and reports about both. */
import type { Diagnostic } from '../base/diagnostics.ts';
import type { RouteBackend } from '../route/model.ts';
import type { Bindings } from './bindings.ts';
import type { BackendSpec, ParentSpec } from './http-route.ts';
import type { Inputs } from './inputs.ts';
import { type ConfigObject, diagnose, type Path } from './object.ts';
import { type CompileOptions, serviceKey } from './options.ts';
import type { ServicePortSpec, ServiceSpec } from './service.ts';
import type { DestinationSpec } from './virtual-service.ts';

/** What putting routes together needs, and where it says what is wrong. */
export interface RouteContext {
  readonly inputs: Inputs;
  readonly bindings: Bindings;
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
    const service = inputs.services.get(`${parent.namespace}/${parent.name}`);
    if (service === undefined) {
      const message = `there is no Service ${parent.namespace}/${parent.name}`;
      diagnostics.push(diagnose(spec.object, 'ROUTE_UNKNOWN_PARENT', message, parent.path));
      return [];
    }
    if (!mayAttach(spec, service, context, parent.path)) return [];
    const ports = service.ports.filter(({ port }) => parent.port === undefined || port === parent.port);
    if (ports.length === 0) {
      const message = `Service ${parent.namespace}/${parent.name} has no port ${parent.port ?? 'at all'}`;
      diagnostics.push(diagnose(spec.object, 'ROUTE_UNKNOWN_PARENT', message, parent.path));
    }
    return ports.map((port) => ({ service, port, path: parent.path }));
  });
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
  return `${serviceKey(service.namespace, service.name, options)}:${port}`;
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
  const service = inputs.services.get(`${namespace}/${name}`);
  const target = backend.port ?? port;
  const known = service?.ports.some((candidate) => candidate.port === target) === true;
  if (!known) {
    const message =
      name === '' ? 'the backend is no Service' : `there is no Service ${namespace}/${name} with port ${target}`;
    reportOnce(context, backend, diagnose(spec.object, unknown, message, backend.path));
  }
  const key = known ? serviceKey(namespace, name, options) : undefined;
  return { service: key, port: target, weight, requestHeaders, responseHeaders };
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
