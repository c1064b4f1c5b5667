/** Routes of one port from VirtualServices, as written, with those they delegate to. */
import type { Route, RouteBackend } from '../route/model.ts';
import { diagnose } from './object.ts';
import { specKey } from './options.ts';
import type { Attachment } from './route-attachments.ts';
import {
  find,
  forwardTo,
  lookUp,
  type RouteContext,
  reportOnce,
  serviceByHost,
  subsetExists,
  type UnknownCode,
  unknownMirror,
} from './route-context.ts';
import { broken, makeRoute } from './route-record.ts';
import { buildStages } from './stages.ts';
import { delegated } from './virtual-delegate.ts';
import type { DestinationSpec, VirtualMatchEntry, VirtualRuleSpec } from './virtual-rule.ts';
import type { VirtualServiceSpec } from './virtual-service.ts';

export function virtualRoutes(
  attached: readonly Attachment<VirtualServiceSpec>[],
  port: number,
  context: RouteContext,
): readonly Route[] {
  return attached.flatMap(({ spec }) =>
    spec.rules.flatMap((rule, i) =>
      rule.action.kind === 'delegate'
        ? delegatedRoutes(spec, rule, rule.action, i, port, context)
        : rulesRoutes(
            spec,
            rule,
            rule.matches.map(({ index }) => `${i}/${index}`),
            port,
            context,
          ),
    ),
  );
}

/** `places`: one for every match of the rule. */
function rulesRoutes(
  spec: VirtualServiceSpec,
  rule: VirtualRuleSpec,
  places: readonly string[],
  port: number,
  context: RouteContext,
): readonly Route[] {
  const action = actionOf(spec, rule, port, context);
  const stages = buildStages(rule.stages, (mirror) => virtualBackend(spec, mirror, port, context, unknownMirror));
  return rule.matches.flatMap((entry, i): Route[] => {
    if (entry.port !== undefined && entry.port !== port) return [];
    const { match, rewritePath } = rewritable(entry, rule);
    return [makeRoute(spec.object, { ...rule, rewritePath }, places[i] ?? '', match, action, stages)];
  });
}

function delegatedRoutes(
  root: VirtualServiceSpec,
  rule: VirtualRuleSpec,
  to: Extract<VirtualRuleSpec['action'], { kind: 'delegate' }>,
  index: number,
  port: number,
  context: RouteContext,
): readonly Route[] {
  const { namespace } = root.object.metadata;
  const target = `${to.namespace}/${to.name}`;
  const found = lookUp(context, `delegate ${target}`, ({ inputs }) => inputs.virtualByName.get(target));
  const seen = found?.exportTo === undefined || found.exportTo.has(namespace);
  const problem =
    found === undefined || !seen
      ? `there is no VirtualService ${target} for namespace ${namespace}`
      : found.hosts.length > 0
        ? `VirtualService ${target} has hosts of its own`
        : undefined;
  if (found === undefined || problem !== undefined) {
    const message = problem ?? '';
    context.diagnostics.push(diagnose(root.object, 'ROUTE_DELEGATE', message, to.path));
    find(context, root.object, port, 'ResolvedRefs', 'BackendNotFound', message);
    return [];
  }
  return found.rules.flatMap((below, i) => {
    if (below.action.kind === 'delegate') {
      const message = `a delegate may not delegate further`;
      context.diagnostics.push(diagnose(found.object, 'ROUTE_DELEGATE', message, below.action.path));
      return [];
    }
    const both = delegated(rule, below);
    if (both === undefined) {
      const message = `no match of it can hold together with those of VirtualService ${namespace}/${root.object.metadata.name}`;
      context.diagnostics.push(diagnose(found.object, 'ROUTE_DELEGATE', message, ['spec', 'http', i]));
      return [];
    }
    const places = both.places.map((place) => `${i}/${root.object.metadata.name}.${index}.${place}`);
    return rulesRoutes(found, both.rule, places, port, context);
  });
}

/** Istio's `rewrite.uri` replaces the matched prefix; without a match on the path that is the first slash, of a pattern all. */
function rewritable(entry: VirtualMatchEntry, { rewritePath }: VirtualRuleSpec): Pick<Route, 'match' | 'rewritePath'> {
  const { match } = entry;
  if (rewritePath?.kind !== 'prefix') return { match, rewritePath };
  if (match.path?.kind === 'regex') return { match, rewritePath: { kind: 'full', value: rewritePath.value } };
  const path = match.path ?? { kind: 'text-prefix', value: '/', ignoreCase: false };
  return { match: { ...match, path }, rewritePath };
}

function actionOf(
  spec: VirtualServiceSpec,
  rule: VirtualRuleSpec,
  port: number,
  context: RouteContext,
): Route['action'] {
  switch (rule.action.kind) {
    case 'invalid':
    case 'delegate':
      return broken;
    case 'redirect':
    case 'respond':
      return rule.action;
    case 'forward': {
      const backends = rule.action.destinations.map((destination) => virtualBackend(spec, destination, port, context));
      return forwardTo(context, backends);
    }
  }
}

/** A host nobody has is answered with 503, as Istio does; see `RouteBackend.refusal`. */
export function virtualBackend(
  spec: VirtualServiceSpec,
  destination: DestinationSpec,
  port: number,
  context: RouteContext,
  unknown: UnknownCode = 'ROUTE_UNKNOWN_BACKEND',
): RouteBackend {
  const { host, subset, weight, requestHeaders, responseHeaders, path } = destination;
  const service = serviceByHost(context, spec.object.metadata.namespace, host);
  const [first, second] = service?.ports ?? [];
  const target = destination.port ?? (second === undefined ? (first?.port ?? port) : port);
  const known = service?.ports.some((candidate) => candidate.port === target) === true;
  if (!known) {
    const message = `no Service is called ${host} and has port ${target}`;
    reportOnce(context, spec.object, destination, diagnose(spec.object, unknown, message, path));
    find(context, spec.object, port, 'ResolvedRefs', 'BackendNotFound', message);
    return { service: undefined, refusal: 503, port: target, weight, requestHeaders, responseHeaders };
  }
  const key = specKey(service, context.options);
  if (subset === undefined) return { service: key, port: target, weight, requestHeaders, responseHeaders };
  if (!subsetExists(context, service, subset)) {
    const message = `no DestinationRule of ${host} has a subset ${subset}`;
    reportOnce(context, spec.object, destination, diagnose(spec.object, 'ROUTE_UNKNOWN_SUBSET', message, path));
    find(context, spec.object, port, 'ResolvedRefs', 'BackendNotFound', message);
  }
  // Whether there is such a subset for this waypoint is seen when it is asked for.
  return { service: key, port: target, weight, requestHeaders, responseHeaders, subset };
}
