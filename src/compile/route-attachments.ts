/**
 * Which routes are for which Service: parentRefs and hosts looked up, in order of age. A route of the Service's namespace, or of
 * its waypoint's, is for every client (a producer route); a Gateway API route of another namespace is for the clients of that
 * namespace (a consumer route, GEP-1426).
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import type { Bindings } from './bindings.ts';
import type { HttpRouteSpec, ParentSpec } from './http-route.ts';
import type { Inputs } from './inputs.ts';
import { type ConfigObject, diagnose, objectName, type Path } from './object.ts';
import type { CompileOptions } from './options.ts';
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

export type RouteKind = Exclude<keyof Attachments, 'service'>;

export interface AttachedRoutes {
  /** Services with at least one. */
  readonly services: ReadonlyMap<ServiceSpec, Attachments>;
  /** Of attachments that come to nothing, or are not applied. */
  readonly findings: readonly RouteFinding[];
}

/** Routes looked at before the generator yields. */
const routesPerStep = 250;

/** Yields where it may pause. */
export function* attachRoutes(
  inputs: Inputs,
  bindings: Bindings,
  options: CompileOptions,
  diagnostics: Diagnostic[],
): Generator<undefined, AttachedRoutes> {
  const attaching = new Attaching(inputs, bindings, options, diagnostics);
  let done = 0;
  for (const kind of ['grpc', 'http', 'tls', 'tcp'] as const) {
    const specs: readonly (HttpRouteSpec | TlsRouteSpec | TcpRouteSpec)[] = inputs[`${kind}Routes`];
    for (const spec of specs) {
      for (const parent of spec.parents) attaching.addParent(kind, spec, parent);
      if (++done % routesPerStep === 0) yield;
    }
  }
  for (const spec of inputs.virtualServices) {
    for (const [i, host] of spec.hosts.entries()) attaching.addHost(spec, host, ['spec', 'hosts', i]);
    if (++done % routesPerStep === 0) yield;
  }
  return { services: attaching.services, findings: attaching.findings };
}

class Attaching {
  readonly services = new Map<ServiceSpec, Attachments>();
  readonly findings: RouteFinding[] = [];
  readonly #inputs: Inputs;
  readonly #bindings: Bindings;
  readonly #options: CompileOptions;
  readonly #diagnostics: Diagnostic[];

  constructor(inputs: Inputs, bindings: Bindings, options: CompileOptions, diagnostics: Diagnostic[]) {
    this.#inputs = inputs;
    this.#bindings = bindings;
    this.#options = options;
    this.#diagnostics = diagnostics;
  }

  addParent(kind: RouteKind, spec: HttpRouteSpec | TlsRouteSpec | TcpRouteSpec, parent: ParentSpec): void {
    const { object } = spec;
    const { path, port } = parent;
    const name = `${parent.namespace}/${parent.name}`;
    const parentKind = parent.kind ?? 'Service';
    const services = parentKind === 'Service' ? this.#service(name) : (this.#inputs.entryHosts.get(name) ?? []);
    const missing = (message: string) => {
      this.#diagnostics.push(diagnose(object, 'ROUTE_UNKNOWN_PARENT', message, path));
      this.#find(object, name, 'NoMatchingParent', message);
    };
    if (services.length === 0) missing(`there is no ${parentKind} ${name}`);
    for (const service of services) {
      this.#mayBeApplied(object, service, path);
      if (!service.ports.some((candidate) => port === undefined || candidate.port === port)) {
        missing(`${parentKind} ${name} has no port ${port ?? 'at all'}`);
        continue;
      }
      const consumer = this.#isProducer(object, service) ? undefined : object.metadata.namespace;
      const attachment = { spec, path, port, consumer };
      (this.#of(service)[kind] as Attachment<typeof spec>[]).push(attachment);
    }
  }

  #service(name: string): readonly ServiceSpec[] {
    const service = this.#inputs.services.get(name);
    return service === undefined ? [] : [service];
  }

  addHost(spec: VirtualServiceSpec, host: string, path: Path): void {
    const { object } = spec;
    const services = servicesOfHost(host, object.metadata.namespace, this.#inputs, this.#options);
    if (services.length === 0) {
      const message = `no Service is called ${host}`;
      this.#diagnostics.push(diagnose(object, 'ROUTE_UNKNOWN_PARENT', message, path));
      this.#find(object, host, 'NoMatchingParent', message);
    }
    for (const service of services) {
      this.#mayBeApplied(object, service, path);
      const name = `${service.namespace}/${service.name}`;
      const home = this.#bindings.services.get(service)?.gateway?.namespace ?? service.namespace;
      const refused = !this.#isProducer(object, service)
        ? `a route for Service ${name} may not come from namespace ${object.metadata.namespace}`
        : spec.exportTo !== undefined && !spec.exportTo.has(home)
          ? `it is not exported to namespace ${home}, whose waypoint serves Service ${name}`
          : undefined;
      if (refused !== undefined) {
        this.#diagnostics.push(diagnose(object, 'ROUTE_NAMESPACE', refused, path));
        this.#find(object, name, 'NotAllowedByListeners', refused);
        continue;
      }
      const attached = this.#of(service).virtual;
      // Two hosts of one object may mean the same Service.
      if (attached.at(-1)?.spec !== spec) attached.push({ spec, path, port: undefined, consumer: undefined });
    }
  }

  #mayBeApplied(object: ConfigObject, service: ServiceSpec, path: Path): void {
    if (this.#bindings.services.has(service)) return;
    const name = `${service.namespace}/${service.name}`;
    const message = `Service ${name} has no waypoint`;
    this.#diagnostics.push(diagnose(object, 'ROUTE_WITHOUT_WAYPOINT', message, path));
    this.#find(object, name, 'Pending', message);
  }

  #isProducer({ metadata: { namespace } }: ConfigObject, service: ServiceSpec): boolean {
    return namespace === service.namespace || namespace === this.#bindings.services.get(service)?.gateway?.namespace;
  }

  #of(service: ServiceSpec): Attachments {
    return this.services.getOrInsertComputed(service, () => ({
      service,
      grpc: [],
      http: [],
      tls: [],
      tcp: [],
      virtual: [],
    }));
  }

  #find(object: ConfigObject, parent: string, reason: RouteFinding['reason'], message: string): void {
    this.findings.push({ object, parent, port: undefined, type: 'Accepted', reason, message });
  }
}

/** Whether the same routes are attached in the same way, so that nothing of them has to be put together again. */
export function sameAttachments(a: Attachments, b: Attachments): boolean {
  return (['grpc', 'http', 'tls', 'tcp', 'virtual'] as const).every((kind) => {
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
