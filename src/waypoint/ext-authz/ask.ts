/**
 * A provider is asked: the question on its way and back, and failures turned into what the provider's settings say about
 * them.
 *
 * I1: no answer, a broken one and a late one are all the same: `failOpen` decides, and it is off unless somebody said
 * otherwise.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Cancellation } from '../../base/cancellation.ts';
import { Authorization } from '../../proto/gen/ext_authz_pb.js';
import type { GrpcExtAuthz, HttpExtAuthz } from '../../route/mesh-config.ts';
import { callGrpc } from '../../upstream/grpc-call.ts';
import { callOwn } from '../../upstream/own-call.ts';
import type { Tunnel, WaypointServices } from '../context.ts';
import { targetService, triesOf } from '../service-tries.ts';
import { allowUnchanged, type CheckDecision } from './decision.ts';
import { checkRequest, readCheckResponse } from './grpc-check.ts';
import { checkCall, readCheckAnswer } from './http-check.ts';
import type { Question } from './question.ts';

const maxAnswerBytes = 1024 * 1024;

const { check } = Authorization.method;

/** On whose behalf: endpoints may be chosen by it. `gone` ends the call. */
export interface Caller {
  readonly services: WaypointServices;
  readonly tunnel: Tunnel;
  readonly gone: Cancellation | undefined;
}

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
  const { services, tunnel, gone } = caller;
  const service = targetService(services, target);
  if (service === undefined) return { kind: 'error', reason: `no service is called ${target.hostname}` };
  const tries = (protocol: 'h2c' | undefined) => triesOf(services, tunnel, service, target.port, protocol);
  const limits = { timeoutMs, maxBytes: maxAnswerBytes };
  if (provider.kind === 'ext-authz-http') {
    // A connection has no path to ask about.
    if (question.http === undefined) return { kind: 'error', reason: 'the provider judges HTTP only' };
    const call = { ...checkCall(provider, question.http), ...limits, nextTry: tries(undefined) };
    return readCheckAnswer(provider, await callOwn(call, services, gone));
  }
  const request = create(check.input, checkRequest(question, provider.body?.asBytes === true));
  const call = {
    ...limits,
    nextTry: tries('h2c'),
    authority: `${target.hostname}:${target.port}`,
    method: `${Authorization.typeName}/${check.name}`,
    message: toBinary(check.input, request),
  };
  const outcome = await callGrpc(call, services, gone);
  if (outcome.kind === 'failed') return { kind: 'error', reason: outcome.reason };
  try {
    return readCheckResponse(fromBinary(check.output, outcome.message));
  } catch {
    // The decoder has no other way to say no.
    return { kind: 'error', reason: `the answer is no ${check.output.typeName}` };
  }
}
