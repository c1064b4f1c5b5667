/**
 * Names of those who may speak to `ambit control`: `spiffe://<trust domain>/ambit/node/<name>` and
 * `spiffe://<trust domain>/ambit/waypoint/<namespace>/<service account>`. Peers of the mesh refuse them, since
 * `parseSpiffeId` knows only workloads: a join credential opens no tunnel.
 */
import { formatSpiffeId, parseSpiffeId, type SpiffeId } from '../base/spiffe.ts';

export type JoinName =
  | { readonly kind: 'node'; readonly node: string }
  | { readonly kind: 'waypoint'; readonly namespace: string; readonly serviceAccount: string };

const segment = /^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/;
const form = /^spiffe:\/\/([a-z0-9._-]{1,255})\/ambit\/(node|waypoint)\/([^/]+)(?:\/([^/]+))?$/;

export function isJoinName(name: JoinName): boolean {
  const segments = name.kind === 'node' ? [name.node] : [name.namespace, name.serviceAccount];
  return segments.every((text) => segment.test(text));
}

/** Throws a TypeError for a name that `isJoinName` refuses. */
export function formatJoinUri(trustDomain: string, name: JoinName): string {
  if (!isJoinName(name)) throw new TypeError(`not the name of a node or waypoint: ${JSON.stringify(name)}`);
  const path = name.kind === 'node' ? `node/${name.node}` : `waypoint/${name.namespace}/${name.serviceAccount}`;
  return `spiffe://${trustDomain}/ambit/${path}`;
}

/** Undefined for workloads, other trust domains, and anything else. */
export function parseJoinUri(trustDomain: string, uri: string): JoinName | undefined {
  const match = form.exec(uri);
  if (match === null || match[1] !== trustDomain) return undefined;
  const [, , kind, first = '', second] = match;
  let name: JoinName | undefined;
  if (kind === 'node' && second === undefined) name = { kind: 'node', node: first };
  if (kind === 'waypoint' && second !== undefined) {
    name = { kind: 'waypoint', namespace: first, serviceAccount: second };
  }
  return name !== undefined && isJoinName(name) ? name : undefined;
}

/** For messages: `node n1`, `waypoint shop/reviews`. */
export function joinNameText(name: JoinName): string {
  return name.kind === 'node' ? `node ${name.node}` : `waypoint ${name.namespace}/${name.serviceAccount}`;
}

/** The one workload identity a waypoint may have. */
export function waypointIdentity(trustDomain: string, name: Extract<JoinName, { kind: 'waypoint' }>): SpiffeId {
  return formatSpiffeId({ trustDomain, namespace: name.namespace, serviceAccount: name.serviceAccount });
}

/** Whether the text is a workload's identity in this trust domain. */
export function isWorkloadOf(trustDomain: string, text: string): text is SpiffeId {
  return parseSpiffeId(text)?.trustDomain === trustDomain;
}
