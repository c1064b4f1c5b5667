/**
 * CUSTOM policies on a connection that is no HTTP: asked once, before anything is connected (Envoy's network ext_authz).
 *
 * I1: a provider over HTTP has nothing to be asked about a connection, and denies: Istio leaves such a policy out there,
 * which would let pass what the user wanted checked. I2: conditions on HTTP widen a rule here, as they do a DENY.
 */
import type { Cancellation } from '../../base/cancellation.ts';
import type { L7Model } from '../../route/model.ts';
import type { Tunnel, WaypointServices } from '../context.ts';
import { guardsOf } from '../stages/custom.ts';
import { askProvider } from './ask.ts';
import { peersOf } from './question.ts';

export type ConnectionVerdict =
  | { readonly kind: 'allow'; readonly audited: readonly string[]; readonly asked: ReadonlySet<string> }
  | { readonly kind: 'deny'; readonly audited: readonly string[]; readonly reason: string };

/** Never rejects. */
export async function authorizeConnection(
  services: WaypointServices,
  tunnel: Tunnel,
  model: L7Model,
  serverName: string | undefined,
  gone: Cancellation,
): Promise<ConnectionVerdict> {
  const { matched, audited } = matchedBy(services, tunnel, model, serverName);
  const asked = new Set<string>();
  const deny = (reason: string) => ({ kind: 'deny', audited, reason }) as const;
  for (const { authorization, reason } of matched) {
    const { provider, providerName } = authorization;
    if (asked.has(providerName)) continue;
    if (provider === undefined) return deny(`${reason}-deny-due-to-bad-CUSTOM-action`);
    if (provider.kind === 'ext-authz-http') return deny(`${reason}-deny-due-to-HTTP-provider`);
    const question = { ...peersOf(tunnel), http: undefined };
    const settled = await askProvider(provider, question, { services, tunnel, gone });
    if (settled.kind !== 'allow') return deny(settled.kind === 'deny' ? 'ext_authz_denied' : 'ext_authz_error');
    asked.add(providerName);
  }
  return { kind: 'allow', audited, asked };
}

/** Why a connection that stands is no longer covered by what was asked for it; undefined: it is. */
export function unasked(
  services: WaypointServices,
  tunnel: Tunnel,
  model: L7Model,
  serverName: string | undefined,
  asked: ReadonlySet<string>,
): string | undefined {
  return matchedBy(services, tunnel, model, serverName).matched.find(
    ({ authorization }) => !asked.has(authorization.providerName),
  )?.reason;
}

function matchedBy(services: WaypointServices, tunnel: Tunnel, model: L7Model, serverName: string | undefined) {
  const audited: string[] = [];
  const matched = guardsOf({ services, model, own: services.own(), tunnel }, serverName).flatMap(
    ({ authorization, policies }) => {
      const { verdict, audited: noted } = policies.evaluate(undefined);
      audited.push(...noted);
      return verdict.kind === 'deny' ? [{ authorization, reason: verdict.reason }] : [];
    },
  );
  matched.sort((a, b) => (a.authorization.providerName < b.authorization.providerName ? -1 : 1));
  return { matched, audited };
}
