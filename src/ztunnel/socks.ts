/**
 * SOCKS5 on a place's loopback (15080, only when asked for): connections that say where they want to go, decided and
 * carried like captured ones. Names are resolved as the place's DNS would answer them.
 *
 * I1: to the far end the client is the workload, with its address, as if its connection had been captured.
 */
import { ipFamily, type SocketAddress } from '../base/address.ts';
import { errorText } from '../base/errors.ts';
import type { RunningDns } from '../dns/proxy.ts';
import type { CapturedConnection, RunningListener } from '../hbone/seam.ts';
import { listenSpec, type Place, shareOf, soleWorkload, type ZtunnelServices } from './context.ts';
import { outboundHandler } from './outbound.ts';

/** Undefined: it is not asked for. Rejects when it cannot listen. `dns` undefined: names are refused. */
export async function startSocks(
  services: ZtunnelServices,
  place: Place,
  dns: RunningDns | undefined,
): Promise<RunningListener | undefined> {
  const { socks: port } = services.settings.ports;
  if (port === undefined) return undefined;
  const handle = outboundHandler(services, place);
  const spec = listenSpec(services, place, 'outbound', port);
  return await services.relay.capture(
    { ...spec, ip: '127.0.0.1', transparent: false, redirected: false, greeting: 'socks5' },
    (connection) => {
      destinationOf(connection, dns)
        .then(async (destination) => {
          if (connection.gone) return;
          if (destination === undefined) connection.refuse('no-address');
          else
            handle(
              new RequestedConnection(
                connection,
                await clientOf(services, place, connection, destination),
                destination,
              ),
            );
        })
        .catch((error: unknown) => {
          services.logger.error('a SOCKS connection failed inside', { error: errorText(error) });
          connection.refuse();
        });
    },
    services.budgets.gate('outbound', soleWorkload(place)),
  );
}

async function destinationOf(
  { originalDestination, requestedHost }: CapturedConnection,
  dns: RunningDns | undefined,
): Promise<SocketAddress | undefined> {
  if (requestedHost === undefined) return originalDestination;
  const ip = await dns?.resolve(requestedHost);
  return ip === undefined ? undefined : { ip, port: originalDestination.port };
}

/** The workload's own address of the destination's family; loopback, where it came from, is nobody's outside. */
async function clientOf(
  { waiter, settings }: ZtunnelServices,
  place: Place,
  { peer }: CapturedConnection,
  destination: SocketAddress,
): Promise<SocketAddress> {
  const source = await waiter.until(settings.unknownSourceWaitMs, () => place.sourceAt(peer.ip), shareOf(place));
  const addresses = source?.addresses ?? [];
  const ip = addresses.find((each) => ipFamily(each) === ipFamily(destination.ip)) ?? addresses[0];
  return ip === undefined ? peer : { ip, port: peer.port };
}

/** The connection as the decision is to see it. */
class RequestedConnection implements CapturedConnection {
  readonly peer: SocketAddress;
  readonly originalDestination: SocketAddress;
  readonly #connection: CapturedConnection;

  constructor(connection: CapturedConnection, peer: SocketAddress, originalDestination: SocketAddress) {
    this.#connection = connection;
    this.peer = peer;
    this.originalDestination = originalDestination;
  }

  get local(): SocketAddress {
    return this.#connection.local;
  }

  get gone(): boolean {
    return this.#connection.gone;
  }

  tunnel(...verb: Parameters<CapturedConnection['tunnel']>) {
    return this.#connection.tunnel(...verb);
  }

  dial(...verb: Parameters<CapturedConnection['dial']>) {
    return this.#connection.dial(...verb);
  }

  refuse(...cause: Parameters<CapturedConnection['refuse']>): void {
    this.#connection.refuse(...cause);
  }
}
