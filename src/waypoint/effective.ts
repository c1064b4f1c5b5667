/**
 * What is in force for one service, and why: which objects made which route, in order of precedence, where each leads, what
 * policies and rules go with it, and what was ignored. Plain data, made when an operator asks.
 */
import { type Diagnostic, formatDiagnostic } from '../base/diagnostics.ts';
import type { RouteStatus } from '../compile/route-status.ts';
import type { Service } from '../mesh/model.ts';
import { destinationOf } from '../route/destination.ts';
import type { L7Model, Route, RouteGroup, StreamRoute } from '../route/model.ts';
import type { ObjectRef } from '../route/object-ref.ts';
import type { WaypointServices } from './context.ts';
import { serves } from './gateway.ts';
import { actionText, backendsText, customTexts, matchText, policyText, streamMatchText } from './route-text.ts';

export interface EffectiveRoute {
  /** From 1: the first that matches is taken. */
  readonly order: number;
  readonly name: string;
  /** `kind namespace/name`; undefined: nobody wrote it. */
  readonly from: string | undefined;
  readonly rule: string | undefined;
  readonly match: string;
  readonly to: string;
  /** Everything else it does. */
  readonly does: readonly string[];
}

export interface EffectiveGroup {
  /** Whose clients; undefined: everybody else's. */
  readonly clientsOf: string | undefined;
  /** Empty: plain forwarding to the service. */
  readonly routes: readonly EffectiveRoute[];
  readonly connections: readonly EffectiveRoute[];
}

export interface EffectivePort {
  readonly port: number;
  readonly name: string;
  readonly protocol: string;
  readonly groups: readonly EffectiveGroup[];
}

export interface EffectiveService {
  readonly service: string;
  readonly addresses: readonly string[];
  /** This waypoint serves it. */
  readonly served: boolean;
  readonly ports: readonly EffectivePort[];
  /** Those that ask somebody else first; of each kind the gateway's, then the service's. */
  readonly policies: readonly string[];
  readonly tokens: readonly string[];
  readonly destination: {
    readonly from: readonly string[];
    readonly subsets: readonly string[];
    readonly policy: unknown;
  };
  /** Every route object that names the service, and what became of it there. */
  readonly status: readonly RouteStatus[];
  /** What was said of these objects when they were compiled. */
  readonly diagnostics: readonly string[];
}

/** What a compilation says, by what it is about. */
export interface EffectiveIndex {
  readonly l7: L7Model;
  /** By `namespace/name` of the parent. */
  readonly statuses: ReadonlyMap<string, readonly RouteStatus[]>;
  /** By `kind namespace/name` of the object. */
  readonly diagnostics: ReadonlyMap<string, readonly Diagnostic[]>;
}

export function effectiveService(
  services: WaypointServices,
  service: Service,
  { l7, statuses, diagnostics }: EffectiveIndex,
): EffectiveService {
  const own = services.own();
  const rules = destinationOf(l7.destinations, own?.namespace ?? '', service.key);
  const policies = [
    ...((own && l7.gatewayPolicies.get(own.key)) ?? []),
    ...(l7.servicePolicies.get(service.key) ?? []),
  ];
  const custom = [
    ...((own && l7.customAuthorizations.gateways.get(own.key)) ?? []),
    ...(l7.customAuthorizations.services.get(service.key) ?? []),
  ];
  const tokens = [
    ...((own && l7.gatewayAuthentications.get(own.key)) ?? []),
    ...(l7.serviceAuthentications.get(service.key) ?? []),
  ];
  const parent = `${service.namespace}/${service.name}`;
  const status = (statuses.get(parent) ?? []).map(({ object, parents }) => ({
    object,
    parents: parents.filter((one) => one.parent === parent),
  }));
  const concerned = new Set(
    [
      { kind: 'Service', namespace: service.namespace, name: service.name },
      ...status.map(({ object }) => object),
      ...custom.flatMap(({ policies: asking }) => asking.map(({ source }) => source)),
      ...policies.map(({ source }) => source),
      ...(rules?.sources ?? []),
    ].map(refText),
  );
  return {
    service: service.key,
    addresses: service.addresses.map(({ ip }) => ip),
    served: own !== undefined && serves(services.mesh, own, service),
    ports: [...service.ports.values()].map(({ servicePort, name, appProtocol }) => {
      const found = l7.ports.get(`${service.key}:${servicePort}`);
      const consumers = [...(found?.consumers ?? [])].map(([namespace, group]) => groupView(namespace, group));
      return {
        port: servicePort,
        name,
        protocol: appProtocol,
        groups: [...consumers, groupView(undefined, found ?? nothing)],
      };
    }),
    policies: [...custom.flatMap(customTexts), ...policies.map(policyText)],
    tokens: tokens.map(({ source }) => refText(source)),
    destination: {
      from: (rules?.sources ?? []).map(refText),
      subsets: [...(rules?.subsets.keys() ?? [])],
      policy: rules?.policies,
    },
    status,
    diagnostics: [...concerned].flatMap((object) => diagnostics.get(object) ?? []).map(formatDiagnostic),
  };
}

const nothing: RouteGroup = { routes: [], streams: [] };

function groupView(clientsOf: string | undefined, { routes, streams }: RouteGroup): EffectiveGroup {
  return { clientsOf, routes: routes.map(routeView), connections: streams.map(streamView) };
}

function routeView(route: Route, i: number): EffectiveRoute {
  const { name, source, ruleName, rewritePath, rewriteHost, timeoutMs, retry, stages, session } = route;
  const does = [
    ...(rewritePath === undefined ? [] : [`rewrites the path (${rewritePath.kind})`]),
    ...(rewriteHost === undefined ? [] : [`rewrites the host to ${rewriteHost}`]),
    ...(route.requestHeaders === undefined ? [] : ['changes request headers']),
    ...(route.responseHeaders === undefined ? [] : ['changes response headers']),
    ...(timeoutMs === undefined ? [] : [`timeout ${timeoutMs} ms`]),
    ...(retry === undefined ? [] : [`${retry.attempts} retries`]),
    ...(stages?.fault === undefined ? [] : ['injects faults']),
    ...(stages?.cors === undefined ? [] : ['answers CORS']),
    ...(stages?.mirrors ?? []).map(
      ({ backend, share }) => `mirrors ${share * 100} % to ${backend.service}:${backend.port}`,
    ),
    ...(session === undefined ? [] : [`sessions by ${session.carrier} ${session.name}`]),
  ];
  return {
    order: i + 1,
    name,
    from: source && refText(source),
    rule: ruleName,
    match: matchText(route),
    to: actionText(route),
    does,
  };
}

function streamView(route: StreamRoute, i: number): EffectiveRoute {
  const { name, source, backends } = route;
  return {
    order: i + 1,
    name,
    from: source && refText(source),
    rule: undefined,
    match: streamMatchText(route),
    to: backendsText(backends),
    does: [],
  };
}

function refText({ kind, namespace, name }: ObjectRef): string {
  return `${kind} ${namespace === '' ? '' : `${namespace}/`}${name}`;
}
