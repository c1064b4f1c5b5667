/**
 * PeerAuthentication as L4 policies, in the forms istiod gives them: one static policy that turns plaintext away, named
 * by every workload that is STRICT, and one converted policy per object with port exceptions. A workload only ever
 * names policies that exist.
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import type { L4Policy, PolicyKey, PolicyMatch } from '../mesh/model.ts';
import { emptyMatch } from './l4-rules.ts';
import { diagnose } from './object.ts';
import type { PeerAuthenticationSpec, PeerMode } from './peer-authentication.ts';
import type { PodSpec } from './pod.ts';
import { selects } from './values.ts';

export interface PeerPolicies {
  readonly records: readonly L4Policy[];
  namesFor(pod: PodSpec): readonly PolicyKey[];
}

/** `specs`: oldest first; the oldest of a scope is the one that counts. */
export function buildPeerPolicies(
  specs: readonly PeerAuthenticationSpec[],
  rootNamespace: string,
  diagnostics: Diagnostic[],
): PeerPolicies {
  if (specs.length === 0) return { records: [], namesFor: () => [] };
  const strict = policy(rootNamespace, 'istio_converted_static_strict', [[[plaintext]]]);
  const wide = new Map<string, PeerAuthenticationSpec>();
  const selecting = specs.filter(({ selector }) => selector !== undefined);
  for (const spec of specs) {
    if (spec.selector !== undefined) continue;
    const older = wide.get(spec.namespace);
    if (older === undefined) wide.set(spec.namespace, spec);
    else
      diagnostics.push(
        diagnose(spec.object, 'PEER_AUTHENTICATION_SHADOWED', `${older.name} is older and used instead`),
      );
  }
  const inherited = (namespace: string): PeerMode =>
    wide.get(namespace)?.mode ?? wide.get(rootNamespace)?.mode ?? 'permissive';
  const converted = new Map<PeerAuthenticationSpec, L4Policy>();
  for (const spec of selecting) {
    const rules = exceptionRules(spec.mode ?? inherited(spec.namespace), spec.ports);
    if (rules.length > 0)
      converted.set(spec, policy(spec.namespace, `converted_peer_authentication_${spec.name}`, rules));
  }
  return {
    records: [strict, ...converted.values()],
    namesFor: (pod) => {
      const own = selecting.find(
        ({ namespace, selector }) => namespace === pod.namespace && selects(selector ?? {}, pod.labels),
      );
      const exceptions = own === undefined ? undefined : converted.get(own);
      if (exceptions !== undefined) return [exceptions.key];
      return (own?.mode ?? inherited(pod.namespace)) === 'strict' ? [strict.key] : [];
    },
  };
}

/** Matches whoever proved no identity. */
const plaintext: PolicyMatch = { ...emptyMatch, notPrincipals: [{ kind: 'presence' }] };

/** Empty when no port differs from the mode of the whole. */
function exceptionRules(mode: PeerMode, ports: ReadonlyMap<number, PeerMode>): L4Policy['rules'] {
  const differing = [...ports].filter(([, portMode]) => portMode !== mode).map(([port]) => port);
  if (differing.length === 0) return [];
  if (mode === 'strict') {
    return [[[plaintext], ...differing.map((port) => [{ ...emptyMatch, notDestinationPorts: [port] }])]];
  }
  return differing.map((port) => [[plaintext], [{ ...emptyMatch, destinationPorts: [port] }]]);
}

function policy(namespace: string, name: string, rules: L4Policy['rules']): L4Policy {
  return { key: `${namespace}/${name}`, name, namespace, scope: 'workload', action: 'deny', dryRun: false, rules };
}
