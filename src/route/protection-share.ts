/**
 * Limits of one of several processes that share a port: each has its part, so that all of them together let through no more than
 * was asked. A client whose one connection is with one of them is held to that part.
 */
import type { TrafficProtection, TrafficProtections } from './traffic-protection.ts';

/** The same part as long as the object stands: counts are kept by it. */
const parts = new WeakMap<TrafficProtection, TrafficProtection>();

/** `processes` is the same for the life of this one. */
export function shareProtections(protections: TrafficProtections, processes: number): TrafficProtections {
  const share = (protection: TrafficProtection) =>
    parts.getOrInsertComputed(protection, () => part(protection, processes));
  const all = <Key>(lists: ReadonlyMap<Key, readonly TrafficProtection[]>) =>
    new Map(Array.from(lists, ([key, list]) => [key, list.map(share)] as const));
  return {
    services: all(protections.services),
    gateways: all(protections.gateways),
    routes: all(protections.routes),
  };
}

/** The rate exactly, by a longer interval; what is counted in whole numbers rounded up. Global limits are counted elsewhere. */
function part(protection: TrafficProtection, processes: number): TrafficProtection {
  return {
    ...protection,
    local: protection.local.map((limit) => ({
      ...limit,
      intervalMs: limit.intervalMs * processes,
      burst: Math.ceil(limit.burst / processes),
    })),
    concurrency: protection.concurrency.map((limit) => ({
      ...limit,
      maxRequests: Math.ceil(limit.maxRequests / processes),
      maxQueued: Math.ceil(limit.maxQueued / processes),
    })),
  };
}
