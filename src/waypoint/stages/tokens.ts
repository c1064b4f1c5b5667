/**
 * RequestAuthentication: the tokens of a request. It waits where keys are fetched or a signature is verified. Afterwards
 * the record has the claims, the headers and the query without what the rules take away, and a query fit for the log.
 */
import type { RequestAuthentication } from '../../route/request-authentication.ts';
import type { Authentication } from '../jwt/authenticate.ts';
import type { RequestRecord } from '../request-record.ts';
import { attachedTo, type BeforeRoute, go, type StageAnswer, type StageContext, type StageReply } from './stage.ts';

export const tokenStage: BeforeRoute = (context) => {
  const authentications = authenticationsOf(context);
  if (authentications.length === 0) return undefined;
  const { authenticator } = context.services;
  return (record) => {
    const { method, headers, query } = record;
    // Until it is known what in it is a token.
    record.loggedQuery = '';
    record.tokenRequest = { method, headers, query };
    const outcome = authenticator.authenticate(authentications, record.tokenRequest);
    if (!(outcome instanceof Promise)) return settle(record, outcome);
    return outcome.then((answer) => settle(record, answer));
  };
};

/** Rules for the tokens of requests in the tunnel: the gateway's and the service's. */
export function authenticationsOf(context: StageContext): readonly RequestAuthentication[] {
  const { gatewayAuthentications, serviceAuthentications } = context.model;
  return attachedTo(context, gatewayAuthentications, serviceAuthentications);
}

function settle(record: RequestRecord, outcome: Authentication): StageAnswer {
  record.loggedQuery = outcome.loggedQuery;
  if (outcome.kind === 'pass') {
    record.headers = outcome.headers;
    record.query = outcome.query;
    record.claims = outcome.claims;
    return go;
  }
  return refusalOf(record, outcome);
}

export function refusalOf(
  record: RequestRecord,
  { status, body, details }: Extract<Authentication, { kind: 'refuse' }>,
): StageReply {
  const headers = status === 401 ? ['www-authenticate', challenge(record.authority, record.path)] : [];
  return { kind: 'reply', status, body, flags: '-', details, headers };
}

/** RFC 6750 §3. The realm is the URL that was asked for, as Envoy has it, but without a query. */
function challenge(authority: string, path: string): string {
  const realm = `http://${authority}${path}`.replace(/[^\x21\x23-\x5b\x5d-\x7e]/g, '').slice(0, 256);
  return `Bearer realm="${realm}", error="invalid_token"`;
}
