/**
 * The first stage of a request: its tokens. The request waits where keys are fetched or a signature is verified; a client
 * that leaves meanwhile is told apart.
 */
import type { Exchange } from '../../http/exchange.ts';
import type { RequestAuthentication } from '../../route/request-authentication.ts';
import type { AuthenticatedRequest, Authenticator } from './authenticate.ts';
import type { TokenPlaces } from './locations.ts';

export type TokenStageOutcome =
  | AuthenticatedRequest
  | { readonly kind: 'left' }
  | {
      readonly kind: 'refuse';
      readonly status: number;
      readonly body: string;
      readonly details: string;
      readonly headers: readonly string[];
      readonly loggedQuery: string;
    };

/** `done` comes once; at once where nothing has to be waited for. */
export function runTokenStage(
  authenticator: Authenticator,
  authentications: readonly RequestAuthentication[],
  exchange: Exchange,
  places: TokenPlaces,
  done: (outcome: TokenStageOutcome) => void,
): void {
  const { method, authority, path } = exchange.request;
  const finish = (outcome: Awaited<ReturnType<Authenticator['authenticate']>>) => {
    if (outcome.kind === 'pass') done(outcome);
    else done({ ...outcome, headers: outcome.status === 401 ? ['www-authenticate', challenge(authority, path)] : [] });
  };
  const outcome = authenticator.authenticate(authentications, { method, ...places });
  if (!(outcome instanceof Promise)) {
    finish(outcome);
    return;
  }
  let waiting = true;
  exchange.onClosed(() => {
    if (!waiting) return;
    waiting = false;
    done({ kind: 'left' });
  });
  void outcome.then((answer) => {
    if (!waiting) return;
    waiting = false;
    finish(answer);
  });
}

/** RFC 6750 §3. The realm is the URL that was asked for, as Envoy has it, but without a query. */
function challenge(authority: string, path: string): string {
  const realm = `http://${authority}${path}`.replace(/[^\x21\x23-\x5b\x5d-\x7e]/g, '').slice(0, 256);
  return `Bearer realm="${realm}", error="invalid_token"`;
}
