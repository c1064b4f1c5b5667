/**
 * What all kinds of routes share when those of one Service are put together: backends looked up, and reports. Every look-up
 * is noted, so that it can be told later whether the result would still be the same (`routes.ts`).
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import { type Destinations, hasSubset } from '../route/destination.ts';
import type { RouteAction, RouteBackend } from '../route/model.ts';
import type { BackendSpec } from './http-route.ts';
import type { Inputs } from './inputs.ts';
import { type ConfigObject, diagnose } from './object.ts';
import { type CompileOptions, specKey } from './options.ts';
import { isGranted } from './reference-grant.ts';
import type { ConditionReason, ConditionType, RouteFinding } from './route-status.ts';
import type { ServiceSpec } from './service.ts';
import { serviceOfHostname, servicesOfHost } from './service-hosts.ts';
import type { DestinationSpec } from './virtual-rule.ts';

/** What routes refer to. */
export interface RouteWorld {
  readonly inputs: Inputs;
  readonly destinations: Destinations;
}

/** What the routes of one Service were made of besides themselves: the question, as a function, and its answer. */
export interface LookUp {
  readonly ask: (world: RouteWorld) => unknown;
  readonly answer: unknown;
}

/** Where the routes of one Service are put together. */
export interface RouteContext {
  readonly world: RouteWorld;
  readonly options: CompileOptions;
  readonly service: ServiceSpec;
  readonly diagnostics: Diagnostic[];
  readonly findings: RouteFinding[];
  readonly lookUps: Map<string, LookUp>;
  readonly reported: Map<ConfigObject, Set<BackendSpec | DestinationSpec>>;
  /** Those that change no headers, by what they lead to. */
  readonly backends: Map<ServiceSpec, RouteBackend[]>;
  readonly forwards: ForwardAction[];
}

export type ForwardAction = Extract<RouteAction, { readonly kind: 'forward' }>;

export function portKey(service: ServiceSpec, port: number, options: CompileOptions): string {
  return `${specKey(service, options)}:${port}`;
}

/** What is reported for a reference that leads nowhere. */
export type UnknownCode = 'ROUTE_UNKNOWN_BACKEND' | 'ROUTE_UNKNOWN_MIRROR';
export const unknownMirror: UnknownCode = 'ROUTE_UNKNOWN_MIRROR';

/** Asks once and remembers. The answer is compared by identity when it is asked again. */
export function lookUp<T>(context: RouteContext, question: string, ask: (world: RouteWorld) => T): T {
  const known = context.lookUps.get(question);
  if (known !== undefined) return known.answer as T;
  const answer = ask(context.world);
  context.lookUps.set(question, { ask, answer });
  return answer;
}

function serviceByName(context: RouteContext, namespace: string, name: string): ServiceSpec | undefined {
  return lookUp(context, `${namespace}/${name}`, ({ inputs }) => inputs.services.get(`${namespace}/${name}`));
}

/** Of a backend of kind Hostname. */
function serviceByHostname(context: RouteContext, namespace: string, host: string): ServiceSpec | undefined {
  const { options } = context;
  return lookUp(context, `hostname ${namespace} ${host}`, ({ inputs }) =>
    serviceOfHostname(host, namespace, inputs, options),
  );
}

/** The first that a VirtualService's destination means. */
export function serviceByHost(context: RouteContext, namespace: string, host: string): ServiceSpec | undefined {
  const { options } = context;
  if (host.includes('*')) return undefined;
  return lookUp(
    context,
    `host ${namespace} ${host}`,
    ({ inputs }) => servicesOfHost(host, namespace, inputs, options)[0],
  );
}

export function subsetExists(context: RouteContext, service: ServiceSpec, subset: string): boolean {
  const key = specKey(service, context.options);
  return lookUp(context, `subset ${key} ${subset}`, ({ destinations }) => hasSubset(destinations, key, subset));
}

/** A rule about a route and one port of the Service, for its status. */
export function find(
  context: RouteContext,
  object: ConfigObject,
  port: number | undefined,
  type: ConditionType,
  reason: ConditionReason,
  message: string,
): void {
  const { namespace, name } = context.service;
  context.findings.push({ object, parent: `${namespace}/${name}`, port, type, reason, message });
}

/** Whose consumer route it is. */
export interface Consumer {
  readonly namespace: string;
  /** Its rule changes requests after they were judged. */
  readonly changesRequests: boolean;
}

/**
 * The Service a backend names; without one its share is answered with an error. A consumer route reaches, beside its
 * parent and its own namespace, only what a ReferenceGrant opens to it: the waypoint that goes there is nobody its author
 * could be otherwise (GEP-1426, "expose the ability to access a broader scope"). Its parent it reaches with requests as they
 * were judged: what is changed after policies, tokens and providers had their say needs a grant there, too.
 */
export function resolveBackend(
  spec: { readonly object: ConfigObject },
  backend: BackendSpec,
  port: number,
  context: RouteContext,
  consumer: Consumer | undefined,
  unknown: UnknownCode = 'ROUTE_UNKNOWN_BACKEND',
): RouteBackend {
  const { namespace, name, hostname, weight, requestHeaders, responseHeaders } = backend;
  const service =
    hostname === undefined
      ? serviceByName(context, namespace, name)
      : serviceByHostname(context, spec.object.metadata.namespace, hostname);
  const target = backend.port ?? port;
  const known = service?.ports.some((candidate) => candidate.port === target) === true;
  const changesRequests = consumer?.changesRequests === true || requestHeaders !== undefined;
  const allowed = !known || mayConsume(spec, service, context, consumer && { ...consumer, changesRequests });
  if (!known || !allowed) {
    const isService = name !== '' || hostname !== undefined;
    const what = hostname ?? `Service ${namespace}/${name}`;
    const message = known
      ? `a route of namespace ${consumer?.namespace ?? ''} needs a ReferenceGrant for ${what}${service === context.service ? ' to change requests to it' : ''}`
      : isService
        ? `there is no ${what} with port ${target}`
        : 'the backend is no Service';
    const reason = known ? 'RefNotPermitted' : isService ? 'BackendNotFound' : 'InvalidKind';
    find(context, spec.object, port, 'ResolvedRefs', reason, message);
    reportOnce(
      context,
      spec.object,
      backend,
      diagnose(spec.object, known ? 'ROUTE_REFERENCE_DENIED' : unknown, message, backend.path),
    );
  }
  if (!known || !allowed) return { service: undefined, port: target, weight, requestHeaders, responseHeaders };
  const resolved = {
    service: specKey(service, context.options),
    port: target,
    weight,
    requestHeaders,
    responseHeaders,
  };
  // A mirror is told from the backend by not being the same.
  const mayShare = unknown !== unknownMirror && requestHeaders === undefined && responseHeaders === undefined;
  return mayShare ? sharedBackend(context, service, resolved) : resolved;
}

/** One record for backends that are equal: the routes of a Service mostly lead to the same few. */
function sharedBackend(context: RouteContext, service: ServiceSpec, backend: RouteBackend): RouteBackend {
  const list = context.backends.getOrInsertComputed(service, newBackends);
  const known = list.find(({ port, weight }) => port === backend.port && weight === backend.weight);
  if (known !== undefined) return known;
  if (list.length < mostShared) list.push(backend);
  return backend;
}

/** Likewise for all of a rule's. */
export function forwardTo(context: RouteContext, backends: readonly RouteBackend[]): ForwardAction {
  const { forwards } = context;
  const known = forwards.find(
    (one) => one.backends.length === backends.length && one.backends.every((backend, i) => backend === backends[i]),
  );
  if (known !== undefined) return known;
  const action: ForwardAction = { kind: 'forward', backends };
  if (forwards.length < mostShared) forwards.push(action);
  return action;
}

/** Looked through one by one. */
const mostShared = 16;

function newBackends(): RouteBackend[] {
  return [];
}

function mayConsume(
  { object }: { readonly object: ConfigObject },
  service: ServiceSpec | undefined,
  context: RouteContext,
  consumer: Consumer | undefined,
): boolean {
  if (consumer === undefined || service === undefined) return true;
  if (service.namespace === consumer.namespace) return true;
  if (service === context.service && !consumer.changesRequests) return true;
  const { kind } = object;
  const { namespace, name } = service;
  return lookUp(context, `grant ${kind} ${consumer.namespace} ${namespace}/${name}`, ({ inputs }) =>
    isGranted(inputs.referenceGrants, { kind, namespace: consumer.namespace }, { namespace, name }),
  );
}

/** A backend stands in a route of every port of the parent, but is reported once for each object. */
export function reportOnce(
  context: RouteContext,
  object: ConfigObject,
  backend: BackendSpec | DestinationSpec,
  diagnostic: Diagnostic,
): void {
  const reported = context.reported.getOrInsertComputed(object, newReported);
  if (reported.has(backend)) return;
  reported.add(backend);
  context.diagnostics.push(diagnostic);
}

function newReported(): Set<BackendSpec | DestinationSpec> {
  return new Set();
}
