/** Service records from Services, with the waypoint of each, and those made for waypoints that have none. */
import { parseCidr } from '../base/address.ts';
import type { LoadBalancing, Service, ServiceKey } from '../mesh/model.ts';
import type { Bindings } from './bindings.ts';
import type { Gateways } from './gateways.ts';
import type { Inputs } from './inputs.ts';
import { type CompileOptions, specHostname } from './options.ts';
import { distributionBalancing, type ServiceSpec, trafficDistributionAnnotation } from './service.ts';

export function buildServices(
  inputs: Inputs,
  gateways: Gateways,
  bindings: Bindings,
  options: CompileOptions,
): ReadonlyMap<ServiceKey, Service> {
  const services = new Map<ServiceKey, Service>();
  for (const made of gateways.services) services.set(made.key, made);
  for (const spec of inputs.services.values()) {
    const { name, namespace, vips, ipFamilies } = spec;
    const hostname = specHostname(spec, options);
    const key = `${namespace}/${hostname}`;
    services.set(key, {
      key,
      name,
      namespace,
      hostname,
      addresses: vips.flatMap((ip) => (ip.includes('/') ? [] : [{ network: options.network, ip }])),
      cidrs: cidrsOf(vips, options.network),
      ports: new Map(
        spec.ports.map(({ port, targetPort, appProtocol, name: portName }) => [
          port,
          {
            servicePort: port,
            targetPort: typeof targetPort === 'number' ? targetPort : 0,
            appProtocol,
            name: portName,
          },
        ]),
      ),
      subjectAltNames: [],
      waypoint: bindings.services.get(spec)?.address,
      weightedWaypoints: [],
      loadBalancing: balancingOf(spec, inputs),
      ipFamilies,
      canonical: spec.entry === undefined,
      visibility: spec.entry?.spec.visibility ?? 'public',
    });
  }
  return services;
}

function cidrsOf(vips: readonly string[], network: string): Service['cidrs'] {
  return vips.flatMap((text) => {
    const cidr = text.includes('/') ? parseCidr(text) : undefined;
    return cidr === undefined ? [] : [{ network, cidr }];
  });
}

function balancingOf(spec: ServiceSpec, inputs: Inputs): LoadBalancing {
  // Whoever sends to it is passed on to where they were going.
  if (spec.entry?.spec.resolution === 'none') return { mode: 'passthrough', preferences: [], allowUnhealthy: false };
  const annotation = inputs.namespaces.get(spec.namespace)?.annotations[trafficDistributionAnnotation];
  const { mode, preferences } = spec.loadBalancing ?? distributionBalancing(annotation);
  return { mode, preferences, allowUnhealthy: spec.allowUnhealthy };
}
