/** Whether an address leads back to this program: one of its machine's, at a port that it listens on. */
import { networkInterfaces } from 'node:os';
import { canonicalIp, type SocketAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';

/** How long the machine's addresses are taken to stay the same. */
const freshMs = 10_000;

/** The same port at another machine, where a ztunnel or another waypoint listens, is none of ours. */
export function ownListeners(
  ports: readonly number[],
  clock: Clock,
  addressesNow: () => ReadonlySet<string> = interfaceAddresses,
): (address: SocketAddress) => boolean {
  const own = new Set(ports);
  let addresses: ReadonlySet<string> = new Set();
  let untilMs = Number.NEGATIVE_INFINITY;
  return ({ ip, port }) => {
    if (!own.has(port)) return false;
    const now = clock.nowMs();
    if (now >= untilMs) {
      addresses = addressesNow();
      untilMs = now + freshMs;
    }
    return addresses.has(ip);
  };
}

function interfaceAddresses(): ReadonlySet<string> {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return new Set(all.map(({ address }) => canonicalIp(address) ?? address));
}
