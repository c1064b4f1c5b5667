/**
 * Routes of one Service, port by port. Of Gateway API's kinds one port follows one: GRPCRoute, else HTTPRoute, else TLSRoute,
 * else TCPRoute (GEP-1294, "Route types"), and each of them goes before VirtualServices. Consumer routes are a world of their
 * own beside the producers' (GEP-1426, "Multiple routes for a Service").
 *
 * I1: the result depends on what is attached, on the Service, and on look-ups that are noted, on nothing else.
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import type { PortRoutes, RouteGroup } from '../route/model.ts';
import type { HttpRouteSpec } from './http-route.ts';
import { checkObject } from './inputs.ts';
import { type ConfigObject, diagnose } from './object.ts';
import { type CompileOptions, specKey } from './options.ts';
import { rankedRoutes } from './ranked-routes.ts';
import type { Attachment, Attachments } from './route-attachments.ts';
import { find, type LookUp, portKey, type RouteContext, type RouteWorld } from './route-context.ts';
import { closed } from './route-record.ts';
import type { RouteFinding } from './route-status.ts';
import type { ServicePortSpec } from './service-port.ts';
import { tcpStreams, tlsStreams, virtualStreams } from './stream-routes.ts';
import { virtualRoutes } from './virtual-routes.ts';

export interface ServiceRoutes {
  readonly attachments: Attachments;
  /** By `PortRoutes` key. A port without routes has no entry. */
  readonly ports: readonly (readonly [key: string, routes: PortRoutes])[];
  readonly diagnostics: readonly Diagnostic[];
  readonly findings: readonly RouteFinding[];
  readonly lookUps: readonly LookUp[];
}

export function buildServiceRoutes(
  attachments: Attachments,
  world: RouteWorld,
  options: CompileOptions,
): ServiceRoutes {
  const { service } = attachments;
  const context: RouteContext = {
    world,
    options,
    service,
    diagnostics: [],
    findings: [],
    lookUps: new Map(),
    reported: new Map(),
    backends: new Map(),
    forwards: [],
  };
  const namespaces = consumersOf(attachments);
  const ports: [string, PortRoutes][] = [];
  for (const port of service.ports) {
    const own = groupOf(attachments, port, undefined, context);
    const consumers = new Map<string, RouteGroup>();
    for (const namespace of namespaces) {
      const group = groupOf(attachments, port, namespace, context);
      if (!isEmpty(group)) consumers.set(namespace, group);
    }
    if (isEmpty(own) && consumers.size === 0) continue;
    ports.push([
      portKey(service, port.port, options),
      {
        service: specKey(service, options),
        port: port.port,
        appProtocol: port.appProtocol,
        ...own,
        ...(consumers.size === 0 ? undefined : { consumers }),
      },
    ]);
  }
  for (const { spec } of [...attachments.grpc, ...attachments.http]) findInvalidRules(spec, context);
  const { diagnostics, findings, lookUps } = context;
  return { attachments, ports, diagnostics, findings, lookUps: [...lookUps.values()] };
}

function groupOf(
  attachments: Attachments,
  port: ServicePortSpec,
  consumer: string | undefined,
  context: RouteContext,
): RouteGroup {
  const applying = <Spec extends { readonly object: ConfigObject }>(
    list: readonly Attachment<Spec>[],
    fits: (port: ServicePortSpec) => boolean,
    wants: string,
  ): readonly Attachment<Spec>[] => {
    const here = list.filter((one) => one.consumer === consumer && (one.port === undefined || one.port === port.port));
    if (fits(port)) return here;
    // One that is for every port is not meant for those it cannot route, unless there is no other.
    const meant = context.service.ports.some(fits) ? here.filter((one) => one.port !== undefined) : here;
    for (const { spec, path } of meant) {
      const message = `port ${port.port} of Service ${context.service.namespace}/${context.service.name} speaks ${wants}`;
      context.diagnostics.push(diagnose(spec.object, 'ROUTE_PROTOCOL', message, path));
      find(context, spec.object, port.port, 'Accepted', 'UnsupportedProtocol', message);
    }
    return [];
  };
  const grpc = applying(attachments.grpc, mayCarryHttp, 'no HTTP');
  const http = applying(attachments.http, mayCarryHttp, 'no HTTP');
  const tls = applying(attachments.tls, mayCarryStreams, 'HTTP');
  const tcp = applying(attachments.tcp, mayCarryStreams, 'HTTP');
  const virtual = consumer === undefined ? attachments.virtual : [];
  const shadow = (shadowed: readonly Attachment<{ readonly object: ConfigObject }>[], by: string) => {
    const key = portKey(context.service, port.port, context.options);
    for (const { spec, path } of shadowed) {
      const message = `a ${by} routes ${key}`;
      context.diagnostics.push(diagnose(spec.object, 'ROUTE_SHADOWED', message, path));
      find(context, spec.object, port.port, 'Accepted', 'Conflicted', message);
    }
  };
  if (grpc.length > 0) shadow([...http, ...tls, ...tcp], 'GRPCRoute');
  else if (http.length > 0) shadow([...tls, ...tcp], 'HTTPRoute');
  else if (tls.length > 0) shadow(tcp, 'TLSRoute');
  const ranked = grpc.length > 0 ? grpc : http;
  if (ranked.length > 0) {
    shadow(
      // One without `http` says nothing about requests.
      virtual.filter(({ spec }) => spec.rules.length > 0),
      'Gateway API route',
    );
    const streams = mayCarryStreams(port) ? virtualStreams(virtual, port.port, context) : [];
    return { routes: closed(rankedRoutes(ranked, port.port, context)), streams };
  }
  const routes = mayCarryHttp(port) ? closed(virtualRoutes(virtual, port.port, context)) : [];
  if (tls.length > 0) return { routes, streams: tlsStreams(tls, port.port, context) };
  if (tcp.length > 0) return { routes, streams: tcpStreams(tcp, port.port, context) };
  return { routes, streams: mayCarryStreams(port) ? virtualStreams(virtual, port.port, context) : [] };
}

/** What is not declared may be either. */
function mayCarryHttp({ appProtocol }: ServicePortSpec): boolean {
  return appProtocol !== 'tcp' && appProtocol !== 'tls';
}

function mayCarryStreams({ appProtocol }: ServicePortSpec): boolean {
  return appProtocol !== 'http11' && appProtocol !== 'http2' && appProtocol !== 'grpc';
}

function isEmpty({ routes, streams }: RouteGroup): boolean {
  return routes.length === 0 && streams.length === 0;
}

function consumersOf({ grpc, http, tls, tcp }: Attachments): readonly string[] {
  const all = [...grpc, ...http, ...tls, ...tcp].flatMap(({ consumer }) => (consumer === undefined ? [] : [consumer]));
  return [...new Set(all)];
}

/** A rule that cannot be followed is answered with 500: the rest of the route stands. */
function findInvalidRules(spec: HttpRouteSpec, context: RouteContext): void {
  const problems = checkObject(spec.object).filter(({ code }) => /^ROUTE_(?:RULE|MATCH)_INVALID$/.test(code));
  const none = spec.rules.length > 0 && spec.rules.every(({ action }) => action.kind === 'invalid');
  const type = none ? 'Accepted' : 'PartiallyInvalid';
  for (const { message } of problems) find(context, spec.object, undefined, type, 'UnsupportedValue', message);
}
