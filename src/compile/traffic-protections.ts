/** TrafficProtections put on the services, gateways and routes they target, with the services they ask. */
import { objectKey } from '../route/object-ref.ts';
import type { TrafficProtection, TrafficProtections } from '../route/traffic-protection.ts';
import { consumedService } from './consumer-parents.ts';
import { diagnose } from './object.ts';
import { serviceKey } from './options.ts';
import { placeByTarget, type TargetContext } from './policy-placement.ts';
import { targetRoutes } from './target-routes.ts';
import type { TrafficProtectionSpec } from './traffic-protection.ts';

/** Undefined without any: then nothing of this costs a request anything. */
export function buildTrafficProtections(context: TargetContext): TrafficProtections | undefined {
  const specs = context.inputs.trafficProtections;
  if (specs.length === 0) return undefined;
  const built = new Map(specs.map((spec) => [spec, build(spec, context)]));
  const protectionOf = (spec: TrafficProtectionSpec) => built.get(spec) as TrafficProtection;
  const routes = new Map<string, TrafficProtection[]>();
  const placed = placeByTarget(specs, protectionOf, context, (spec, { kind, name }) => {
    const named = targetRoutes(kind, spec.namespace, name, context.inputs);
    if (named === undefined) return 'other';
    const [route] = named;
    if (route === undefined) return `there is no ${kind} ${spec.namespace}/${name}`;
    // Its counts would be kept, and its service asked for headers of requests, by the waypoint of somebody else.
    const consumed = consumedService(spec.namespace, route.parents, context);
    if (consumed !== undefined)
      return `${kind} ${name} is a consumer route of Service ${consumed.namespace}/${consumed.name}: limits are its owner's to set`;
    const key = objectKey({ kind, namespace: spec.namespace, name });
    routes.set(key, [...(routes.get(key) ?? []), protectionOf(spec)]);
    return 'placed';
  });
  return { ...placed, routes };
}

const kept = new WeakMap<TrafficProtectionSpec, TrafficProtection>();

/** The same record as long as the object stands: counts are kept by it. */
function build(spec: TrafficProtectionSpec, { inputs, options, diagnostics }: TargetContext): TrafficProtection {
  const { object, targets, protection } = spec;
  if (targets.length === 0) {
    const message = 'it protects nothing without targetRefs';
    diagnostics.push(diagnose(object, 'PROTECTION_WITHOUT_TARGET', message, ['spec']));
  }
  for (const [i, { serviceName, serviceNamespace, port }] of spec.global.entries()) {
    const name = `${serviceNamespace}/${serviceName}`;
    const service = inputs.services.get(name);
    if (service?.ports.some((one) => one.port === port) === true) continue;
    const what = service === undefined ? `there is no Service ${name}` : `Service ${name} has no port ${port}`;
    const path = ['spec', 'globalRateLimits', i, 'service'];
    diagnostics.push(diagnose(object, 'PROTECTION_UNKNOWN_SERVICE', what, path));
  }
  return kept.getOrInsertComputed(spec, () => ({
    ...protection,
    global: spec.global.map(({ serviceName, serviceNamespace, ...limit }) => ({
      ...limit,
      service: serviceKey(serviceNamespace, serviceName, options),
    })),
  }));
}
