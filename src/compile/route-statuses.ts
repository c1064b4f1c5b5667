/** The status of every route of a compilation. */
import { completed } from '../base/slices.ts';
import type { ConfigObject } from './object.ts';
import { parentStatus, type RouteFinding, type RouteStatus } from './route-status.ts';
import type { RouteTable } from './routes.ts';

/** Of every route object that names a parent, in order of kind and name. */
export function routeStatuses(table: RouteTable): readonly RouteStatus[] {
  return completed(statusSteps(table)).toSorted((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
}

/** Looked at before the generator yields. */
const servicesPerStep = 25;
const objectsPerStep = 100;

/** Yields where it may pause. In no order. */
export function* statusSteps(table: RouteTable): Generator<undefined, readonly RouteStatus[]> {
  const byObject = new Map<ConfigObject, Map<string, Parent>>();
  const parentOf = (object: ConfigObject, parent: string) =>
    byObject
      .getOrInsertComputed(object, () => new Map<string, Parent>())
      .getOrInsertComputed(parent, () => ({ ports: new Set(), findings: [] }));
  let asked = 0;
  for (const { attachments, findings } of table.services.values()) {
    const { service } = attachments;
    const name = `${service.namespace}/${service.name}`;
    for (const kind of ['grpc', 'http', 'tls', 'tcp', 'virtual'] as const) {
      for (const { spec, port } of attachments[kind]) {
        const { ports } = parentOf(spec.object, name);
        for (const one of service.ports) if (port === undefined || port === one.port) ports.add(one.port);
      }
    }
    for (const finding of findings) parentOf(finding.object, finding.parent).findings.push(finding);
    if (++asked % servicesPerStep === 0) yield;
  }
  for (const note of table.attached.notes.values()) {
    for (const finding of note.findings) parentOf(finding.object, finding.parent).findings.push(finding);
  }
  const statuses: RouteStatus[] = [];
  for (const [{ kind, metadata }, parents] of byObject) {
    const { namespace, name } = metadata;
    statuses.push({
      object: { kind, namespace, name },
      parents: [...parents].map(([parent, { ports, findings }]) => parentStatus(parent, ports.size, findings)),
    });
    if (statuses.length % objectsPerStep === 0) yield;
  }
  return statuses;
}

interface Parent {
  readonly ports: Set<number>;
  readonly findings: RouteFinding[];
}

function sortKey({ object: { kind, namespace, name } }: RouteStatus): string {
  return `${kind} ${namespace}/${name}`;
}
