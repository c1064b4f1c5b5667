/**
 * Which waypoint an object uses. The label on the object wins over its namespace's, `none` opts out; without a label the
 * service-account form applies. A waypoint that is named but missing or closed to the object still stands on the
 * record, as one that cannot be reached: traffic is refused, unless the object opts out of that by annotation.
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import type { GatewayAddress } from '../mesh/model.ts';
import type { Endpoints } from './endpoints.ts';
import type { AllowedFrom } from './gateway.ts';
import type { GatewayRecord, Gateways } from './gateways.ts';
import type { Inputs } from './inputs.ts';
import type { NamespaceSpec } from './namespace.ts';
import { type ConfigObject, diagnose } from './object.ts';
import { type CompileOptions, serviceKey, specKey } from './options.ts';
import type { PodSpec } from './pod.ts';
import type { ServiceSpec } from './service.ts';
import { parseServiceEntry } from './service-entry.ts';
import { selects } from './values.ts';

export interface Binding {
  readonly address: GatewayAddress;
  /** Undefined: named but unknown, or not allowed. */
  readonly gateway: GatewayRecord | undefined;
}

export interface Bindings {
  readonly pods: ReadonlyMap<PodSpec, Binding>;
  readonly services: ReadonlyMap<ServiceSpec, Binding>;
}

/** `bypass` on the object or its namespace: go straight to the destination while the waypoint is missing. */
const absentWaypointAnnotation = 'ambit.io/absent-waypoint';

const useWaypoint = 'istio.io/use-waypoint';
const useWaypointNamespace = 'istio.io/use-waypoint-namespace';

type BindingCode = 'WAYPOINT_UNKNOWN' | 'WAYPOINT_DENIED' | 'WAYPOINT_TRAFFIC_TYPE' | 'SERVICE_ENTRY_UNBINDABLE';
type Traffic = 'service' | 'workload';
/** `unset`: no label says anything. */
type Outcome = Binding | 'none' | 'unset';

export function bindWaypoints(
  inputs: Inputs,
  endpoints: Endpoints,
  gateways: Gateways,
  options: CompileOptions,
  diagnostics: Diagnostic[],
): Bindings {
  const reported = new Set<ConfigObject>();
  const byLabel = (object: ConfigObject, traffic: Traffic): Outcome => {
    const namespace = inputs.namespaces.get(object.metadata.namespace);
    const own = object.metadata.labels[useWaypoint] !== undefined;
    const holder = own ? object : namespace?.object;
    const name = holder?.metadata.labels[useWaypoint];
    if (holder === undefined || name === undefined) return 'unset';
    if (name === 'none') return 'none';
    const home = holder.metadata.labels[useWaypointNamespace] ?? object.metadata.namespace;
    const gateway = gateways.byName.get(`${home}/${name}`);
    const report = (code: BindingCode, message: string) => {
      if (!reported.has(holder)) diagnostics.push(diagnose(holder, code, message, ['metadata', 'labels', useWaypoint]));
      reported.add(holder);
    };
    if (gateway === undefined) {
      // The namespace speaks for its pods only if the Gateway says so, and there is none to say it.
      if (!own && traffic === 'workload') return 'none';
      report('WAYPOINT_UNKNOWN', `there is no waypoint Gateway ${home}/${name}`);
      return nowhere(`${serviceKey(home, name, options)}`, options);
    }
    if (gateway.waypointFor !== traffic && gateway.waypointFor !== 'all') {
      if (own) report('WAYPOINT_TRAFFIC_TYPE', `Gateway ${home}/${name} is for ${gateway.waypointFor} traffic`);
      return 'none';
    }
    if (!servable(object)) {
      const message = 'a ServiceEntry of resolution NONE has no endpoints that a waypoint could send to';
      if (!own) return 'none';
      report('SERVICE_ENTRY_UNBINDABLE', message);
      return nowhere(`${home}/${name}.${home}.unbindable.waypoint.internal`, options);
    }
    if (!admits(gateway.allowedFrom, home, object.metadata.namespace, namespace)) {
      report('WAYPOINT_DENIED', `Gateway ${home}/${name} does not admit namespace ${object.metadata.namespace}`);
      return nowhere(`${home}/${name}.${home}.denied.waypoint.internal`, options);
    }
    return { address: gateway.address, gateway };
  };
  const settle = (object: ConfigObject, outcome: Outcome, otherwise: () => GatewayRecord | undefined) => {
    if (outcome === 'none') return undefined;
    const gateway = outcome === 'unset' ? otherwise() : outcome.gateway;
    const binding = outcome !== 'unset' ? outcome : gateway && { address: gateway.address, gateway };
    const usable = gateway?.hasEndpoints === true;
    return usable || !mayBypass(object, inputs.namespaces.get(object.metadata.namespace)) ? binding : undefined;
  };
  const pods = new Map<PodSpec, Binding>();
  for (const pod of endpoints.pods.keys()) {
    if (pod.waypoint || pod.hostNetwork) continue;
    const account = () => gateways.byAccount.get(`${pod.namespace}/${pod.serviceAccount}`);
    const binding = settle(pod.object, byLabel(pod.object, 'workload'), account);
    if (binding !== undefined) pods.set(pod, binding);
  }
  const services = new Map<ServiceSpec, Binding>();
  const waypoints = new Set([...gateways.records.values()].map(({ service }) => service));
  for (const service of inputs.services.values()) {
    const key = specKey(service, options);
    if (waypoints.has(key)) continue;
    const account = () => accountWaypoint(service, endpoints.podsOf.get(key) ?? [], gateways, diagnostics);
    const binding = settle(service.object, byLabel(service.object, 'service'), account);
    if (binding !== undefined) services.set(service, binding);
  }
  return { pods, services };
}

/** If any workload behind a Service has a waypoint, the whole Service uses it (seed-design §4.1, precedence). */
function accountWaypoint(
  service: ServiceSpec,
  pods: readonly PodSpec[],
  gateways: Gateways,
  diagnostics: Diagnostic[],
): GatewayRecord | undefined {
  const found = new Map<string, GatewayRecord>();
  for (const pod of pods) {
    const gateway = pod.waypoint ? undefined : gateways.byAccount.get(`${pod.namespace}/${pod.serviceAccount}`);
    if (gateway !== undefined) found.set(gateway.key, gateway);
  }
  const [first, ...others] = [...found.keys()].sort();
  if (first === undefined) return undefined;
  if (others.length > 0) {
    const message = `its pods are served by ${[first, ...others].join(', ')}; ${first} is used`;
    diagnostics.push(diagnose(service.object, 'WAYPOINT_AMBIGUOUS', message));
  }
  return found.get(first);
}

/** A waypoint that no record stands for: whoever looks it up finds that it is unknown, and refuses. */
function nowhere(service: string, options: CompileOptions): Binding {
  return { address: { kind: 'hostname', service, hbonePort: options.preset.waypointPort }, gateway: undefined };
}

/** Whether a waypoint could find an endpoint for it. */
function servable(object: ConfigObject): boolean {
  return object.kind !== 'ServiceEntry' || parseServiceEntry(object).value?.resolution !== 'none';
}

function admits(allowed: AllowedFrom, home: string, from: string, namespace: NamespaceSpec | undefined): boolean {
  switch (allowed.kind) {
    case 'all':
      return true;
    case 'same':
      return from === home;
    case 'selector':
      return namespace !== undefined && selects(allowed.labels, namespace.labels);
  }
}

function mayBypass(object: ConfigObject, namespace: NamespaceSpec | undefined): boolean {
  const { annotations } = object.metadata;
  return (annotations[absentWaypointAnnotation] ?? namespace?.annotations[absentWaypointAnnotation]) === 'bypass';
}
