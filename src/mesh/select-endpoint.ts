/**
 * Choice of one endpoint of a service, as ztunnel does it (reference §3.5): usable endpoints, of those the nearest by the
 * service's locality preferences, of those one at random weighted by capacity. Pure; the reason says at which step the
 * last candidate was lost. Choosing costs the logarithm of the number of endpoints at most (`endpoint-plan.ts`).
 */
import type { Random } from '../base/random.ts';
import { type EndpointPlan, endpointPlan, makeEndpointPlan } from './endpoint-plan.ts';
import type { EndpointQuery, EndpointSelection, NoEndpointReason } from './endpoint-query.ts';
import { reach } from './usable-endpoint.ts';

/** Draws before the few that are excluded are left out by a look at every endpoint. */
const blindDraws = 8;

export function selectEndpoint(query: EndpointQuery): EndpointSelection {
  const { service, servicePort, resolution, exclude } = query;
  if (service.loadBalancing.mode === 'passthrough') return { kind: 'passthrough' };
  if (resolution === 'service' && !service.ports.has(servicePort)) return none('unknown-service-port');
  const plan = endpointPlan(query);
  if (exclude === undefined || exclude.size === 0) return choose(plan, query);
  for (let draws = 0; draws < blindDraws; draws++) {
    const selection = choose(plan, query);
    if ('workload' in selection && !exclude.has(selection.workload.uid)) return selection;
  }
  return choose(makeEndpointPlan(query), query);
}

function choose(plan: EndpointPlan, query: EndpointQuery): EndpointSelection {
  const { workloads, reason } = plan;
  if (workloads.length === 0) return none(reason);
  const workload = workloads[draw(plan, query.random)];
  return (workload && reach(workload, query)) ?? none('no-capacity');
}

/** Index of a workload, by capacity; beyond the last when none has any. */
function draw({ workloads, sums }: EndpointPlan, random: Random): number {
  if (sums === undefined) return Math.floor(random.next() * workloads.length);
  const point = random.next() * (sums[sums.length - 1] as number);
  let low = 0;
  let high = sums.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sums[middle] as number) > point) high = middle;
    else low = middle + 1;
  }
  return low;
}

function none(reason: NoEndpointReason): EndpointSelection {
  return { kind: 'none', reason };
}
