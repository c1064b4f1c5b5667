/** Extensions put on the services, gateways and routes they target, and what each gateway's waypoint has to run of them. */
import { type AttachedExtensions, compareExtensions, type ExtensionRecord } from '../route/extension.ts';
import { maxExtensions, placeExtensions } from '../route/extension-places.ts';
import { objectKey } from '../route/object-ref.ts';
import { consumedService, isProducer, servicesOfParent } from './consumer-parents.ts';
import type { ExtensionSpec } from './extension.ts';
import { diagnose } from './object.ts';
import { placeByTarget, type TargetContext } from './policy-placement.ts';
import type { ServiceSpec } from './service.ts';
import { targetRoutes } from './target-routes.ts';

/** Undefined without any: then nothing of this costs a request anything. */
export function buildExtensions(context: TargetContext): AttachedExtensions | undefined {
  const specs = context.inputs.extensions;
  if (specs.length === 0) return undefined;
  const routes = new Map<string, ExtensionRecord[]>();
  const placed = placeByTarget(
    specs,
    ({ record }) => record,
    context,
    (spec, { kind, name }) => {
      const named = targetRoutes(kind, spec.namespace, name, context.inputs);
      if (named === undefined) return 'other';
      const [route] = named;
      if (route === undefined) return `there is no ${kind} ${spec.namespace}/${name}`;
      const consumed = consumedService(spec.namespace, route.parents, context);
      if (consumed !== undefined) {
        const message = `${kind} ${name} is a consumer route of Service ${consumed.namespace}/${consumed.name}, whose waypoint does not run it`;
        context.diagnostics.push(diagnose(spec.object, 'EXTENSION_INVALID', message, ['spec', 'targetRefs']));
      }
      put(routes, objectKey({ kind, namespace: spec.namespace, name }), spec.record);
      return 'placed';
    },
  );
  const byGateway = new Map<string, ExtensionRecord[]>();
  for (const spec of specs) {
    if (spec.targets.length === 0) {
      const message = 'it is attached to nothing without targetRefs';
      context.diagnostics.push(diagnose(spec.object, 'EXTENSION_WITHOUT_TARGET', message, ['spec']));
    }
    for (const gateway of gatewaysOf(spec, context)) put(byGateway, gateway, spec.record);
  }
  for (const [gateway, records] of placed.gateways) for (const record of records) put(byGateway, gateway, record);
  tellOfPlaces(byGateway, specs, context);
  const ordered = (lists: ReadonlyMap<string, readonly ExtensionRecord[]>) =>
    new Map(Array.from(lists, ([key, records]) => [key, records.toSorted(compareExtensions)] as const));
  return { services: ordered(placed.services), gateways: ordered(placed.gateways), routes, byGateway };
}

/** Of those that their waypoint does not run, because namespaces have more than their part of its places. */
function tellOfPlaces(
  byGateway: ReadonlyMap<string, readonly ExtensionRecord[]>,
  specs: readonly ExtensionSpec[],
  { diagnostics }: TargetContext,
): void {
  for (const [gateway, records] of byGateway) {
    const without = new Set(placeExtensions(records).without);
    if (without.size === 0) continue;
    const message = `the waypoint of ${gateway} has ${maxExtensions} places, of which each namespace has a part: this one is not run there; remove others of its namespace, or bind its targets to another waypoint`;
    for (const { object, record } of specs)
      if (without.has(record)) diagnostics.push(diagnose(object, 'EXTENSION_WITHOUT_PLACE', message, ['spec']));
  }
}

/** Keys of the gateways that serve its services and routes. */
function gatewaysOf(spec: ExtensionSpec, context: TargetContext): ReadonlySet<string> {
  const { inputs, bindings } = context;
  const found = new Set<string>();
  const add = (service: ServiceSpec | undefined) => {
    const key = service === undefined ? undefined : bindings.services.get(service)?.gateway?.key;
    if (key !== undefined) found.add(key);
  };
  for (const { kind, name } of spec.targets) {
    if (kind === 'Service') add(inputs.services.get(`${spec.namespace}/${name}`));
    if (kind === 'ServiceEntry') for (const host of inputs.entryHosts.get(`${spec.namespace}/${name}`) ?? []) add(host);
    for (const route of targetRoutes(kind, spec.namespace, name, inputs) ?? []) {
      // The waypoint of somebody else runs none of it: on a consumer route it meets its failure mode.
      for (const service of route.parents.flatMap((parent) => servicesOfParent(parent, inputs)))
        if (isProducer(spec.namespace, service, bindings)) add(service);
    }
  }
  return found;
}

/** In their order, each once. */
function put(map: Map<string, ExtensionRecord[]>, key: string, record: ExtensionRecord): void {
  const list = map.getOrInsertComputed(key, () => []);
  if (!list.includes(record)) list.push(record);
  list.sort(compareExtensions);
}
