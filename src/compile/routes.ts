/**
 * Routes of every Service port that has any: GRPCRoutes, else HTTPRoutes, in order of precedence (GEP-1294), else
 * VirtualServices as written; a more specific kind leaves no room for another. Where routes exist and none matches, the request is answered with 404, never forwarded plainly.
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import { type Destinations, hasSubset } from '../route/destination.ts';
import type { PortRoutes, Route, RouteBackend } from '../route/model.ts';
import type { Bindings } from './bindings.ts';
import type { MatchRank } from './http-match.ts';
import { compareRank } from './http-match.ts';
import type { HttpRouteSpec, HttpRuleSpec } from './http-route.ts';
import type { Inputs } from './inputs.ts';
import { diagnose } from './object.ts';
import { type CompileOptions, serviceHostname, specHostname, specKey } from './options.ts';
import {
  mayAttach,
  portKey,
  portsOfParents,
  type RouteContext,
  reportOnce,
  resolveBackend,
  type UnknownCode,
  unknownMirror,
} from './route-context.ts';
import type { ServiceSpec } from './service.ts';
import type { ServicePortSpec } from './service-port.ts';
import { buildStages } from './stages.ts';
import { buildTcpRoutes, speaksHttp, type TcpPort, tcpPort } from './tcp-routes.ts';
import type { DestinationSpec, VirtualRuleSpec, VirtualServiceSpec } from './virtual-service.ts';

export function buildRoutes(
  inputs: Inputs,
  bindings: Bindings,
  destinations: Destinations,
  options: CompileOptions,
  diagnostics: Diagnostic[],
): ReadonlyMap<string, PortRoutes> {
  const found = new Map<string, RankedRoutes>();
  const context: RouteContext = { inputs, bindings, destinations, options, diagnostics, reported: new Set() };
  for (const spec of inputs.grpcRoutes) addHttpRoute(spec, context, found, new Set());
  const taken = new Set(found.keys());
  for (const spec of inputs.httpRoutes) addHttpRoute(spec, context, found, taken);
  const ranked = new Set(found.keys());
  const virtualTcp = new Map<string, TcpPort>();
  for (const spec of inputs.virtualServices) addVirtualService(spec, context, found, ranked, virtualTcp);
  const ports = new Map<string, PortRoutes>();
  for (const [key, { service, port, routes }] of found) {
    // Sorting is stable: equal ranks keep the order of age, name and place in the object.
    const sorted = routes
      .sort((a, b) => (a.rank && b.rank ? compareRank(a.rank, b.rank) : 0))
      .map(({ route }) => route);
    ports.set(key, {
      service: specKey(service, options),
      port: port.port,
      appProtocol: port.appProtocol,
      routes: sorted.some(({ match }) => matchesEverything(match)) ? sorted : [...sorted, notFound],
      tcpBackends: [],
    });
  }
  for (const [key, { service, port, backends }] of new Map([
    ...virtualTcp,
    ...buildTcpRoutes(inputs.tcpRoutes, context),
  ])) {
    const http = ports.get(key) ?? {
      service: specKey(service, options),
      port: port.port,
      appProtocol: port.appProtocol,
      routes: [],
    };
    ports.set(key, { ...http, tcpBackends: backends });
  }
  return ports;
}

interface RankedRoutes {
  readonly service: ServiceSpec;
  readonly port: ServicePortSpec;
  readonly routes: { readonly route: Route; readonly rank: MatchRank | undefined }[];
}

const notFound: Route = {
  name: 'no-route-matched',
  source: undefined,
  match: undefined,
  action: { kind: 'respond', status: 404, body: '' },
  requestHeaders: undefined,
  responseHeaders: undefined,
  rewritePath: undefined,
  rewriteHost: undefined,
  timeoutMs: undefined,
  retry: undefined,
};

function matchesEverything(match: Route['match']): boolean {
  if (match === undefined) return true;
  const { path, method, authority, scheme, headers, queryParams, sourceNamespace } = match;
  const anyPath = path === undefined || (path.kind === 'path-prefix' && path.value === '/');
  const others = [method, authority, scheme, sourceNamespace].every((part) => part === undefined);
  return anyPath && others && headers.length === 0 && queryParams.length === 0;
}

/** `taken`: ports that a kind of route that goes first has. */
function addHttpRoute(
  spec: HttpRouteSpec,
  context: RouteContext,
  found: Map<string, RankedRoutes>,
  taken: ReadonlySet<string>,
): void {
  for (const { service, port, path } of portsOfParents(spec, context)) {
    const key = portKey(service, port.port, context.options);
    if (taken.has(key)) {
      context.diagnostics.push(diagnose(spec.object, 'ROUTE_SHADOWED', `a GRPCRoute routes ${key}`, path));
      continue;
    }
    const { routes } = routesOf(found, service, port, context);
    for (const [i, rule] of spec.rules.entries()) {
      const action = httpAction(spec, rule, port.port, context);
      const stages = buildStages(rule.stages, (mirror) =>
        resolveBackend(spec, mirror, port.port, context, unknownMirror),
      );
      for (const { index, match, rank } of rule.matches) {
        routes.push({ rank, route: { ...makeRoute(spec, rule, `${i}/${index}`, match, action), stages } });
      }
    }
  }
}

function addVirtualService(
  spec: VirtualServiceSpec,
  context: RouteContext,
  found: Map<string, RankedRoutes>,
  ranked: ReadonlySet<string>,
  virtualTcp: Map<string, TcpPort>,
): void {
  const { inputs, diagnostics, options } = context;
  const { object } = spec;
  for (const [h, host] of spec.hosts.entries()) {
    const path = ['spec', 'hosts', h];
    const services = servicesOfHost(host, object.metadata.namespace, inputs, options);
    if (services.length === 0) {
      diagnostics.push(diagnose(object, 'ROUTE_UNKNOWN_PARENT', `no Service is called ${host}`, path));
    }
    for (const service of services) {
      if (!mayAttach(spec, service, context, path)) continue;
      for (const port of service.ports) {
        const key = portKey(service, port.port, options);
        const tcp = spec.tcp.find(({ ports }) => ports === 'all' || ports.includes(port.port));
        if (tcp !== undefined && !virtualTcp.has(key) && !speaksHttp(port)) {
          const backends = tcp.destinations.map((to) => virtualBackend(spec, to, port.port, context));
          virtualTcp.set(key, tcpPort(service, port, backends));
        }
        // One without `http` says nothing about requests.
        if (spec.rules.length === 0) continue;
        if (ranked.has(key)) {
          diagnostics.push(diagnose(object, 'ROUTE_SHADOWED', `a Gateway API route routes ${key}`, path));
          continue;
        }
        const { routes } = routesOf(found, service, port, context);
        for (const [i, rule] of spec.rules.entries()) {
          const action = virtualAction(spec, rule, port.port, context);
          const stages = buildStages(rule.stages, (mirror) =>
            virtualBackend(spec, mirror, port.port, context, unknownMirror),
          );
          for (const { index, match, port: onlyPort } of rule.matches) {
            if (onlyPort !== undefined && onlyPort !== port.port) continue;
            const full = match.path?.kind === 'regex' && rule.rewritePath?.kind === 'prefix';
            const rewritePath = full ? ({ kind: 'full', value: rule.rewritePath.value } as const) : rule.rewritePath;
            routes.push({
              rank: undefined,
              route: { ...makeRoute(spec, { ...rule, rewritePath }, `${i}/${index}`, match, action), stages },
            });
          }
        }
      }
    }
  }
}

function routesOf(
  found: Map<string, RankedRoutes>,
  service: ServiceSpec,
  port: ServicePortSpec,
  context: RouteContext,
): RankedRoutes {
  const key = portKey(service, port.port, context.options);
  let routes = found.get(key);
  if (routes === undefined) {
    routes = { service, port, routes: [] };
    found.set(key, routes);
  }
  return routes;
}

function makeRoute(
  { object }: { readonly object: HttpRouteSpec['object'] },
  rule: Pick<
    HttpRuleSpec | VirtualRuleSpec,
    'requestHeaders' | 'responseHeaders' | 'rewritePath' | 'rewriteHost' | 'timeoutMs' | 'retry'
  >,
  place: string,
  match: Route['match'],
  action: Route['action'],
): Route {
  const { namespace, name } = object.metadata;
  const { requestHeaders, responseHeaders, rewritePath, rewriteHost, timeoutMs, retry } = rule;
  return {
    name: `${namespace}/${name}/${place}`,
    source: { kind: object.kind, namespace, name },
    match,
    action,
    requestHeaders,
    responseHeaders,
    rewritePath,
    rewriteHost,
    timeoutMs,
    retry,
  };
}

/** A gRPC client is told UNAVAILABLE, as GRPCRoute asks. */
const broken: Route['action'] = { kind: 'respond', status: 500, body: '', grpcStatus: 14 };

function httpAction(spec: HttpRouteSpec, rule: HttpRuleSpec, port: number, context: RouteContext): Route['action'] {
  switch (rule.action.kind) {
    case 'invalid':
      return broken;
    case 'redirect':
      return rule.action;
    case 'forward': {
      const backends = rule.action.backends.map((backend) => resolveBackend(spec, backend, port, context));
      return backends.length === 0 ? broken : { kind: 'forward', backends };
    }
  }
}

function virtualAction(
  spec: VirtualServiceSpec,
  rule: VirtualRuleSpec,
  port: number,
  context: RouteContext,
): Route['action'] {
  switch (rule.action.kind) {
    case 'invalid':
      return broken;
    case 'redirect':
    case 'respond':
      return rule.action;
    case 'forward': {
      const backends = rule.action.destinations.map((destination) => virtualBackend(spec, destination, port, context));
      return { kind: 'forward', backends };
    }
  }
}

function virtualBackend(
  spec: VirtualServiceSpec,
  destination: DestinationSpec,
  port: number,
  context: RouteContext,
  unknown: UnknownCode = 'ROUTE_UNKNOWN_BACKEND',
): RouteBackend {
  const { inputs, options } = context;
  const { host, subset, weight, requestHeaders, responseHeaders, path } = destination;
  const [service] = host.includes('*') ? [] : servicesOfHost(host, spec.object.metadata.namespace, inputs, options);
  const [first, second] = service?.ports ?? [];
  const target = destination.port ?? (second === undefined ? (first?.port ?? port) : port);
  const known = service?.ports.some((candidate) => candidate.port === target) === true;
  const key = known ? specKey(service, options) : undefined;
  if (key === undefined) {
    const problem = `no Service is called ${host} and has port ${target}`;
    reportOnce(context, destination, diagnose(spec.object, unknown, problem, path));
  } else if (subset !== undefined && !hasSubset(context.destinations, key, subset)) {
    const problem = `no DestinationRule of ${host} has a subset ${subset}`;
    reportOnce(context, destination, diagnose(spec.object, 'ROUTE_UNKNOWN_SUBSET', problem, path));
  }
  const to = subset === undefined ? key : undefined;
  return { service: to, port: target, weight, requestHeaders, responseHeaders, subset };
}

/** A short name is of the namespace of who says it; a leading `*` stands for any beginning. */
function servicesOfHost(
  host: string,
  namespace: string,
  inputs: Inputs,
  options: CompileOptions,
): readonly ServiceSpec[] {
  if (!host.includes('*')) {
    const entries = inputs.servicesByEntryHost.get(host.toLowerCase());
    if (entries !== undefined) {
      // Of several that claim the name, those that its own namespace or everybody may see.
      return entries.filter(
        (service) => service.namespace === namespace || service.entry?.spec.visibility === 'public',
      );
    }
    const [name = '', owner = namespace] = host.split('.');
    const service = inputs.services.get(`${owner}/${name}`);
    const full = !host.includes('.') || (service && serviceHostname(owner, name, options) === host);
    return service !== undefined && full === true ? [service] : [];
  }
  return [...inputs.services.values()].filter((service) => {
    const hostname = specHostname(service, options);
    return host.startsWith('*') && hostname.endsWith(host.slice(1));
  });
}
