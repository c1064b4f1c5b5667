/**
 * From a user's objects to the model of the mesh: a pure function with diagnostics, and the same again for a changed set of
 * objects. Parsing is kept per object (by identity), so after a change only what changed is parsed again.
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import { completed } from '../base/slices.ts';
import type { MeshModel } from '../mesh/diff.ts';
import type { L7Model } from '../route/model.ts';
import { buildBackendPolicies } from './backend-policies.ts';
import { type Bindings, bindWaypoints } from './bindings.ts';
import { buildCustomAuthorizations } from './custom-authorizations.ts';
import { buildDestinations, type DestinationHost } from './destinations.ts';
import { buildEgress } from './egress.ts';
import { findEndpoints } from './endpoints.ts';
import { buildExtensions } from './extensions.ts';
import { buildGateways, type GatewayRecord } from './gateways.ts';
import { type Inputs, inputSteps, isRouteKind } from './inputs.ts';
import { buildMeshConfig } from './mesh-config.ts';
import type { ConfigObject } from './object.ts';
import { type CompileOptions, specHostname, specKey } from './options.ts';
import { buildPolicies } from './policies.ts';
import { buildRequestAuthentications } from './policy-placement.ts';
import { attachRoutes, replaceRoutes } from './route-attachments.ts';
import { type ReadRoutes, type RouteInputs, readRoutes, replaceInputs } from './route-inputs.ts';
import { emptyRouteTable, type RouteTable, routeSteps } from './routes.ts';
import { buildServices } from './services.ts';
import { buildTelemetries } from './telemetries.ts';
import { buildTrafficProtections } from './traffic-protections.ts';
import { buildWorkloads } from './workloads.ts';

export interface Compilation extends MeshModel {
  readonly l7: L7Model;
  /** What the routes in `l7` were made of. */
  readonly routes: RouteTable;
  /** Waypoints by `namespace/name` (or `namespace/name/account`, see `GatewayRecord.key`). */
  readonly gateways: ReadonlyMap<string, GatewayRecord>;
  readonly diagnostics: readonly Diagnostic[];
}

/** Never throws on what objects say. */
export function compile(objects: readonly ConfigObject[], options: CompileOptions): Compilation {
  return completed(new Compiler(options).steps([objects]));
}

/**
 * Compiles again and again, and only what has changed: where routes were replaced by others of their names, everything else is
 * kept as it is, and only Services whose routes could have changed are put together.
 *
 * I1: a compilation equals what `compile` makes of the same objects (a property test compares them).
 */
export class Compiler {
  readonly #options: CompileOptions;
  #before: Before | undefined;

  constructor(options: CompileOptions) {
    this.#options = options;
  }

  /**
   * All objects, in groups: of those that are the same list as before nothing is looked at. Yields where it may pause. One at a time;
   * one that is not ended changes nothing.
   */
  *steps(groups: readonly (readonly ConfigObject[])[]): Generator<undefined, Compilation> {
    const options = this.#options;
    const before = this.#before;
    const replacing = before === undefined ? undefined : replaceInputs(before.routes, before.groups, groups);
    const { routes, base } =
      before === undefined || replacing === undefined
        ? yield* wholeSteps(groups, options)
        : { routes: replacing.routes, base: before.base };
    yield;
    const inputs = { ...base.inputs, ...routes.inputs };
    const context = { inputs, bindings: base.bindings, options };
    const attached =
      replacing === undefined || before === undefined
        ? yield* attachRoutes(inputs, base.bindings, options)
        : replaceRoutes(before.table.attached, replacing.replaced, context);
    yield;
    const diagnostics = [...base.diagnostics, ...routes.diagnostics];
    const world = { inputs, destinations: base.l7.destinations };
    // Routes refer to one another only where VirtualServices delegate.
    const asBefore = replacing?.replaced.every(({ kind }) => kind !== 'virtual') === true;
    const tableBefore = before?.table ?? emptyRouteTable;
    const table = yield* routeSteps(world, attached, options, diagnostics, tableBefore, asBefore);
    this.#before = { groups, base, routes, table };
    const { workloads, services, policies, gateways } = base;
    return {
      workloads,
      services,
      policies,
      l7: { ...base.l7, ports: table.ports },
      routes: table,
      gateways,
      diagnostics,
    };
  }
}

interface Before {
  readonly groups: readonly (readonly ConfigObject[])[];
  readonly base: Base;
  readonly routes: ReadRoutes;
  readonly table: RouteTable;
}

/** All that depends on no more of routes than their names. */
interface Base extends MeshModel {
  readonly inputs: Inputs;
  readonly bindings: Bindings;
  readonly l7: Omit<L7Model, 'ports'>;
  readonly gateways: ReadonlyMap<string, GatewayRecord>;
  readonly diagnostics: readonly Diagnostic[];
}

/** Whatever was known before. */
function* wholeSteps(
  groups: readonly (readonly ConfigObject[])[],
  options: CompileOptions,
): Generator<undefined, { readonly routes: ReadRoutes; readonly base: Base }> {
  const { routes: objectsOfRoutes, others } = yield* sorted(groups.flat());
  const routes = yield* readRoutes(objectsOfRoutes);
  yield;
  const base = yield* baseSteps(others, routes.inputs, options);
  return { routes, base };
}

function* baseSteps(
  objects: readonly ConfigObject[],
  routes: RouteInputs,
  options: CompileOptions,
): Generator<undefined, Base> {
  const diagnostics: Diagnostic[] = [];
  const inputs: Inputs = { ...(yield* inputSteps(objects, diagnostics)), ...routes };
  yield;
  const endpoints = findEndpoints(inputs, options, diagnostics);
  yield;
  const gateways = buildGateways(inputs, endpoints, options, diagnostics);
  yield;
  const bindings = bindWaypoints(inputs, endpoints, gateways, options, diagnostics);
  yield;
  const policies = buildPolicies(inputs, endpoints, gateways, bindings, options, diagnostics);
  yield;
  const context = { inputs, gateways, bindings, options, diagnostics };
  const authentications = buildRequestAuthentications(context);
  const meshConfig = buildMeshConfig(inputs.meshConfigs, options.rootNamespace, diagnostics);
  const { servicePolicies, gatewayPolicies, workloadPolicies } = policies;
  const hosts = destinationHosts(inputs, bindings, options);
  const destinations = buildDestinations(inputs.destinationRules, hosts, options, diagnostics);
  yield;
  const workloads = buildWorkloads(inputs, endpoints, gateways, bindings, policies.ofPod, options);
  yield;
  const services = buildServices(inputs, gateways, bindings, options);
  yield;
  return {
    workloads,
    services,
    policies: policies.records,
    l7: {
      destinations,
      servicePolicies,
      gatewayPolicies,
      workloadPolicies,
      egress: buildEgress(inputs, options),
      backends: buildBackendPolicies(inputs, options, diagnostics),
      serviceAuthentications: authentications.services,
      gatewayAuthentications: authentications.gateways,
      extensions: buildExtensions(context),
      protections: buildTrafficProtections(context),
      meshConfig,
      customAuthorizations: buildCustomAuthorizations(context, meshConfig),
      telemetry: buildTelemetries(context, meshConfig),
    },
    inputs,
    bindings,
    gateways: gateways.records,
    diagnostics,
  };
}

/** Objects looked at before the generator yields. */
const objectsPerStep = 2000;

function* sorted(objects: readonly ConfigObject[]) {
  const routes: ConfigObject[] = [];
  const others: ConfigObject[] = [];
  let sought = 0;
  for (const object of objects) {
    (isRouteKind(object) ? routes : others).push(object);
    if (++sought % objectsPerStep === 0) yield;
  }
  return { routes, others };
}

function destinationHosts(inputs: Inputs, bindings: Bindings, options: CompileOptions): readonly DestinationHost[] {
  return [...inputs.services.values()].map((spec) => ({
    key: specKey(spec, options),
    namespace: spec.namespace,
    hostname: specHostname(spec, options),
    waypointNamespace: bindings.services.get(spec)?.gateway?.namespace,
  }));
}
