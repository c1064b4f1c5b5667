/**
 * The status of a route as Gateway API words it: for every parent Accepted, ResolvedRefs and, where part of it cannot be
 * followed, PartiallyInvalid. Made of what was found while routes were put together; nobody writes it back to a cluster.
 */
import type { ObjectRef } from '../route/object-ref.ts';
import type { ConfigObject } from './object.ts';

export type ConditionType = 'Accepted' | 'ResolvedRefs' | 'PartiallyInvalid';

/** Gateway API's RouteConditionReason; `Pending` where no waypoint applies the route. */
export type ConditionReason =
  | 'Accepted'
  | 'ResolvedRefs'
  | 'NoMatchingParent'
  | 'NotAllowedByListeners'
  | 'Conflicted'
  | 'Pending'
  | 'UnsupportedValue'
  | 'UnsupportedProtocol'
  | 'InvalidKind'
  | 'BackendNotFound'
  | 'RefNotPermitted';

export interface Condition {
  readonly type: ConditionType;
  readonly status: 'True' | 'False';
  readonly reason: ConditionReason;
  /** What was found, sentence by sentence; empty when all is well. */
  readonly message: string;
}

/** Something that keeps a route from being what it asks for. */
export interface RouteFinding {
  readonly object: ConfigObject;
  /** `namespace/name` of the Service, or the host as written. */
  readonly parent: string;
  /** Undefined: every port of the parent. */
  readonly port: number | undefined;
  readonly type: ConditionType;
  readonly reason: ConditionReason;
  readonly message: string;
}

export interface ParentStatus {
  /** `namespace/name` of the Service, or the host as written. */
  readonly parent: string;
  readonly conditions: readonly Condition[];
}

export interface RouteStatus {
  readonly object: ObjectRef;
  readonly parents: readonly ParentStatus[];
}

/** What a route's attachment to one parent amounts to. `ports`: how many the parent has for it. */
export function parentStatus(parent: string, ports: number, findings: readonly RouteFinding[]): ParentStatus {
  const of = (type: ConditionType) => findings.filter((finding) => finding.type === type);
  const refusals = of('Accepted');
  const everywhere = refusals.some(({ port }) => port === undefined);
  const refused = everywhere || (refusals.length > 0 && new Set(refusals.map(({ port }) => port)).size >= ports);
  const conditions: Condition[] = [
    refused ? condition('Accepted', 'False', refusals) : { ...fine('Accepted'), message: words(refusals) },
  ];
  const unresolved = of('ResolvedRefs');
  conditions.push(unresolved.length > 0 ? condition('ResolvedRefs', 'False', unresolved) : fine('ResolvedRefs'));
  const partial = of('PartiallyInvalid');
  if (partial.length > 0 && !refused) conditions.push(condition('PartiallyInvalid', 'True', partial));
  return { parent, conditions };
}

function fine(type: 'Accepted' | 'ResolvedRefs'): Condition {
  return { type, status: 'True', reason: type, message: '' };
}

function condition(type: ConditionType, status: Condition['status'], findings: readonly RouteFinding[]): Condition {
  return { type, status, reason: findings[0]?.reason ?? 'UnsupportedValue', message: words(findings) };
}

function words(findings: readonly RouteFinding[]): string {
  return [...new Set(findings.map(({ message }) => message))].join('; ');
}
