/**
 * SPIFFE ids of mesh workloads: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
 * Only this exact form is an identity here; a SPIFFE id of another shape is not one (SPIFFE-ID spec §2, Istio security).
 */

declare const spiffe: unique symbol;
/** Text of a workload identity that `parseSpiffeId` or `formatSpiffeId` vouches for. */
export type SpiffeId = string & { readonly [spiffe]: true };

export interface Identity {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

const form = /^spiffe:\/\/([a-z0-9._-]{1,255})\/ns\/([A-Za-z0-9._-]{1,253})\/sa\/([A-Za-z0-9._-]{1,253})$/;

/** The parts of a workload identity; undefined for anything else, `.` and `..` segments included. */
export function parseSpiffeId(text: string): Identity | undefined {
  const match = form.exec(text);
  if (match === null) return undefined;
  const [, trustDomain, namespace, serviceAccount] = match as unknown as [string, string, string, string];
  if (isDots(namespace) || isDots(serviceAccount)) return undefined;
  return { trustDomain, namespace, serviceAccount };
}

export function isSpiffeId(text: string): text is SpiffeId {
  return parseSpiffeId(text) !== undefined;
}

/** Throws a TypeError when a part cannot stand in an identity; check user input with `isSpiffeId` first. */
export function formatSpiffeId(identity: Identity): SpiffeId {
  const text = `spiffe://${identity.trustDomain}/ns/${identity.namespace}/sa/${identity.serviceAccount}`;
  if (!isSpiffeId(text)) throw new TypeError(`not a workload identity: ${text}`);
  return text;
}

function isDots(segment: string): boolean {
  return segment === '.' || segment === '..';
}
