/**
 * A provider is asked: the question on its way and back, and failures turned into what the provider's settings say about
 * them.
 *
 * I1: no answer, a broken one and a late one are all the same: `failOpen` decides, and it is off unless somebody said
 * otherwise.
 */
import { Authorization } from '../../proto/gen/ext_authz_pb.js';
import type { GrpcExtAuthz, HttpExtAuthz } from '../../route/mesh-config.ts';
import { type Caller, callService } from '../calls/call-service.ts';
import { callUnary } from '../calls/grpc-unary.ts';
import { allowUnchanged, type CheckDecision } from './decision.ts';
import { checkRequest, readCheckResponse } from './grpc-check.ts';
import { checkCall, readCheckAnswer } from './http-check.ts';
import type { Question } from './question.ts';

const maxAnswerBytes = 1024 * 1024;

export type Settled = Exclude<CheckDecision, { kind: 'error' }> | { readonly kind: 'failed'; readonly reason: string };

/** Never rejects. */
export async function askProvider(
  provider: HttpExtAuthz | GrpcExtAuthz,
  question: Question,
  caller: Caller,
): Promise<Settled> {
  const { checks } = caller.services;
  const decision = await decide(provider, question, caller);
  // Nobody waits for it any more, and nothing is said about the provider by that.
  if (caller.gone?.cancelled === true) return { kind: 'failed', reason: 'the client has left' };
  if (decision.kind !== 'error') {
    checks.count(decision.kind === 'allow' ? 'allowed' : 'denied');
    return decision;
  }
  const { name, failOpen } = provider;
  checks.failed(name, decision.reason, failOpen);
  return failOpen ? allowUnchanged : { kind: 'failed', reason: decision.reason };
}

async function decide(
  provider: HttpExtAuthz | GrpcExtAuthz,
  question: Question,
  caller: Caller,
): Promise<CheckDecision> {
  const { target, timeoutMs } = provider;
  if (provider.kind === 'ext-authz-http') {
    // A connection has no path to ask about.
    if (question.http === undefined) return { kind: 'error', reason: 'the provider judges HTTP only' };
    const call = {
      target,
      protocol: undefined,
      timeoutMs,
      maxAnswerBytes,
      ...checkCall(provider, question.http),
    } as const;
    return readCheckAnswer(provider, await callService(caller, call));
  }
  const outcome = await callUnary(caller, {
    target,
    method: Authorization.method.check,
    request: checkRequest(question, provider.body?.asBytes === true),
    timeoutMs,
    maxAnswerBytes,
  });
  if (outcome.kind === 'failed') return { kind: 'error', reason: outcome.reason };
  return readCheckResponse(outcome.message);
}
