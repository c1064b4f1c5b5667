/**
 * A request that has been judged, on the model of the moment: by the policies of the gateway, the service and the endpoint it
 * goes to, by its token where the rules for tokens are others now, and by whether everybody was asked who is to be asked.
 *
 * I1: it is judged by what it was when it came to each of these, as policies of the service saw it, and so on. I2: a token that
 * ends while its request goes on is nothing new: it is looked at only where the rules have changed.
 */
import { isDeepStrictEqual } from 'node:util';
import { errorText } from '../base/errors.ts';
import type { L7Model } from '../route/model.ts';
import { judgePod } from './judge-pod.ts';
import type { RequestRecord } from './request-record.ts';
import { unaskedReply } from './stages/custom.ts';
import { deniedReply } from './stages/policies.ts';
import { go, type StageAnswer, type StageContext, type StageReply } from './stages/stage.ts';
import { authenticationsOf, refusalOf } from './stages/tokens.ts';

/** Total, and never rejects. A promise only where a token has to be verified. Status 503: it cannot be said now. */
export function judgeAgain(record: RequestRecord): StageAnswer | Promise<StageAnswer> {
  const { services, tunnel } = record;
  const context = { services, tunnel, model: services.model(), own: services.own() };
  try {
    const unasked = unaskedReply(context, record);
    if (unasked !== undefined) return unasked;
    const refused = judgeToken(record, context);
    if (refused instanceof Promise) return refused.then((reply) => reply ?? judgeByPolicies(record, context.model));
    return refused ?? judgeByPolicies(record, context.model);
  } catch (error) {
    services.logger.error('internal error in judging a request again', { error: errorText(error) });
    return { kind: 'reply', status: 500, body: '', flags: '-', details: 'internal_error' };
  }
}

/** Undefined: as good as before, or good by other rules. */
function judgeToken(
  record: RequestRecord,
  context: StageContext,
): StageReply | undefined | Promise<StageReply | undefined> {
  const rules = authenticationsOf(context);
  const before = authenticationsOf({ ...context, model: record.judgedOn });
  if (isDeepStrictEqual(before, rules)) return undefined;
  const { method, query, services } = record;
  const request = record.tokenRequest ?? { method, query, headers: record.judgedByService().headers };
  const outcome = services.authenticator.authenticate(rules, request);
  const settle = (settled: Awaited<typeof outcome>) => {
    if (settled.kind === 'refuse') return refusalOf(record, settled);
    record.claims = settled.claims;
    return undefined;
  };
  return outcome instanceof Promise ? outcome.then(settle) : settle(outcome);
}

function judgeByPolicies(record: RequestRecord, model: L7Model): StageAnswer {
  record.judgedOn = model;
  const { authorizer, endpoint } = record;
  const ofService = authorizer.service(model, record.judgedByService()).verdict;
  if (ofService.kind === 'deny') return deniedReply(ofService.reason);
  if (endpoint === undefined) return go;
  const ofPod = judgePod(record, endpoint, model).verdict;
  return ofPod.kind === 'deny' ? deniedReply(ofPod.reason) : go;
}
