/** What a listener for everybody binds to. */
import { networkInterfaces } from 'node:os';

/** Every address, of both families where this namespace has both. */
export function wildcard(ipv6Wanted: boolean): string {
  const interfaces = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return ipv6Wanted && interfaces.some(({ family }) => family === 'IPv6') ? '::' : '0.0.0.0';
}
