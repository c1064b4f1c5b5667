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
  const ports = new Map<string, PortRoutes>();
  const services = new Map<ServiceSpec, ServiceRoutes>();
  const told = new Set<string>();
  let asked = 0;
  for (const note of attached.notes.values()) diagnostics.push(...note.diagnostics);
  for (const attachments of attached.services.values()) {
    const { service } = attachments;
    let routes = before.services.get(service);
    const isKept = asBefore && routes?.attachments === attachments;
    if (routes === undefined || !(isKept || isSame(routes, attachments, world))) {
      routes = buildServiceRoutes(attachments, world, options);
      yield;
    }
    if (++asked % servicesPerStep === 0) yield;
    services.set(service, routes);
    for (const [key, entry] of routes.ports) ports.set(key, entry);
    // A route with several parents has the same backends at each.
    for (const diagnostic of routes.diagnostics) {
      const { code, object, message, position } = diagnostic;
      const text = `${code} ${object ?? ''} ${position?.line ?? ''}:${position?.column ?? ''} ${message}`;
      if (told.has(text)) continue;
      told.add(text);
      diagnostics.push(diagnostic);
    }
  }
  return { ports, services, attached };
}

function isSame(routes: ServiceRoutes, attachments: ServiceRoutes['attachments'], world: RouteWorld): boolean {
  return (
    sameAttachments(routes.attachments, attachments) &&
    routes.lookUps.every(({ ask, answer }) => Object.is(ask(world), answer))
  );
}
