/** What of a waypoint reaches beyond the cluster: names of two kinds, and which addresses may be called. */
import type { SocketAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { MeshView } from '../mesh/view.ts';
import { type NameSource, serverNames, systemNames } from '../net/name-resolver.ts';
import type { Outside } from '../upstream/connector.ts';
import { createEgressGuard } from '../upstream/egress-guard.ts';
import { HostAddresses } from '../upstream/host-addresses.ts';
import { mostClientNames } from './named-endpoints.ts';
import type { WaypointSettings } from './settings.ts';

export interface OutsideDependencies {
  readonly mesh: MeshView;
  readonly settings: WaypointSettings;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The waypoint listens there, under an address of its machine; undefined: no address is known. */
  readonly isOwn?: ((address: SocketAddress) => boolean) | undefined;
  /** In place of the system's. */
  readonly nameSource?: NameSource | undefined;
  /** Some client uses the name. */
  readonly isNamed: (hostname: string) => boolean;
  /** A name no longer has one of its addresses. */
  readonly onGone: (hostname: string) => void;
}

/**
 * Names that the configuration gives, and apart from them those of clients, who must not push them out. Of clients those in use
 * (`named-endpoints.ts` says which) have room, and as many that nobody remembers but a question under way.
 */
const nameLimits = { configured: 4096, ofClients: 2 * mostClientNames };

export function createOutside({
  mesh,
  settings,
  nameSource,
  isOwn = () => false,
  isNamed,
  ...rest
}: OutsideDependencies): Outside & { close(): void } {
  const { network, egressAddresses } = settings;
  const isOfMesh = (ip: string) =>
    mesh.workloadByAddress(network, ip) !== undefined ||
    mesh.serviceByAddress(network, ip, undefined)?.canonical === true;
  const names = new HostAddresses({ ...rest, source: nameSource ?? systemNames(), limit: nameLimits.configured });
  // The system's own look-up holds a thread while it waits: not for what anybody may ask.
  const clientNames = new HostAddresses({
    ...rest,
    source: nameSource ?? serverNames(),
    limit: nameLimits.ofClients,
    isKept: isNamed,
  });
  return {
    names,
    clientNames,
    guard: createEgressGuard({ allowed: egressAddresses, isOfMesh, isOwn }),
    close() {
      names.close();
      clientNames.close();
    },
  };
}
