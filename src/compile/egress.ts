/** What waypoints must know of services that are hosts of ServiceEntries. */
import type { ServiceKey } from '../mesh/model.ts';
import type { Egress } from '../route/egress.ts';
import type { Inputs } from './inputs.ts';
import { type CompileOptions, specKey } from './options.ts';

export function buildEgress({ entryHosts }: Inputs, options: CompileOptions): ReadonlyMap<ServiceKey, Egress> {
  const egress = new Map<ServiceKey, Egress>();
  for (const service of [...entryHosts.values()].flat()) {
    if (service.entry === undefined) continue;
    const { spec, host } = service.entry;
    if (spec.resolution === 'none') continue;
    egress.set(specKey(service, options), {
      resolution: spec.resolution,
      external: spec.external,
      host,
      serverNames: spec.serverNames,
    });
  }
  return egress;
}
