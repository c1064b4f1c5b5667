/**
 * One certificate from order to secret: a fresh key, the request, the CA's answer, the checks. Every way it can go wrong
 * is a value, and the answer of a CA that does not answer comes after a deadline.
 */
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { CaAnswer, CaClient } from './ca-client.ts';
import { createKeyAndRequest } from './csr.ts';
import { checkCertificate, createSecret } from './issued.ts';
import type { Secret } from './secret.ts';
import { type TlsProfile, tlsProfile } from './tls-context.ts';

export interface IssueDependencies {
  readonly ca: CaClient;
  readonly clock: Clock;
  readonly ttlSeconds: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly nextGeneration: () => number;
  readonly profile?: TlsProfile;
}

export type IssueOutcome =
  | { readonly kind: 'issued'; readonly secret: Secret }
  /** `rejected`: the CA answered with something that must not be used. */
  | { readonly kind: 'refused' | 'unreachable' | 'rejected'; readonly reason: string };

/** Never rejects. */
export async function issueSecret(identity: SpiffeId, dependencies: IssueDependencies): Promise<IssueOutcome> {
  try {
    const { keyPem, publicKey, requestPem } = await createKeyAndRequest(identity);
    const answer = await ask(identity, requestPem, dependencies);
    if (answer.kind !== 'issued') return answer;
    const { chainPem, rootsPem } = answer;
    const check = checkCertificate(chainPem, rootsPem, {
      uri: identity,
      publicKey,
      nowMs: dependencies.clock.wallMs(),
    });
    if (check.kind === 'bad') return { kind: 'rejected', reason: check.reason };
    const generation = dependencies.nextGeneration();
    const profile = dependencies.profile ?? tlsProfile;
    const parts = { ...check, identity, generation, keyPem, chainPem, rootsPem, profile };
    return { kind: 'issued', secret: createSecret(parts) };
  } catch (error) {
    return { kind: 'rejected', reason: errorText(error) };
  }
}

async function ask(identity: SpiffeId, requestPem: string, dependencies: IssueDependencies): Promise<CaAnswer> {
  const { ca, clock, ttlSeconds, timeoutMs, signal } = dependencies;
  if (signal.aborted) return { kind: 'unreachable', reason: 'the request was given up' };
  const deadline = new AbortController();
  const gaveUp = new Promise<CaAnswer>((resolve) => {
    const give = (reason: string) => resolve({ kind: 'unreachable', reason });
    deadline.signal.addEventListener('abort', () => give(`the CA did not answer within ${timeoutMs} ms`), {
      once: true,
    });
    signal.addEventListener('abort', () => give('the request was given up'), { once: true });
  });
  const timer = clock.after(timeoutMs, () => deadline.abort());
  try {
    const order = { identity, requestPem, ttlSeconds };
    return await Promise.race([ca.sign(order, AbortSignal.any([signal, deadline.signal])), gaveUp]);
  } finally {
    timer.cancel();
  }
}
