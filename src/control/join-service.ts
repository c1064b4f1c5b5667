/**
 * `ambit.control.v1.JoinService`: a one-time token buys a join credential, a credential buys its successor.
 * A token is spent only by a call that is right in everything else.
 */
import { create } from '@bufbuild/protobuf';
import { formatJoinUri, joinNameText } from '../identity/join-name.ts';
import { checkRequest } from '../identity/request-check.ts';
import { JoinResponseSchema, JoinService } from '../proto/gen/join_pb.js';
import { type RouteFactory, unaryRoute } from '../rpc/server.ts';
import type { Registrar } from './registrar.ts';
import type { TokenStore } from './tokens.ts';

/** A node that was away for longer needs another token. */
const credentialLifeMs = 30 * 86_400_000;

export function joinService(registrar: Registrar, tokens: TokenStore): readonly RouteFactory[] {
  const { trustDomain } = registrar;
  return [
    unaryRoute(JoinService.method.join, async ({ token, csr }, caller) => {
      const tooMany = registrar.overBudget('join', caller, undefined);
      if (tooMany !== undefined) return tooMany;
      const checked = await checkRequest(csr);
      if (checked.kind === 'bad') return registrar.refuse('join', caller, 'INVALID_ARGUMENT', checked.reason);
      const known = await tokens.check(token, checked.publicKey);
      if (known.kind === 'bad') return registrar.refuse('join', caller, 'UNAUTHENTICATED', known.reason);
      if (checked.uri !== formatJoinUri(trustDomain, known.name)) {
        const reason = `the join token is for ${joinNameText(known.name)}, the request for ${checked.uri}`;
        return registrar.refuse('join', caller, 'PERMISSION_DENIED', reason);
      }
      if (!(await tokens.spend(token, checked.publicKey))) {
        return registrar.refuse('join', caller, 'UNAUTHENTICATED', 'the join token was used before');
      }
      const certChain = await registrar.issue('join', caller, checked.uri, checked.publicKey, credentialLifeMs);
      return { kind: 'ok', message: create(JoinResponseSchema, { certChain }) };
    }),
    unaryRoute(JoinService.method.renew, async ({ csr }, caller) => {
      const member = registrar.memberOf(caller);
      const tooMany = registrar.overBudget('renew', caller, member);
      if (tooMany !== undefined) return tooMany;
      if (member === undefined) {
        return registrar.refuse('renew', caller, 'UNAUTHENTICATED', 'no valid join credential was shown: join anew');
      }
      const checked = await checkRequest(csr);
      if (checked.kind === 'bad') return registrar.refuse('renew', caller, 'INVALID_ARGUMENT', checked.reason);
      if (checked.uri !== formatJoinUri(trustDomain, member)) {
        const reason = `${joinNameText(member)} cannot become ${checked.uri}`;
        return registrar.refuse('renew', caller, 'PERMISSION_DENIED', reason);
      }
      const certChain = await registrar.issue('renew', caller, checked.uri, checked.publicKey, credentialLifeMs);
      return { kind: 'ok', message: create(JoinResponseSchema, { certChain }) };
    }),
  ];
}
