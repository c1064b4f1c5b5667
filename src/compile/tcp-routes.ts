/** Which TCPRoute a Service port has, with its backends looked up. */
import type { RouteBackend } from '../route/model.ts';
import { diagnose } from './object.ts';
import { portKey, portsOfParents, type RouteContext, resolveBackend } from './route-context.ts';
import type { ServiceSpec } from './service.ts';
import type { ServicePortSpec } from './service-port.ts';
import type { TcpRouteSpec } from './tcp-route.ts';

export interface TcpPort {
  readonly service: ServiceSpec;
  readonly port: ServicePortSpec;
  readonly backends: readonly RouteBackend[];
}

/** The oldest route of a port is used; those for a port that speaks HTTP never are. */
export function buildTcpRoutes(specs: readonly TcpRouteSpec[], context: RouteContext): ReadonlyMap<string, TcpPort> {
  const found = new Map<string, TcpPort>();
  for (const spec of specs) {
    for (const { service, port, path } of portsOfParents(spec, context)) {
      const key = portKey(service, port.port, context.options);
      if (speaksHttp(port)) {
        const message = `port ${port.port} of Service ${service.namespace}/${service.name} speaks HTTP`;
        context.diagnostics.push(diagnose(spec.object, 'ROUTE_PROTOCOL', message, path));
      } else if (found.has(key)) {
        context.diagnostics.push(diagnose(spec.object, 'ROUTE_SHADOWED', `an older TCPRoute routes ${key}`, path));
      } else {
        const backends = spec.backends.map((backend) => resolveBackend(spec, backend, port.port, context));
        found.set(key, tcpPort(service, port, backends));
      }
    }
  }
  return found;
}

export function speaksHttp({ appProtocol }: ServicePortSpec): boolean {
  return appProtocol === 'http11' || appProtocol === 'http2' || appProtocol === 'grpc';
}

export function tcpPort(service: ServiceSpec, port: ServicePortSpec, backends: readonly RouteBackend[]): TcpPort {
  return { service, port, backends: backends.length === 0 ? [nowhere] : backends };
}

/** Routes to nothing are refused, not forwarded plainly. */
const nowhere: RouteBackend = {
  service: undefined,
  port: 0,
  weight: 1,
  requestHeaders: undefined,
  responseHeaders: undefined,
};
