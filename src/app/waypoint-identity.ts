/** The one certificate of a waypoint: that of the service account it runs as. */
import type { Identity } from '../base/spiffe.ts';
import type { SecretManager } from '../identity/secret-manager.ts';
import { type IdentityDependencies, openProxySecrets } from './proxy-identity.ts';
import type { WaypointProgramSettings } from './waypoint-settings.ts';

/** Rejects with an AmbitError that says which setting is at fault. */
export function openWaypointSecrets(
  { variables }: WaypointProgramSettings,
  { trustDomain, namespace, serviceAccount }: Identity,
  dependencies: IdentityDependencies,
): Promise<SecretManager> {
  const joinAs = { kind: 'waypoint', namespace, serviceAccount } as const;
  const proxy = { variables, trustDomain, clusterId: variables.CLUSTER_ID, joinAs, impersonate: false };
  return openProxySecrets(proxy, dependencies);
}
