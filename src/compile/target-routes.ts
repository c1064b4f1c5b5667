/** Routes that a policy object names in a targetRef: those of its own namespace. */
import type { Inputs } from './inputs.ts';

/** Undefined: the kind is none of a route that policies can name. */
export function targetRoutes(kind: string, namespace: string, name: string, { httpRoutes, grpcRoutes }: Inputs) {
  const routes = kind === 'HTTPRoute' ? httpRoutes : kind === 'GRPCRoute' ? grpcRoutes : undefined;
  return routes?.filter(({ object: { metadata } }) => metadata.namespace === namespace && metadata.name === name);
}
