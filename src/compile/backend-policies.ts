/**
 * BackendTLSPolicies and XBackendTrafficPolicies by the services they are for, with what they refer to looked up. The oldest
 * policy for a port wins. One that cannot be followed stands as invalid: what it is for is not reached in clear instead.
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import type { ServiceKey } from '../mesh/model.ts';
import type { RetryBudgetPolicy } from '../route/destination.ts';
import type { SessionPersistence } from '../route/session.ts';
import type { BackendPolicies, BackendTls } from '../route/upstream-tls.ts';
import type { BackendTlsPolicySpec } from './backend-tls-policy.ts';
import type { Inputs } from './inputs.ts';
import { type ConfigObject, diagnose, type Path } from './object.ts';
import { type CompileOptions, specKey } from './options.ts';
import type { ServiceSpec } from './service.ts';
import { sessionOf } from './session-persistence.ts';

export function buildBackendPolicies(
  inputs: Inputs,
  options: CompileOptions,
  diagnostics: Diagnostic[],
): BackendPolicies {
  const credentials = inputs.credentials.map(
    ({ namespace, name, credential }) => [`${namespace}/${name}`, credential] as const,
  );
  return {
    tls: tlsOfServices(inputs, options, diagnostics),
    retryBudgets: budgetsOfServices(inputs, options, diagnostics),
    sessions: sessionsOfServices(inputs, options),
    credentials: new Map(credentials),
  };
}

function tlsOfServices(inputs: Inputs, options: CompileOptions, diagnostics: Diagnostic[]): BackendPolicies['tls'] {
  const found = new Map<ServiceKey, { otherwise: BackendTls | undefined; ports: Map<number, BackendTls> }>();
  for (const policy of inputs.backendTlsPolicies) {
    const { object, namespace } = policy;
    const tls = backendTls(policy, inputs, diagnostics);
    for (const { kind, name, sectionName, path } of policy.targets) {
      for (const service of targetsOf(object, { kind, namespace, name, path }, inputs, diagnostics)) {
        const known = found.getOrInsertComputed(specKey(service, options), () => ({
          otherwise: undefined,
          ports: new Map(),
        }));
        const port = service.ports.find((each) => each.name === sectionName)?.port;
        if (sectionName !== undefined && port === undefined) {
          const message = `${kind} ${namespace}/${name} has no port called ${sectionName}`;
          diagnostics.push(diagnose(object, 'BACKEND_POLICY_UNKNOWN_TARGET', message, path));
        } else if ((port === undefined ? known.otherwise : known.ports.get(port)) !== undefined) {
          const message = `an older BackendTLSPolicy is for ${namespace}/${name} already`;
          diagnostics.push(diagnose(object, 'BACKEND_POLICY_SHADOWED', message, path));
        } else if (port === undefined) known.otherwise = tls;
        else known.ports.set(port, tls);
      }
    }
  }
  return found;
}

function backendTls(policy: BackendTlsPolicySpec, inputs: Inputs, diagnostics: Diagnostic[]): BackendTls {
  const { object, namespace, hostname, names, authorityRefs } = policy;
  const source = { kind: object.kind, namespace, name: object.metadata.name };
  const pem: string[] = [];
  for (const [i, { group, kind, name }] of authorityRefs.entries()) {
    const isConfigMap = (group === '' || group === 'core') && kind === 'ConfigMap';
    const authorities = isConfigMap ? inputs.authorities.get(`${namespace}/${name}`) : undefined;
    if (authorities !== undefined) {
      pem.push(authorities);
      continue;
    }
    const reason = `there is no ConfigMap ${namespace}/${name} with a ca.crt`;
    const path = ['spec', 'validation', 'caCertificateRefs', i];
    diagnostics.push(diagnose(object, 'BACKEND_TLS_INVALID', reason, path));
    return { source, kind: 'invalid', reason };
  }
  return { source, kind: 'tls', hostname, names, authorities: pem.length === 0 ? undefined : pem.join('\n') };
}

function budgetsOfServices(
  inputs: Inputs,
  options: CompileOptions,
  diagnostics: Diagnostic[],
): ReadonlyMap<ServiceKey, RetryBudgetPolicy> {
  const budgets = new Map<ServiceKey, RetryBudgetPolicy>();
  for (const { object, namespace, targets, retryBudget, session } of inputs.backendTrafficPolicies) {
    if (retryBudget === undefined && session === undefined) continue;
    for (const { kind, name, path } of targets) {
      for (const service of targetsOf(object, { kind, namespace, name, path }, inputs, diagnostics)) {
        const key = specKey(service, options);
        if (retryBudget !== undefined && !budgets.has(key)) budgets.set(key, retryBudget);
      }
    }
  }
  return budgets;
}

/** The oldest policy of a service that says something about sessions. Targets that do not exist were told of before. */
function sessionsOfServices(inputs: Inputs, options: CompileOptions): ReadonlyMap<ServiceKey, SessionPersistence> {
  const sessions = new Map<ServiceKey, SessionPersistence>();
  for (const { object, namespace, targets, session } of inputs.backendTrafficPolicies) {
    if (session === undefined) continue;
    for (const { kind, name, path } of targets) {
      for (const service of targetsOf(object, { kind, namespace, name, path }, inputs, [])) {
        const key = specKey(service, options);
        if (!sessions.has(key)) sessions.set(key, sessionOf(session, key, 'none'));
      }
    }
  }
  return sessions;
}

function targetsOf(
  object: ConfigObject,
  target: { readonly kind: string; readonly namespace: string; readonly name: string; readonly path: Path },
  inputs: Inputs,
  diagnostics: Diagnostic[],
): readonly ServiceSpec[] {
  const { kind, namespace, name, path } = target;
  const service = kind === 'Service' ? inputs.services.get(`${namespace}/${name}`) : undefined;
  if (service !== undefined) return [service];
  const hosts = kind === 'ServiceEntry' ? inputs.entryHosts.get(`${namespace}/${name}`) : undefined;
  if (hosts !== undefined) return hosts;
  const message = `there is no ${kind} ${namespace}/${name}`;
  diagnostics.push(diagnose(object, 'BACKEND_POLICY_UNKNOWN_TARGET', message, path));
  return [];
}
