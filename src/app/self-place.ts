/**
 * ztunnel's own inbound HBONE listener, in its own namespace and with its own identity, so that a scraper in the mesh may read
 * its metrics through a tunnel (ztunnel.md §1.3). Policies of its workload are asked as for any other.
 *
 * I1: a tunnel reaches the metrics and readiness ports of the very address it came to, and nothing else: never the admin
 *     port, never loopback, never with a borrowed address; what the mesh does not know as a workload is refused.
 */
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { formatSpiffeId, parseSpiffeId } from '../base/spiffe.ts';
import type { RunningListener } from '../hbone/seam.ts';
import type { MeshView } from '../mesh/view.ts';
import type { Place, ZtunnelServices } from '../ztunnel/context.ts';
import { startInbound } from '../ztunnel/inbound.ts';
import { workloadPlace } from './workload-place.ts';
import type { ZtunnelProgramSettings } from './ztunnel-settings.ts';

/** Undefined: nobody said who we are (POD_NAMESPACE, POD_NAME, SERVICE_ACCOUNT), or it cannot be had, which is no one else's loss. */
export async function startSelf(
  services: ZtunnelServices,
  settings: ZtunnelProgramSettings,
  ip: string,
  mesh: MeshView,
  logger: Logger,
): Promise<RunningListener | undefined> {
  const place = settings.variables.ENABLE_PROXY ? selfPlace(settings, ip, mesh) : undefined;
  if (place === undefined) return undefined;
  services.secrets.want(place.identity);
  try {
    return await startInbound(services, place);
  } catch (error) {
    logger.warn('metrics cannot be read through the mesh', { error: errorText(error) });
    return undefined;
  }
}

export interface SelfPlace extends Place {
  readonly identity: NonNullable<Place['identity']>;
}

/** Undefined: ztunnel does not know who it is. */
export function selfPlace(settings: ZtunnelProgramSettings, ip: string, mesh: MeshView): SelfPlace | undefined {
  const { POD_NAMESPACE, POD_NAME, SERVICE_ACCOUNT, TRUST_DOMAIN } = settings.variables;
  const identity = parseSpiffeId(`spiffe://${TRUST_DOMAIN}/ns/${POD_NAMESPACE}/sa/${SERVICE_ACCOUNT}`);
  if (POD_NAME === '' || POD_NAMESPACE === '' || SERVICE_ACCOUNT === '' || identity === undefined) return undefined;
  const { AMBIT_METRICS_PORT, AMBIT_READINESS_PORT, AMBIT_ADMIN_PORT } = settings.variables;
  const ports = new Set([AMBIT_METRICS_PORT, AMBIT_READINESS_PORT]);
  // 0 is any free port, which nobody could ask for.
  ports.delete(0);
  ports.delete(AMBIT_ADMIN_PORT);
  const name = { namespace: POD_NAMESPACE, name: POD_NAME, serviceAccount: SERVICE_ACCOUNT };
  const place = workloadPlace(name, undefined, ip, settings, mesh);
  return { ...place, name: `${place.name} (self)`, identity: formatSpiffeId(identity), reachablePorts: ports };
}
