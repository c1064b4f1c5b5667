/** The one certificate of a waypoint: that of the service account it runs as. */
import type { Identity } from '../base/spiffe.ts';
import { type IdentityDependencies, openProxySecrets, type ProxySecrets } from './proxy-identity.ts';
import type { WaypointProgramSettings } from './waypoint-settings.ts';

/** Rejects with an AmbitError that says which setting is at fault. */
export function openWaypointSecrets(
  { variables }: WaypointProgramSettings,
  { trustDomain, namespace, serviceAccount }: Identity,
  dependencies: IdentityDependencies,
): Promise<ProxySecrets> {
  const joinAs = { kind: 'waypoint', namespace, serviceAccount } as const;
  const proxy = { variables, trustDomain, clusterId: variables.CLUSTER_ID, joinAs, impersonate: false };
  return openProxySecrets(proxy, dependencies);
}
