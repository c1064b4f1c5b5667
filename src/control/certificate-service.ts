/**
 * `istio.v1.auth.IstioCertificateService` for members that joined. A node gets the identities of workloads that run on it
 * (R56), a waypoint its own and nothing else.
 */
import { create } from '@bufbuild/protobuf';
import type { SpiffeId } from '../base/spiffe.ts';
import { isWorkloadOf, type JoinName, waypointIdentity } from '../identity/join-name.ts';
import { checkRequest } from '../identity/request-check.ts';
import { IstioCertificateResponseSchema, IstioCertificateService } from '../proto/gen/certificate_pb.js';
import type { RpcCode } from '../rpc/outcome.ts';
import { type RouteFactory, unaryRoute } from '../rpc/server.ts';
import type { Placement } from './placement.ts';
import type { Registrar } from './registrar.ts';

const defaultLifeSeconds = 86_400;
const longestLifeSeconds = 7 * 86_400;

export function certificateService(registrar: Registrar, placement: Placement): RouteFactory {
  return unaryRoute(IstioCertificateService.method.createCertificate, async (request, caller) => {
    const refuse = (code: RpcCode, reason: string) => registrar.refuse('certificate', caller, code, reason);
    const member = registrar.memberOf(caller);
    const tooMany = registrar.overBudget('certificate', caller, member);
    if (tooMany !== undefined) return tooMany;
    if (member === undefined) {
      return refuse(
        'UNAUTHENTICATED',
        'no join credential was shown: join with a token of "ambit control token" first',
      );
    }
    const checked = await checkRequest(request.csr);
    if (checked.kind === 'bad') return refuse('INVALID_ARGUMENT', checked.reason);
    const asked = request.metadata?.ImpersonatedIdentity ?? checked.uri;
    if (asked !== checked.uri) return refuse('PERMISSION_DENIED', 'the request names another identity than the call');
    if (!isWorkloadOf(registrar.trustDomain, checked.uri)) {
      return refuse('PERMISSION_DENIED', `only workloads of trust domain ${registrar.trustDomain} get certificates`);
    }
    const denied = whyNot(registrar.trustDomain, member, checked.uri, placement);
    if (denied !== undefined) return refuse(denied.code, denied.reason);
    const seconds = request.validityDuration === 0n ? defaultLifeSeconds : Number(request.validityDuration);
    if (seconds < 0) return refuse('INVALID_ARGUMENT', 'the validity asked for is negative');
    const lifeMs = Math.min(seconds, longestLifeSeconds) * 1000;
    const certChain = await registrar.issue('certificate', caller, checked.uri, checked.publicKey, lifeMs);
    return { kind: 'ok', message: create(IstioCertificateResponseSchema, { certChain }) };
  });
}

function whyNot(
  trustDomain: string,
  member: JoinName,
  asked: SpiffeId,
  placement: Placement,
): { readonly code: RpcCode; readonly reason: string } | undefined {
  if (member.kind === 'waypoint') {
    const own = waypointIdentity(trustDomain, member);
    if (asked === own) return undefined;
    return { code: 'PERMISSION_DENIED', reason: `this waypoint may be ${own} only, not ${asked}` };
  }
  const here = placement.identitiesOn(member.node);
  if (here === undefined) return { code: 'UNAVAILABLE', reason: 'the configuration has not been read yet' };
  for (const identity of here) if (identity === asked) return undefined;
  const remedy = `give a pod of it spec.nodeName: ${member.node} in the configuration`;
  return { code: 'PERMISSION_DENIED', reason: `node ${member.node} runs no workload of ${asked}: ${remedy}` };
}
