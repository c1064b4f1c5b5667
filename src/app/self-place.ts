/**
 * ztunnel's own inbound HBONE listener, in its own namespace and with its own identity, so that a scraper in the mesh may read
 * its metrics through a tunnel (ztunnel.md §1.3). Policies of its workload are asked as for any other.
 *
 * I1: it delivers to ztunnel's own address alone, from that address; what the mesh does not know as a workload is refused.
 */
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { RunningListener } from '../hbone/seam.ts';
import type { MeshView } from '../mesh/view.ts';
import type { ZtunnelServices } from '../ztunnel/context.ts';
import { startInbound } from '../ztunnel/inbound.ts';
import { workloadPlace } from './workload-place.ts';
import type { WorkloadName, ZtunnelProgramSettings } from './ztunnel-settings.ts';

/** Undefined: nobody said who we are (POD_NAMESPACE, POD_NAME, SERVICE_ACCOUNT), or it cannot be had, which is no one else's loss. */
export async function startSelf(
  services: ZtunnelServices,
  settings: ZtunnelProgramSettings,
  ip: string,
  mesh: MeshView,
  logger: Logger,
): Promise<RunningListener | undefined> {
  const name = ownName(settings);
  if (name === undefined || !settings.variables.ENABLE_PROXY) return undefined;
  const own = { ...services.settings, spoofing: false, transparentListeners: false, listenerMarks: false };
  try {
    return await startInbound({ ...services, settings: own }, workloadPlace(name, undefined, ip, settings, mesh));
  } catch (error) {
    logger.warn('metrics cannot be read through the mesh', { error: errorText(error) });
    return undefined;
  }
}

function ownName({ variables }: ZtunnelProgramSettings): WorkloadName | undefined {
  const { POD_NAMESPACE: namespace, POD_NAME: name, SERVICE_ACCOUNT: serviceAccount } = variables;
  if (namespace === undefined || name === undefined || serviceAccount === undefined) return undefined;
  return { namespace, name, serviceAccount };
}
