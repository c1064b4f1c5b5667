/** The share of its weight that a new endpoint gets (Envoy's slow start): it grows from the minimum to all of it. */
import type { Warmup } from '../../route/destination.ts';

/** 0 to 1, never 0. */
export function warmupFactor({ durationMs, minimumPercent, aggression }: Warmup, ageMs: number): number {
  if (ageMs >= durationMs) return 1;
  const grown = (Math.max(1, ageMs) / durationMs) ** (1 / aggression);
  // Of nothing it would never get a request, and never warm up.
  return Math.max(grown, minimumPercent / 100, 0.001);
}
