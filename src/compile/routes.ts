/**
 * Routes of every Service that has any. Services are put together one by one, and again only when something they were made of
 * is another: what is attached to them, or the answer to a look-up.
 *
 * I1: what is kept equals what would be made anew (a property test compares them).
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import type { PortRoutes } from '../route/model.ts';
import type { CompileOptions } from './options.ts';
import { type AttachedRoutes, sameAttachments } from './route-attachments.ts';
import type { RouteWorld } from './route-context.ts';
import type { ServiceSpec } from './service.ts';
import { buildServiceRoutes, type ServiceRoutes } from './service-routes.ts';

export interface RouteTable {
  /** Key: `namespace/hostname:port`. */
  readonly ports: ReadonlyMap<string, PortRoutes>;
  readonly services: ReadonlyMap<ServiceSpec, ServiceRoutes>;
  readonly attached: AttachedRoutes;
}

const nothing: AttachedRoutes = { services: new Map(), notes: new Map() };
export const emptyRouteTable: RouteTable = { ports: new Map(), services: new Map(), attached: nothing };

/** Services asked, or put together, before the generator yields. */
const servicesPerStep = 50;

/**
 * Yields where it may pause. `before`: the table of the last compilation, which is not changed. `asBefore`: whatever routes refer
 * to is what it was then.
 */
export function* routeSteps(
  world: RouteWorld,
  attached: AttachedRoutes,
  options: CompileOptions,
  diagnostics: Diagnostic[],
  before: RouteTable,
  asBefore: boolean,
): Generator<undefined, RouteTable> {
  for (const note of attached.notes.values()) diagnostics.push(...note.diagnostics);
  const all: ServiceRoutes[] = [];
  const made: ServiceRoutes[] = [];
  // Whether the same Services have routes at the same ports.
  let isInPlace = attached.services.size === before.services.size;
  for (const attachments of attached.services.values()) {
    const last = before.services.get(attachments.service);
    const isKept =
      last !== undefined && ((asBefore && last.attachments === attachments) || isSame(last, attachments, world));
    const routes = isKept ? last : buildServiceRoutes(attachments, world, options);
    all.push(routes);
    if (!isKept) {
      made.push(routes);
      isInPlace &&= last !== undefined && samePorts(last, routes);
      yield;
    }
    if (all.length % servicesPerStep === 0) yield;
  }
  tell(all, diagnostics);
  return isInPlace ? { ...tableWith(made, before.ports, before.services), attached } : { ...tableWith(all), attached };
}

/** What few Services are made of replaces what they were made of, in copies that cost less than going through all. */
function tableWith(
  routes: readonly ServiceRoutes[],
  portsBefore?: RouteTable['ports'],
  servicesBefore?: RouteTable['services'],
): Pick<RouteTable, 'ports' | 'services'> {
  const ports = new Map(portsBefore);
  const services = new Map(servicesBefore);
  for (const one of routes) {
    services.set(one.attachments.service, one);
    for (const [key, entry] of one.ports) ports.set(key, entry);
  }
  return { ports, services };
}

function samePorts(a: ServiceRoutes, b: ServiceRoutes): boolean {
  return a.ports.length === b.ports.length && a.ports.every(([key], i) => key === b.ports[i]?.[0]);
}

/** A route with several parents has the same backends at each. */
function tell(all: readonly ServiceRoutes[], diagnostics: Diagnostic[]): void {
  const told = new Set<string>();
  for (const routes of all) {
    for (const diagnostic of routes.diagnostics) {
      const { code, object, message, position } = diagnostic;
      const text = `${code} ${object ?? ''} ${position?.line ?? ''}:${position?.column ?? ''} ${message}`;
      if (told.has(text)) continue;
      told.add(text);
      diagnostics.push(diagnostic);
    }
  }
}

function isSame(routes: ServiceRoutes, attachments: ServiceRoutes['attachments'], world: RouteWorld): boolean {
  return (
    sameAttachments(routes.attachments, attachments) &&
    routes.lookUps.every(({ ask, answer }) => Object.is(ask(world), answer))
  );
}
