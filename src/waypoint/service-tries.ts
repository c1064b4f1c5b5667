/**
 * Where calls that a waypoint makes itself go, about a request: endpoints are chosen, reached and authenticated as for any
 * request to that service, with the settings of its DestinationRules and for the client on whose behalf it asks.
 */
import type { Service } from '../mesh/model.ts';
import { serviceByHostname } from '../mesh/named-service.ts';
import type { ServiceTarget } from '../route/mesh-config.ts';
import type { UpstreamProtocol } from '../upstream/endpoint.ts';
import type { OwnCall, OwnTry } from '../upstream/own-call.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import { chooseEndpoint, destinationPolicy, upstreamProtocol } from './endpoints.ts';
import { profiled } from './profiled-endpoint.ts';

/** The service that is meant, of those known now. */
export function targetService({ mesh, own }: WaypointServices, target: ServiceTarget): Service | undefined {
  const { hostname, namespace } = target;
  if (namespace !== undefined) return mesh.service(`${namespace}/${hostname}`);
  return serviceByHostname(mesh, hostname, own()?.namespace ?? '');
}

/** `protocol` undefined: as the port of the service says, HTTP/1.1 where it says nothing. */
export function triesOf(
  services: WaypointServices,
  tunnel: Tunnel,
  service: Service,
  port: number,
  protocol: UpstreamProtocol | undefined,
): OwnCall['nextTry'] {
  const model = services.model();
  return (tried): OwnTry => {
    if (destinationPolicy(services, { model, service, port, subset: undefined })?.tls?.mode === 'invalid') {
      return { kind: 'none', reason: 'the TLS settings of its DestinationRule are invalid' };
    }
    const choice = chooseEndpoint(services, tunnel, service, port, tried, { model });
    if (choice.kind !== 'endpoint') {
      return { kind: 'none', reason: `no endpoint: ${choice.kind === 'none' ? choice.reason : choice.kind}` };
    }
    const upstream = services.upstreams.of(model, services.own()?.namespace ?? '', service, port, undefined);
    return {
      kind: 'endpoint',
      endpoint: profiled(choice.endpoint, upstream?.profile, tunnel),
      protocol: protocol ?? upstreamProtocol(service, port, '1.1', upstream?.pool),
      watch: choice.watch,
      circuit: upstream?.circuit,
    };
  };
}
