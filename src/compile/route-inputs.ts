/**
 * Route objects, parsed and in order of age; after a change that only replaced some by others of the same name and age, from what
 * they were before.
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import { checkObject, type Inputs, inputSteps, parseRoute } from './inputs.ts';
import { type ConfigObject, qualifiedName } from './object.ts';
import type { RouteKind, RouteSpec } from './route-spec.ts';

export type RouteInputs = Pick<
  Inputs,
  'httpRoutes' | 'grpcRoutes' | 'tcpRoutes' | 'tlsRoutes' | 'virtualServices' | 'virtualByName' | 'referenceGrants'
>;

export interface ReadRoutes {
  readonly objects: readonly ConfigObject[];
  readonly inputs: RouteInputs;
  readonly diagnostics: readonly Diagnostic[];
}

export interface ReplacedRoute {
  readonly kind: RouteKind;
  readonly old: RouteSpec;
  readonly spec: RouteSpec;
}

/** More changes than this are not followed one by one. */
const mostReplaced = 64;

/** All anew. Yields where it may pause. */
export function* readRoutes(objects: readonly ConfigObject[]): Generator<undefined, ReadRoutes> {
  const diagnostics: Diagnostic[] = [];
  const all = yield* inputSteps(objects, diagnostics);
  const { httpRoutes, grpcRoutes, tcpRoutes, tlsRoutes, virtualServices, virtualByName, referenceGrants } = all;
  const inputs = { httpRoutes, grpcRoutes, tcpRoutes, tlsRoutes, virtualServices, virtualByName, referenceGrants };
  return { objects, inputs, diagnostics };
}

/** Undefined: too much is another; everything is to be read anew. */
export function replaceInputs(
  before: ReadRoutes,
  objects: readonly ConfigObject[],
): { readonly routes: ReadRoutes; readonly replaced: readonly ReplacedRoute[] } | undefined {
  if (objects.length !== before.objects.length) return undefined;
  if (before.diagnostics.some(({ code }) => code === 'OBJECT_DUPLICATE')) return undefined;
  const replaced: ReplacedRoute[] = [];
  // Thousands of objects, of which one is another: nothing is made for those that stayed.
  for (let i = 0; i < objects.length; i++) {
    const old = before.objects[i];
    const object = objects[i];
    if (old === undefined || object === undefined) return undefined;
    if (old === object) continue;
    const one = replacedRoute(old, object);
    if (one === undefined || replaced.length === mostReplaced) return undefined;
    replaced.push(one);
  }
  const inputs = {
    ...before.inputs,
    grpcRoutes: withReplaced(before.inputs.grpcRoutes, 'grpc', replaced),
    httpRoutes: withReplaced(before.inputs.httpRoutes, 'http', replaced),
    tlsRoutes: withReplaced(before.inputs.tlsRoutes, 'tls', replaced),
    tcpRoutes: withReplaced(before.inputs.tcpRoutes, 'tcp', replaced),
    virtualServices: withReplaced(before.inputs.virtualServices, 'virtual', replaced),
  };
  const isVirtual = replaced.some(({ kind }) => kind === 'virtual');
  const virtualByName = isVirtual
    ? new Map(inputs.virtualServices.map((spec) => [qualifiedName(spec.object), spec]))
    : inputs.virtualByName;
  const isSilent =
    before.diagnostics.length === 0 && replaced.every(({ spec }) => checkObject(spec.object).length === 0);
  const diagnostics = isSilent ? before.diagnostics : objects.flatMap((object) => checkObject(object));
  return { routes: { objects, inputs: { ...inputs, virtualByName }, diagnostics }, replaced };
}

/** Undefined: they are not one route before and after. */
function replacedRoute(old: ConfigObject, object: ConfigObject): ReplacedRoute | undefined {
  const isSame =
    old.kind === object.kind &&
    old.apiVersion === object.apiVersion &&
    old.metadata.namespace === object.metadata.namespace &&
    old.metadata.name === object.metadata.name &&
    old.metadata.createdMs === object.metadata.createdMs;
  if (!isSame) return undefined;
  const [was, is] = [parseRoute(old), parseRoute(object)];
  return was === undefined || is === undefined || was.kind !== is.kind
    ? undefined
    : { kind: is.kind, old: was.spec, spec: is.spec };
}

function withReplaced<Spec extends RouteSpec>(
  specs: readonly Spec[],
  kind: RouteKind,
  replaced: readonly ReplacedRoute[],
): readonly Spec[] {
  const ofKind = new Map<RouteSpec, RouteSpec>(
    replaced.flatMap((one) => (one.kind === kind ? [[one.old, one.spec] as const] : [])),
  );
  return ofKind.size === 0 ? specs : specs.map((spec) => (ofKind.get(spec) as Spec | undefined) ?? spec);
}
