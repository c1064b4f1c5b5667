/** The weighted choice among a route's backends: share = weight / sum, zero gets nothing. */
import { pickWeighted, type Random } from '../base/random.ts';
import type { RouteBackend } from './model.ts';

export type BackendChoice =
  | { readonly kind: 'backend'; readonly backend: RouteBackend }
  /** No backend, or all weights are zero: answered with 500. */
  | { readonly kind: 'none' };

export function chooseBackend(backends: readonly RouteBackend[], random: Random): BackendChoice {
  const [only] = backends;
  if (backends.length === 1 && only !== undefined && only.weight > 0) return { kind: 'backend', backend: only };
  const index = pickWeighted(
    backends.map((backend) => backend.weight),
    random,
  );
  const backend = backends[index];
  return backend === undefined ? { kind: 'none' } : { kind: 'backend', backend };
}
