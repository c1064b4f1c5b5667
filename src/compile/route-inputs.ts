/**
 * Route objects, parsed and in order of age; after a change that only replaced some by others of the same name and age, from what
 * they were before.
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import { checkObject, type Inputs, inputSteps, isRouteKind, parseRoute } from './inputs.ts';
import { type ConfigObject, qualifiedName } from './object.ts';
import type { RouteKind, RouteSpec } from './route-spec.ts';

export type RouteInputs = Pick<
  Inputs,
  'httpRoutes' | 'grpcRoutes' | 'tcpRoutes' | 'tlsRoutes' | 'virtualServices' | 'virtualByName' | 'referenceGrants'
>;

export interface ReadRoutes {
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
  return { inputs, diagnostics };
}

/** Undefined: too much is another; everything is to be read anew. `old` and `groups`: all objects, then and now. */
export function replaceInputs(
  before: ReadRoutes,
  old: readonly (readonly ConfigObject[])[],
  groups: readonly (readonly ConfigObject[])[],
): { readonly routes: ReadRoutes; readonly replaced: readonly ReplacedRoute[] } | undefined {
  if (before.diagnostics.some(({ code }) => code === 'OBJECT_DUPLICATE')) return undefined;
  const replaced = replacedRoutes(old, groups);
  if (replaced === undefined) return undefined;
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
  const diagnostics = isSilent ? before.diagnostics : groups.flatMap((objects) => objects.flatMap(checkRoute));
  return { routes: { inputs: { ...inputs, virtualByName }, diagnostics }, replaced };
}

function checkRoute(object: ConfigObject): readonly Diagnostic[] {
  return isRouteKind(object) ? checkObject(object) : [];
}

/** Thousands of objects, of which one is another: nothing is made for those that stayed. Undefined: something else has changed. */
function replacedRoutes(
  old: readonly (readonly ConfigObject[])[],
  groups: readonly (readonly ConfigObject[])[],
): readonly ReplacedRoute[] | undefined {
  if (old.length !== groups.length) return undefined;
  const replaced: ReplacedRoute[] = [];
  for (let i = 0; i < groups.length; i++) {
    const [was, is] = [old[i], groups[i]];
    if (was === is) continue;
    if (was === undefined || is === undefined || was.length !== is.length) return undefined;
    for (let j = 0; j < is.length; j++) {
      const [before, object] = [was[j], is[j]];
      if (before === undefined || object === undefined) return undefined;
      if (before === object) continue;
      const one = replacedRoute(before, object);
      if (one === undefined || replaced.length === mostReplaced) return undefined;
      replaced.push(one);
    }
  }
  return replaced;
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
  const ofKind = replaced.filter((one) => one.kind === kind);
  if (ofKind.length === 0) return specs;
  const after = specs.slice();
  for (const { old, spec } of ofKind) {
    const at = after.indexOf(old as Spec);
    if (at >= 0) after[at] = spec as Spec;
  }
  return after;
}
