/**
 * Policies put on the services and gateways they target. Targets are in the policy's own namespace; a class of Gateways is
 * targeted from the root namespace only.
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import type { ServiceKey } from '../mesh/model.ts';
import type { RequestAuthentication } from '../route/request-authentication.ts';
import type { Bindings } from './bindings.ts';
import type { Gateways } from './gateways.ts';
import type { Inputs } from './inputs.ts';
import { type ConfigObject, diagnose } from './object.ts';
import { type CompileOptions, serviceKey, specKey } from './options.ts';
import type { PolicyTarget } from './policy-targets.ts';

export interface TargetContext {
  readonly inputs: Inputs;
  readonly gateways: Gateways;
  readonly bindings: Bindings;
  readonly options: CompileOptions;
  readonly diagnostics: Diagnostic[];
}

/** Policies by the key of the service or gateway they are on, in their order. */
export interface Placed<Policy> {
  readonly services: ReadonlyMap<ServiceKey, readonly Policy[]>;
  readonly gateways: ReadonlyMap<string, readonly Policy[]>;
}

interface Targeting {
  readonly object: ConfigObject;
  readonly namespace: string;
  readonly targets: readonly PolicyTarget[];
}

/** What becomes of a target that is neither a Service nor a Gateway: `other` is not known either; a text says what is wrong. */
export type PlaceOther<Spec> = (spec: Spec, target: PolicyTarget) => 'placed' | 'other' | (string & {});

export function placeByTarget<Spec extends Targeting, Policy>(
  specs: readonly Spec[],
  policyOf: (spec: Spec) => Policy,
  context: TargetContext,
  placeOther: PlaceOther<Spec> = () => 'other',
): Placed<Policy> {
  const { inputs, gateways, bindings, options, diagnostics } = context;
  const services = new Map<ServiceKey, Policy[]>();
  const ofGateways = new Map<string, Policy[]>();
  for (const spec of specs) {
    const { object, namespace } = spec;
    const put = (map: Map<string, Policy[]>, key: string) => {
      const list = map.get(key);
      if (list === undefined) map.set(key, [policyOf(spec)]);
      else list.push(policyOf(spec));
    };
    for (const [i, target] of spec.targets.entries()) {
      const { kind, name } = target;
      const unknown = (what: string) => {
        const path = ['spec', 'targetRefs', i];
        diagnostics.push(diagnose(object, 'POLICY_UNKNOWN_TARGET', what, path));
      };
      if (kind === 'Service') {
        const service = inputs.services.get(`${namespace}/${name}`);
        if (service === undefined) unknown(`there is no Service ${namespace}/${name}`);
        else if (!bindings.services.has(service)) {
          const message = `Service ${namespace}/${name} has no waypoint`;
          diagnostics.push(diagnose(object, 'POLICY_TARGET_WITHOUT_WAYPOINT', message, ['spec', 'targetRefs', i]));
        }
        put(services, serviceKey(namespace, name, options));
      } else if (kind === 'ServiceEntry') {
        const hosts = inputs.entryHosts.get(`${namespace}/${name}`) ?? [];
        if (hosts.length === 0) unknown(`there is no ServiceEntry ${namespace}/${name}`);
        for (const [h, service] of hosts.entries()) {
          if (h === 0 && !bindings.services.has(service)) {
            const message = `ServiceEntry ${namespace}/${name} has no waypoint`;
            diagnostics.push(diagnose(object, 'POLICY_TARGET_WITHOUT_WAYPOINT', message, ['spec', 'targetRefs', i]));
          }
          put(services, specKey(service, options));
        }
      } else if (kind === 'Gateway') {
        const found = [...gateways.records.values()].filter(
          (record) => record.namespace === namespace && record.name === name,
        );
        if (found.length === 0) unknown(`there is no waypoint Gateway ${namespace}/${name}`);
        for (const { key } of found) put(ofGateways, key);
      } else if (kind === 'GatewayClass' && namespace === options.rootNamespace) {
        for (const { key, className } of gateways.records.values()) {
          if (className === name) put(ofGateways, key);
        }
      } else {
        const outcome = placeOther(spec, target);
        if (outcome === 'other') unknown(`a target of kind ${kind} is not supported here`);
        else if (outcome !== 'placed') unknown(outcome);
      }
    }
  }
  return { services, gateways: ofGateways };
}

export function buildRequestAuthentications(context: TargetContext): Placed<RequestAuthentication> {
  const { inputs, diagnostics } = context;
  for (const { object, targets } of inputs.requestAuthentications) {
    if (targets.length > 0) continue;
    const message = 'tokens are verified at waypoints only, and a waypoint needs targetRefs';
    diagnostics.push(diagnose(object, 'AUTHENTICATION_NOT_ENFORCED', message, ['spec']));
  }
  return placeByTarget(inputs.requestAuthentications, ({ authentication }) => authentication, context);
}
