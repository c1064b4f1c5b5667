/**
 * Routes of every Service port that has any: HTTPRoutes in order of precedence (GEP-1294), else VirtualServices as
 * written. Where routes exist and none matches, the request is answered with 404, never forwarded plainly.
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import type { PortRoutes, Route, RouteBackend } from '../route/model.ts';
import type { Bindings } from './bindings.ts';
import type { MatchRank } from './http-match.ts';
import { compareRank } from './http-match.ts';
import type { BackendSpec, HttpRouteSpec, HttpRuleSpec } from './http-route.ts';
import type { Inputs } from './inputs.ts';
import { diagnose } from './object.ts';
import { type CompileOptions, serviceHostname, serviceKey } from './options.ts';
import type { ServicePortSpec, ServiceSpec } from './service.ts';
import { buildStages } from './stages.ts';
import type { DestinationSpec, VirtualRuleSpec, VirtualServiceSpec } from './virtual-service.ts';

export function buildRoutes(
  inputs: Inputs,
  bindings: Bindings,
  options: CompileOptions,
  diagnostics: Diagnostic[],
): ReadonlyMap<string, PortRoutes> {
  const found = new Map<string, RankedRoutes>();
  const context: Context = { inputs, bindings, options, diagnostics, reported: new Set() };
  for (const spec of inputs.httpRoutes) addHttpRoute(spec, context, found);
  const ranked = new Set(found.keys());
  for (const spec of inputs.virtualServices) addVirtualService(spec, context, found, ranked);
  const ports = new Map<string, PortRoutes>();
  for (const [key, { service, port, routes }] of found) {
    // Sorting is stable: equal ranks keep the order of age, name and place in the object.
    const sorted = routes
      .sort((a, b) => (a.rank && b.rank ? compareRank(a.rank, b.rank) : 0))
      .map(({ route }) => route);
    ports.set(key, {
      service: serviceKey(service.namespace, service.name, options),
      port: port.port,
      appProtocol: port.appProtocol,
      routes: sorted.some(({ match }) => matchesEverything(match)) ? sorted : [...sorted, notFound],
      tcpBackends: [],
    });
  }
  return ports;
}

interface Context {
  readonly inputs: Inputs;
  readonly bindings: Bindings;
  readonly options: CompileOptions;
  readonly diagnostics: Diagnostic[];
  readonly reported: Set<BackendSpec | DestinationSpec>;
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
  const { path, method, authority, scheme, headers, queryParams } = match;
  const anyPath = path === undefined || (path.kind === 'path-prefix' && path.value === '/');
  const others = [method, authority, scheme].every((part) => part === undefined);
  return anyPath && others && headers.length === 0 && queryParams.length === 0;
}

function addHttpRoute(spec: HttpRouteSpec, context: Context, found: Map<string, RankedRoutes>): void {
  const { inputs, diagnostics } = context;
  const { object } = spec;
  for (const parent of spec.parents) {
    const service = inputs.services.get(`${parent.namespace}/${parent.name}`);
    if (service === undefined) {
      const message = `there is no Service ${parent.namespace}/${parent.name}`;
      diagnostics.push(diagnose(object, 'ROUTE_UNKNOWN_PARENT', message, parent.path));
      continue;
    }
    if (!mayAttach(spec, service, context, parent.path)) continue;
    const ports = service.ports.filter(({ port }) => parent.port === undefined || port === parent.port);
    if (ports.length === 0) {
      const message = `Service ${parent.namespace}/${parent.name} has no port ${parent.port ?? 'at all'}`;
      diagnostics.push(diagnose(object, 'ROUTE_UNKNOWN_PARENT', message, parent.path));
    }
    for (const port of ports) {
      const { routes } = routesOf(found, service, port, context);
      for (const [i, rule] of spec.rules.entries()) {
        const action = httpAction(spec, rule, port.port, context);
        const stages = buildStages(rule.stages, (mirror) =>
          httpBackend(spec, mirror, port.port, context, unknownMirror),
        );
        for (const { index, match, rank } of rule.matches) {
          routes.push({ rank, route: { ...makeRoute(spec, rule, `${i}/${index}`, match, action), stages } });
        }
      }
    }
  }
}

function addVirtualService(
  spec: VirtualServiceSpec,
  context: Context,
  found: Map<string, RankedRoutes>,
  ranked: ReadonlySet<string>,
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
        if (ranked.has(key)) {
          diagnostics.push(diagnose(object, 'ROUTE_SHADOWED', `an HTTPRoute routes ${key}`, path));
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
            const full = match.path?.kind === 'regex' && rule.rewritePath !== undefined;
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

/** Producer routes only: those of the Service's namespace or of its waypoint's (Istio ambient). */
function mayAttach(
  { object }: { readonly object: HttpRouteSpec['object'] },
  service: ServiceSpec,
  { bindings, diagnostics }: Context,
  path: readonly (string | number)[],
): boolean {
  const binding = bindings.services.get(service);
  const { namespace } = object.metadata;
  if (binding === undefined) {
    const message = `Service ${service.namespace}/${service.name} has no waypoint`;
    diagnostics.push(diagnose(object, 'ROUTE_WITHOUT_WAYPOINT', message, path));
  }
  if (namespace === service.namespace || namespace === binding?.gateway?.namespace) return true;
  const message = `a route for Service ${service.namespace}/${service.name} may not come from namespace ${namespace}`;
  diagnostics.push(diagnose(object, 'ROUTE_NAMESPACE', message, path));
  return false;
}

function routesOf(
  found: Map<string, RankedRoutes>,
  service: ServiceSpec,
  port: ServicePortSpec,
  context: Context,
): RankedRoutes {
  const key = portKey(service, port.port, context.options);
  let routes = found.get(key);
  if (routes === undefined) {
    routes = { service, port, routes: [] };
    found.set(key, routes);
  }
  return routes;
}

function portKey(service: ServiceSpec, port: number, options: CompileOptions): string {
  return `${serviceKey(service.namespace, service.name, options)}:${port}`;
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

const broken: Route['action'] = { kind: 'respond', status: 500, body: '' };

function httpAction(spec: HttpRouteSpec, rule: HttpRuleSpec, port: number, context: Context): Route['action'] {
  switch (rule.action.kind) {
    case 'invalid':
      return broken;
    case 'redirect':
      return rule.action;
    case 'forward': {
      const backends = rule.action.backends.map((backend) => httpBackend(spec, backend, port, context));
      return backends.length === 0 ? broken : { kind: 'forward', backends };
    }
  }
}

/** What is reported for a reference that leads nowhere. */
type UnknownCode = 'ROUTE_UNKNOWN_BACKEND' | 'ROUTE_UNKNOWN_MIRROR';
const unknownMirror: UnknownCode = 'ROUTE_UNKNOWN_MIRROR';

function httpBackend(
  spec: HttpRouteSpec,
  backend: BackendSpec,
  port: number,
  context: Context,
  unknown: UnknownCode = 'ROUTE_UNKNOWN_BACKEND',
): RouteBackend {
  const { inputs, options } = context;
  const { namespace, name, weight, requestHeaders, responseHeaders } = backend;
  const service = inputs.services.get(`${namespace}/${name}`);
  const target = backend.port ?? port;
  const known = service?.ports.some((candidate) => candidate.port === target) === true;
  if (!known) {
    const message =
      name === '' ? 'the backend is no Service' : `there is no Service ${namespace}/${name} with port ${target}`;
    reportOnce(context, backend, diagnose(spec.object, unknown, message, backend.path));
  }
  const key = known ? serviceKey(namespace, name, options) : undefined;
  return { service: key, port: target, weight, requestHeaders, responseHeaders };
}

function virtualAction(
  spec: VirtualServiceSpec,
  rule: VirtualRuleSpec,
  port: number,
  context: Context,
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
  context: Context,
  unknown: UnknownCode = 'ROUTE_UNKNOWN_BACKEND',
): RouteBackend {
  const { inputs, options } = context;
  const { host, subset, weight, requestHeaders, responseHeaders, path } = destination;
  const [service] = host.includes('*') ? [] : servicesOfHost(host, spec.object.metadata.namespace, inputs, options);
  const [first, second] = service?.ports ?? [];
  const target = destination.port ?? (second === undefined ? (first?.port ?? port) : port);
  const known = service?.ports.some((candidate) => candidate.port === target) === true;
  const key = known && subset === undefined ? serviceKey(service.namespace, service.name, options) : undefined;
  if (key === undefined) {
    const problem = known
      ? diagnose(spec.object, 'ROUTE_SUBSET', `subset ${subset ?? ''} of ${host}`, path)
      : diagnose(spec.object, unknown, `no Service is called ${host} and has port ${target}`, path);
    reportOnce(context, destination, problem);
  }
  return { service: key, port: target, weight, requestHeaders, responseHeaders };
}

/** A backend stands in a route of every port of the parent, but is reported once. */
function reportOnce(context: Context, backend: BackendSpec | DestinationSpec, diagnostic: Diagnostic): void {
  if (context.reported.has(backend)) return;
  context.reported.add(backend);
  context.diagnostics.push(diagnostic);
}

/** A short name is of the namespace of who says it; a leading `*` stands for any beginning. */
function servicesOfHost(
  host: string,
  namespace: string,
  inputs: Inputs,
  options: CompileOptions,
): readonly ServiceSpec[] {
  if (!host.includes('*')) {
    const [name = '', owner = namespace] = host.split('.');
    const service = inputs.services.get(`${owner}/${name}`);
    const full = !host.includes('.') || (service && serviceHostname(owner, name, options) === host);
    return service !== undefined && full === true ? [service] : [];
  }
  return [...inputs.services.values()].filter((service) => {
    const hostname = serviceHostname(service.namespace, service.name, options);
    return host.startsWith('*') && hostname.endsWith(host.slice(1));
  });
}
