/**
 * AuthorizationPolicies with action CUSTOM, put where their targets are and gathered by the provider that they name.
 *
 * I1: a provider that is missing, unusable or of another kind stays empty: what the rules match is denied.
 */
import type { CustomAuthorization, CustomAuthorizations } from '../route/custom-authorization.ts';
import type { ExtensionProvider, MeshConfig } from '../route/mesh-config.ts';
import type { AuthorizationPolicySpec } from './authorization-policy.ts';
import { diagnose } from './object.ts';
import { l7Policy } from './policies.ts';
import { placeByTarget, type TargetContext } from './policy-placement.ts';

export function buildCustomAuthorizations(context: TargetContext, meshConfig: MeshConfig): CustomAuthorizations {
  const specs = context.inputs.policies.filter(({ action }) => action === 'custom');
  for (const spec of specs) {
    const problem = problemOf(spec, meshConfig.providers.get(spec.provider));
    if (problem === undefined) continue;
    const message = `${problem}; what the rules match is denied`;
    context.diagnostics.push(diagnose(spec.object, 'POLICY_PROVIDER', message, ['spec', 'provider']));
  }
  const { services, gateways } = placeByTarget(specs, (spec) => spec, context);
  const gather = (placed: typeof services) =>
    new Map([...placed].map(([key, policies]) => [key, byProvider(policies, meshConfig)]));
  return { services: gather(services), gateways: gather(gateways) };
}

function byProvider(
  specs: readonly AuthorizationPolicySpec[],
  { providers }: MeshConfig,
): readonly CustomAuthorization[] {
  return [...Map.groupBy(specs, ({ provider }) => provider)].map(([providerName, policies]) => {
    const provider = providers.get(providerName);
    return {
      providerName,
      provider: provider !== undefined && isAuthorizer(provider) ? provider : undefined,
      policies: policies.map(l7Policy),
    };
  });
}

function isAuthorizer(provider: ExtensionProvider) {
  return provider.kind === 'ext-authz-http' || provider.kind === 'ext-authz-grpc';
}

function problemOf({ provider: name }: AuthorizationPolicySpec, provider: ExtensionProvider | undefined) {
  if (name === '') return 'action CUSTOM without a provider';
  if (provider === undefined) return `the mesh configuration has no provider ${name}`;
  if (provider.kind === 'unusable') return `the provider ${name} is unusable: ${provider.reason}`;
  return isAuthorizer(provider) ? undefined : `the provider ${name} authorizes nobody`;
}
