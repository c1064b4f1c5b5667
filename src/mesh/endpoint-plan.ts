/**
 * The endpoints among which a choice is made, found once for everybody who asks alike: usable ones, of those the nearest.
 *
 * I1: a plan belongs to a list of endpoints and to a service record; both are replaced when they change, never changed,
 *     and the plan goes with them. So one request pays for a change, and all others choose at once.
 */

import type { EndpointQuery, NoEndpointReason } from './endpoint-query.ts';
import { equallyPlaced, localityRank } from './locality.ts';
import type { Service, Workload } from './model.ts';
import { networkOf, obstacle } from './usable-endpoint.ts';

export interface EndpointPlan {
  /** The asker it was made for; those who ask alike share it. */
  readonly query: Pick<EndpointQuery, 'source' | 'servicePort' | 'resolution'>;
  readonly network: string;
  /** Of equal nearness, in the order of the endpoints. */
  readonly workloads: readonly Workload[];
  /** Sums of the capacities up to and with each; undefined when all are equal and positive. */
  readonly sums: Float64Array | undefined;
  /** At which step the last candidate was lost, when `workloads` is empty. */
  readonly reason: NoEndpointReason;
}

interface ServicePlans {
  readonly service: Service;
  readonly plans: EndpointPlan[];
}

/** A plan holds a list at most; who asks from ever new places makes the oldest give way. */
const maxPlans = 64;
const plansByEndpoints = new WeakMap<readonly Workload[], ServicePlans>();

/** Without regard to `exclude`. */
export function endpointPlan(query: EndpointQuery): EndpointPlan {
  const { service, endpoints } = query;
  let known = plansByEndpoints.get(endpoints);
  if (known?.service !== service) {
    known = { service, plans: [] };
    plansByEndpoints.set(endpoints, known);
  }
  const { plans } = known;
  for (const plan of plans) if (serves(plan, query)) return plan;
  const { exclude: _, ...everybody } = query;
  const plan = makeEndpointPlan(everybody);
  if (plans.length >= maxPlans) plans.shift();
  plans.push(plan);
  return plan;
}

export function makeEndpointPlan(query: EndpointQuery): EndpointPlan {
  const { source, servicePort, resolution, endpoints } = query;
  let reason: NoEndpointReason = 'no-endpoints';
  let bestRank = 0;
  let nearest: Workload[] = [];
  for (const workload of endpoints) {
    const problem = obstacle(workload, query);
    if (problem !== undefined) {
      if (steps[problem] > steps[reason]) reason = problem;
      continue;
    }
    const rank = localityRank(workload, query);
    if (rank === undefined) {
      reason = 'no-endpoint-in-locality';
      continue;
    }
    if (rank > bestRank || nearest.length === 0) {
      bestRank = rank;
      nearest = [workload];
    } else if (rank === bestRank) {
      nearest.push(workload);
    }
  }
  return {
    query: { source, servicePort, resolution },
    network: networkOf(query),
    // The common case, which then costs no memory.
    workloads: nearest.length === endpoints.length ? endpoints : nearest,
    sums: capacitySums(nearest),
    reason,
  };
}

const steps: Readonly<Record<NoEndpointReason, number>> = {
  'unknown-service-port': 0,
  'no-endpoints': 1,
  'all-excluded': 2,
  'all-unhealthy': 3,
  'no-port-on-endpoints': 4,
  'no-network-gateway': 5,
  'no-usable-address': 6,
  'no-endpoint-in-locality': 7,
  'no-capacity': 8,
};

function serves(plan: EndpointPlan, query: EndpointQuery): boolean {
  return (
    plan.query.servicePort === query.servicePort &&
    plan.query.resolution === query.resolution &&
    plan.network === networkOf(query) &&
    equallyPlaced(plan.query.source, query.source, query.service.loadBalancing)
  );
}

function capacitySums(workloads: readonly Workload[]): Float64Array | undefined {
  const first = workloads[0]?.capacity ?? 1;
  if (first > 0 && workloads.every(({ capacity }) => capacity === first)) return undefined;
  const sums = new Float64Array(workloads.length);
  let sum = 0;
  for (const [i, { capacity }] of workloads.entries()) {
    sum += Math.max(0, capacity);
    sums[i] = sum;
  }
  return sums;
}
