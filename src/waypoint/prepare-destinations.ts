/** Hash tables of what this waypoint serves, made before the first request asks for them: after each change of the model. */
import { inSlices } from '../base/slices.ts';
import { destinationOf, type PortPolicies } from '../route/destination.ts';
import type { WaypointServices } from './context.ts';
import { serves } from './gateway.ts';

/** Never rejects. */
export async function prepareDestinations(services: WaypointServices): Promise<void> {
  const { clock, logger } = services;
  try {
    await inSlices(prepareSteps(services), { clock });
  } catch (error) {
    logger.error('internal error while preparing hash tables', { error: String((error as Error).stack ?? error) });
  }
}

function* prepareSteps(services: WaypointServices): Generator<undefined> {
  const { mesh, clusters } = services;
  const { destinations } = services.model();
  const own = services.own();
  if (own === undefined) return;
  for (const key of destinations.keys()) {
    const service = mesh.service(key);
    const destination = destinationOf(destinations, own.namespace, key);
    if (service === undefined || destination === undefined || !serves(mesh, own, service)) continue;
    for (const port of service.ports.keys()) {
      if (isHashed(destination.policies, port)) clusters.prepare(service, port, destination, undefined);
      for (const { name, policies } of destination.subsets.values()) {
        if (isHashed(policies, port)) clusters.prepare(service, port, destination, name);
      }
      yield;
    }
  }
}

function isHashed({ ports, otherwise }: PortPolicies, port: number): boolean {
  return (ports.get(port) ?? otherwise).loadBalancer?.choice.kind === 'hash';
}
