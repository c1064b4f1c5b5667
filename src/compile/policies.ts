/**
 * Policies put where they are enforced: ztunnel's L4 records and their names on workloads, and the full rules at
 * waypoints: by target, or, for pods behind a waypoint of the service-account form, by the pod they select.
 *
 * I1: a pod behind such a waypoint admits, once any policy applies to it, that waypoint's identity alone (R40), since its
 * policies are enforced there.
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import type { L4Policy, PolicyKey, ServiceKey } from '../mesh/model.ts';
import type { L7Policy } from '../route/model.ts';
import type { AuthorizationPolicySpec } from './authorization-policy.ts';
import type { Bindings } from './bindings.ts';
import type { Endpoints } from './endpoints.ts';
import type { GatewayRecord, Gateways } from './gateways.ts';
import type { Inputs } from './inputs.ts';
import { emptyMatch } from './l4-rules.ts';
import { diagnose } from './object.ts';
import type { CompileOptions } from './options.ts';
import { buildPeerPolicies } from './peer-policies.ts';
import type { PodSpec } from './pod.ts';
import { placeByTarget } from './policy-placement.ts';
import { selects } from './values.ts';
import { podUid } from './workloads.ts';

export interface Policies {
  readonly records: ReadonlyMap<PolicyKey, L4Policy>;
  readonly ofPod: ReadonlyMap<PodSpec, readonly PolicyKey[]>;
  readonly servicePolicies: ReadonlyMap<ServiceKey, readonly L7Policy[]>;
  readonly gatewayPolicies: ReadonlyMap<string, readonly L7Policy[]>;
  readonly workloadPolicies: ReadonlyMap<string, readonly L7Policy[]>;
}

export function buildPolicies(
  inputs: Inputs,
  endpoints: Endpoints,
  gateways: Gateways,
  bindings: Bindings,
  options: CompileOptions,
  diagnostics: Diagnostic[],
): Policies {
  const { rootNamespace } = options;
  const peers = buildPeerPolicies(inputs.peerAuthentications, rootNamespace, diagnostics);
  const records = new Map<PolicyKey, L4Policy>(peers.records.map((policy) => [policy.key, policy]));
  const ofPod = new Map<PodSpec, readonly PolicyKey[]>();
  const workloadPolicies = new Map<string, readonly L7Policy[]>();
  const selecting = inputs.policies.filter(({ targets }) => targets.length === 0);
  const cutShort = new Set<AuthorizationPolicySpec>();
  // Where pods behind waypoints have rules of their own, no record may apply to them by namespace.
  const byName = gateways.byAccount.size > 0;
  for (const spec of selecting) {
    const record = l4Policy(spec, byName, rootNamespace);
    if (record !== undefined) records.set(record.key, record);
  }
  const inScope = policiesByNamespace(selecting, rootNamespace);
  for (const pod of endpoints.pods.keys()) {
    const applying = inScope(pod.namespace).filter(({ selector }) => selects(selector ?? {}, pod.labels));
    const names = [...peers.namesFor(pod)];
    const gateway = bindings.pods.get(pod)?.gateway;
    if (gateway?.form === 'service-account') {
      if (applying.length > 0) workloadPolicies.set(podUid(pod, options), applying.map(l7Policy));
      if (applying.some(({ action, dryRun }) => action !== 'audit' && !dryRun)) {
        const only = onlyWaypoint(pod.namespace, gateway);
        records.set(only.key, only);
        names.push(only.key);
      }
    } else {
      for (const spec of applying) {
        if (spec.needsL7 && !pod.waypoint) cutShort.add(spec);
        const key = `${spec.namespace}/${spec.name}`;
        if (records.get(key)?.scope === 'workload') names.push(key);
      }
    }
    if (names.length > 0) ofPod.set(pod, names);
  }
  for (const { object } of cutShort) {
    const message = 'it is enforced by ztunnel, which cannot judge L7 fields; for a waypoint give it targetRefs';
    diagnostics.push(diagnose(object, 'POLICY_L7_AT_ZTUNNEL', message, ['spec', 'rules']));
  }
  return { records, ofPod, workloadPolicies, ...targetPolicies(inputs, gateways, bindings, options, diagnostics) };
}

/** A CUSTOM policy's rules say what is asked about, as a DENY's say what is denied. */
export function l7Policy(spec: AuthorizationPolicySpec): L7Policy {
  const { name, namespace, action, dryRun, rules } = spec;
  const source = { kind: 'AuthorizationPolicy', namespace, name };
  return { source, action: action === 'custom' ? 'deny' : action, dryRun, rules };
}

/** Audit is a waypoint's matter. */
function l4Policy(spec: AuthorizationPolicySpec, byName: boolean, rootNamespace: string): L4Policy | undefined {
  const { name, namespace, action, dryRun, selector, l4Rules: rules } = spec;
  if (action === 'audit' || action === 'custom') return undefined;
  const wide = namespace === rootNamespace ? 'global' : 'namespace';
  const scope = byName || selector !== undefined ? 'workload' : wide;
  return { key: `${namespace}/${name}`, name, namespace, scope, action, dryRun, rules };
}

function onlyWaypoint(namespace: string, gateway: GatewayRecord): L4Policy {
  const name = `ambit_only_waypoint_${gateway.key.replaceAll('/', '_')}`;
  const principals = gateway.identities.map((identity) => ({
    kind: 'exact' as const,
    value: identity.slice('spiffe://'.length),
  }));
  const rules = [[[{ ...emptyMatch, principals }]]];
  return { key: `${namespace}/${name}`, name, namespace, scope: 'workload', action: 'allow', dryRun: false, rules };
}

/** Policies of a namespace and of the root namespace, looked up once per namespace. */
function policiesByNamespace(
  specs: readonly AuthorizationPolicySpec[],
  rootNamespace: string,
): (namespace: string) => readonly AuthorizationPolicySpec[] {
  const kept = new Map<string, readonly AuthorizationPolicySpec[]>();
  return (namespace) => {
    let list = kept.get(namespace);
    if (list === undefined) {
      list = specs.filter((spec) => spec.namespace === namespace || spec.namespace === rootNamespace);
      kept.set(namespace, list);
    }
    return list;
  };
}

function targetPolicies(
  inputs: Inputs,
  gateways: Gateways,
  bindings: Bindings,
  options: CompileOptions,
  diagnostics: Diagnostic[],
): Pick<Policies, 'servicePolicies' | 'gatewayPolicies'> {
  const specs = inputs.policies.filter(({ action }) => action !== 'custom');
  const placed = placeByTarget(specs, l7Policy, { inputs, gateways, bindings, options, diagnostics });
  return { servicePolicies: placed.services, gatewayPolicies: placed.gateways };
}
