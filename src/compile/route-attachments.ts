/**
 * Which routes are for which Service: parentRefs and hosts looked up, in order of age. A route of the Service's namespace, or of
 * its waypoint's, is for every client (a producer route); a Gateway API route of another namespace is for the clients of that
 * namespace (a consumer route, GEP-1426).
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import type { Bindings } from './bindings.ts';
import { isProducer, servicesOfParent } from './consumer-parents.ts';
import type { HttpRouteSpec, ParentSpec } from './http-route.ts';
import type { Inputs } from './inputs.ts';
import { type ConfigObject, diagnose, objectName, olderFirst, type Path } from './object.ts';
import type { CompileOptions } from './options.ts';
import type { RouteKind, RouteOfKind, RouteSpec } from './route-spec.ts';
import type { RouteFinding } from './route-status.ts';
import type { ServiceSpec } from './service.ts';
import { servicesOfHost } from './service-hosts.ts';
import type { TcpRouteSpec } from './tcp-route.ts';
import type { TlsRouteSpec } from './tls-route.ts';
import type { VirtualServiceSpec } from './virtual-service.ts';

/** One route at one of its parents. */
export interface Attachment<Spec> {
  readonly spec: Spec;
  /** Where the object names the parent. */
  readonly path: Path;
  /** Undefined: every port. */
  readonly port: number | undefined;
  /** Whose clients it is for; undefined: everybody's. */
  readonly consumer: string | undefined;
}

export interface Attachments {
  readonly service: ServiceSpec;
  readonly grpc: Attachment<HttpRouteSpec>[];
  readonly http: Attachment<HttpRouteSpec>[];
  readonly tls: Attachment<TlsRouteSpec>[];
  readonly tcp: Attachment<TcpRouteSpec>[];
  readonly virtual: Attachment<VirtualServiceSpec>[];
}

/** What is to be said of a route before those of a Service are put together. */
export interface AttachmentNotes {
  readonly diagnostics: readonly Diagnostic[];
  /** Of attachments that come to nothing, or are not applied. */
  readonly findings: readonly RouteFinding[];
}

export interface AttachedRoutes {
  /** Services with at least one. */
  readonly services: ReadonlyMap<ServiceSpec, Attachments>;
  /** Of routes of which there is something to say. */
  readonly notes: ReadonlyMap<RouteSpec, AttachmentNotes>;
}

/** Routes looked at before the generator yields. */
const routesPerStep = 250;

/** All of them. Yields where it may pause. */
export function* attachRoutes(
  inputs: Inputs,
  bindings: Bindings,
  options: CompileOptions,
): Generator<undefined, AttachedRoutes> {
  const services = new Map<ServiceSpec, Attachments>();
  const notes = new Map<RouteSpec, AttachmentNotes>();
  const context = { inputs, bindings, options };
  let done = 0;
  for (const { kind, spec } of routesOf(inputs)) {
    for (const { service, attachment } of placesOf(kind, spec, context, notes)) {
      let attachments = services.get(service);
      if (attachments === undefined) {
        attachments = emptyAttachments(service);
        services.set(service, attachments);
      }
      (attachments[kind] as Attachment<RouteSpec>[]).push(attachment);
    }
    if (++done % routesPerStep === 0) yield;
  }
  return { services, notes };
}

/** As all of them after some were replaced by others of the same name and age. What is not concerned stays the same object. */
export function replaceRoutes(
  before: AttachedRoutes,
  replaced: readonly { readonly kind: RouteKind; readonly old: RouteSpec; readonly spec: RouteSpec }[],
  context: AttachingContext,
): AttachedRoutes {
  const services = new Map(before.services);
  const notes = new Map(before.notes);
  const left = new Set<ServiceSpec>();
  for (const { kind, old, spec } of replaced) {
    notes.delete(old);
    const unsaid = new Map<RouteSpec, AttachmentNotes>();
    for (const { service } of placesOf(kind, old, context, unsaid)) {
      const attachments = services.get(service);
      if (attachments === undefined) continue;
      const others = (attachments[kind] as readonly Attachment<RouteSpec>[]).filter((one) => one.spec !== old);
      services.set(service, { ...attachments, [kind]: others });
      left.add(service);
    }
    for (const { service, attachment } of placesOf(kind, spec, context, notes)) {
      const attachments = services.get(service) ?? emptyAttachments(service);
      const list = attachments[kind] as readonly Attachment<RouteSpec>[];
      const at = list.findIndex((one) => olderFirst(one.spec.object, spec.object) > 0);
      const place = at < 0 ? list.length : at;
      services.set(service, { ...attachments, [kind]: list.toSpliced(place, 0, attachment) });
    }
  }
  for (const service of left) {
    const attachments = services.get(service);
    if (routeKinds.every((kind) => attachments?.[kind].length === 0)) services.delete(service);
  }
  return { services, notes };
}

const routeKinds = ['grpc', 'http', 'tls', 'tcp', 'virtual'] as const;

function* routesOf(inputs: Inputs): Generator<RouteOfKind> {
  for (const spec of inputs.grpcRoutes) yield { kind: 'grpc', spec };
  for (const spec of inputs.httpRoutes) yield { kind: 'http', spec };
  for (const spec of inputs.tlsRoutes) yield { kind: 'tls', spec };
  for (const spec of inputs.tcpRoutes) yield { kind: 'tcp', spec };
  for (const spec of inputs.virtualServices) yield { kind: 'virtual', spec };
}

function emptyAttachments(service: ServiceSpec): Attachments {
  return { service, grpc: [], http: [], tls: [], tcp: [], virtual: [] };
}

export interface AttachingContext {
  readonly inputs: Inputs;
  readonly bindings: Bindings;
  readonly options: CompileOptions;
}

interface Place {
  readonly service: ServiceSpec;
  readonly attachment: Attachment<RouteSpec>;
}

/** Where one route is attached, in the order of the object. */
function placesOf(
  kind: RouteKind,
  spec: RouteSpec,
  context: AttachingContext,
  notes: Map<RouteSpec, AttachmentNotes>,
): readonly Place[] {
  const placing = new Placing(spec, context);
  if (kind === 'virtual') placing.addHosts(spec as VirtualServiceSpec);
  else for (const parent of (spec as Exclude<RouteSpec, VirtualServiceSpec>).parents) placing.addParent(parent);
  const { diagnostics, findings } = placing;
  if (diagnostics.length > 0 || findings.length > 0) notes.set(spec, { diagnostics, findings });
  return placing.places;
}

class Placing {
  readonly places: Place[] = [];
  readonly diagnostics: Diagnostic[] = [];
  readonly findings: RouteFinding[] = [];
  readonly #spec: RouteSpec;
  readonly #object: ConfigObject;
  readonly #context: AttachingContext;

  constructor(spec: RouteSpec, context: AttachingContext) {
    this.#spec = spec;
    this.#object = spec.object;
    this.#context = context;
  }

  addParent(parent: ParentSpec): void {
    const { path, port } = parent;
    const { inputs } = this.#context;
    const name = `${parent.namespace}/${parent.name}`;
    const parentKind = parent.kind ?? 'Service';
    const services = servicesOfParent(parent, inputs);
    if (services.length === 0) this.#missing(name, `there is no ${parentKind} ${name}`, path);
    for (const service of services) {
      this.#mayBeApplied(service, path);
      if (!service.ports.some((candidate) => port === undefined || candidate.port === port)) {
        this.#missing(name, `${parentKind} ${name} has no port ${port ?? 'at all'}`, path);
        continue;
      }
      const consumer = this.#isProducer(service) ? undefined : this.#object.metadata.namespace;
      this.places.push({ service, attachment: { spec: this.#spec, path, port, consumer } });
    }
  }

  addHosts(spec: VirtualServiceSpec): void {
    const { inputs, options, bindings } = this.#context;
    const { namespace } = this.#object.metadata;
    const placed = new Set<ServiceSpec>();
    for (const [i, host] of spec.hosts.entries()) {
      const path = ['spec', 'hosts', i];
      const services = servicesOfHost(host, namespace, inputs, options);
      if (services.length === 0) this.#missing(host, `no Service is called ${host}`, path);
      for (const service of services) {
        this.#mayBeApplied(service, path);
        const name = `${service.namespace}/${service.name}`;
        const home = bindings.services.get(service)?.gateway?.namespace ?? service.namespace;
        const refused = !this.#isProducer(service)
          ? `a route for Service ${name} may not come from namespace ${namespace}`
          : spec.exportTo !== undefined && !spec.exportTo.has(home)
            ? `it is not exported to namespace ${home}, whose waypoint serves Service ${name}`
            : undefined;
        if (refused !== undefined) {
          this.diagnostics.push(diagnose(this.#object, 'ROUTE_NAMESPACE', refused, path));
          this.#find(name, 'NotAllowedByListeners', refused);
          continue;
        }
        // Two hosts of one object may mean the same Service.
        if (placed.has(service)) continue;
        placed.add(service);
        this.places.push({ service, attachment: { spec, path, port: undefined, consumer: undefined } });
      }
    }
  }

  #missing(parent: string, message: string, path: Path): void {
    this.diagnostics.push(diagnose(this.#object, 'ROUTE_UNKNOWN_PARENT', message, path));
    this.#find(parent, 'NoMatchingParent', message);
  }

  #mayBeApplied(service: ServiceSpec, path: Path): void {
    if (this.#context.bindings.services.has(service)) return;
    const name = `${service.namespace}/${service.name}`;
    const message = `Service ${name} has no waypoint`;
    this.diagnostics.push(diagnose(this.#object, 'ROUTE_WITHOUT_WAYPOINT', message, path));
    this.#find(name, 'Pending', message);
  }

  #isProducer(service: ServiceSpec): boolean {
    return isProducer(this.#object.metadata.namespace, service, this.#context.bindings);
  }

  #find(parent: string, reason: RouteFinding['reason'], message: string): void {
    this.findings.push({ object: this.#object, parent, port: undefined, type: 'Accepted', reason, message });
  }
}

/** Whether the same routes are attached in the same way, so that nothing of them has to be put together again. */
export function sameAttachments(a: Attachments, b: Attachments): boolean {
  if (a === b) return true;
  return routeKinds.every((kind) => {
    const [x, y]: readonly (readonly Attachment<unknown>[])[] = [a[kind], b[kind]];
    return (
      x?.length === y?.length &&
      x?.every(({ spec, port, consumer }, i) => {
        const other = y?.[i];
        return spec === other?.spec && port === other?.port && consumer === other?.consumer;
      }) === true
    );
  });
}

/** `kind namespace/name`, for a sentence. */
export function attachedName({ spec: { object } }: Attachment<{ readonly object: ConfigObject }>): string {
  return objectName(object);
}
