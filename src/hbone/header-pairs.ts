/** Raw header lists of HTTP/2 (name, value, name, value …) as the seam has headers. */
import type { TunnelHeaders } from './seam.ts';

/** Pseudo headers left out. */
export function pairsOf(raw: readonly string[]): TunnelHeaders {
  const pairs: (readonly [string, string])[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] as string;
    if (!name.startsWith(':')) pairs.push([name, raw[i + 1] as string]);
  }
  return pairs;
}
