/** What a rule asks for beside its action, before its backends are looked up. */
import type { CorsPolicy, FaultPolicy, RouteBackend, RouteStages } from '../route/model.ts';

export interface MirrorSpec<Backend> {
  readonly backend: Backend;
  readonly share: number;
}

export interface StagesSpec<Backend> {
  readonly fault: FaultPolicy | undefined;
  readonly cors: CorsPolicy | undefined;
  readonly mirrors: readonly MirrorSpec<Backend>[];
}

/** A mirror whose backend does not exist is left out: the requests themselves are not concerned. */
export function buildStages<Backend>(
  spec: StagesSpec<Backend> | undefined,
  resolve: (backend: Backend) => RouteBackend,
): RouteStages | undefined {
  if (spec === undefined) return undefined;
  const { fault, cors } = spec;
  const mirrors = spec.mirrors
    .map(({ backend, share }) => ({ backend: resolve(backend), share }))
    .filter(({ backend }) => backend.service !== undefined);
  if (fault === undefined && cors === undefined && mirrors.length === 0) return undefined;
  return { fault, cors, mirrors };
}
