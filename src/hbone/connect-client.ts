/**
 * One CONNECT as a client: stream, answer, and another try when the peer said that it did not process it.
 * Only status 200 opens a tunnel.
 */
import type { Cancellation } from '../base/cancellation.ts';
import type { Clock } from '../base/clock.ts';
import { AmbitError } from '../base/errors.ts';
import type { ClientStream, StreamEnd, TunnelPool } from './http2/engine.ts';
import type { RelayOptions } from './options.ts';
import type { Established, TunnelHeaders, TunnelRequest } from './seam.ts';

export type TunnelOutcome =
  | { readonly kind: 'open'; readonly end: StreamEnd; readonly established: Established }
  | { readonly kind: 'refused'; readonly status: number; readonly established: Established }
  | { readonly kind: 'failed'; readonly error: AmbitError };

/** Never rejects. The end is the caller's. */
export async function openTunnel(
  pool: TunnelPool,
  request: TunnelRequest,
  clock: Clock,
  options: RelayOptions,
  cancellation: Cancellation | undefined,
): Promise<TunnelOutcome> {
  for (let retries = options.unsentRetries; ; retries--) {
    const outcome = await tryOnce(pool, request, clock, options, cancellation);
    const again = outcome.kind === 'failed' && outcome.error.code === 'HBONE_NOT_PROCESSED';
    if (!again || retries <= 0 || cancellation?.cancelled) return outcome;
  }
}

async function tryOnce(
  pool: TunnelPool,
  request: TunnelRequest,
  clock: Clock,
  options: RelayOptions,
  cancellation: Cancellation | undefined,
): Promise<TunnelOutcome> {
  const headers = [':method', 'CONNECT', ':authority', request.authority, ...request.headers.flat()];
  let end: StreamEnd | undefined;
  let answer: Promise<Answer> | undefined;
  const owns = (stream: ClientStream) => {
    end = stream.end;
    answer = answerOf(stream, clock, options.connectAnswerTimeoutMs, cancellation);
  };
  let facts = cancellation?.cancelled ? undefined : pool.requestNow(request.target, headers, owns);
  if (facts === undefined) {
    const outcome = await pool.request(request.target, headers, owns, cancellation);
    if (outcome.kind === 'failed') return outcome;
    facts = outcome.facts;
  }
  if (end === undefined || answer === undefined) throw new Error('a stream came without its listeners');
  const answered = await answer;
  if (answered.kind === 'failed') return answered;
  const { local, peer, peerIdentity, leaving } = facts;
  const established = { local, peer, peerIdentity, leaving, headers: answered.headers };
  if (answered.status === 200) return { kind: 'open', end, established };
  // By END_STREAM: a reset for every refusal would look like an attack to the peer.
  end.destroyWhenFinished();
  return { kind: 'refused', status: answered.status, established };
}

type Answer =
  | { readonly kind: 'answer'; readonly status: number; readonly headers: TunnelHeaders }
  | { readonly kind: 'failed'; readonly error: AmbitError };

function answerOf(
  stream: ClientStream,
  clock: Clock,
  timeoutMs: number,
  cancellation: Cancellation | undefined,
): Promise<Answer> {
  const { end } = stream;
  return new Promise((resolve) => {
    const settle = (answer: Answer) => {
      timer.cancel();
      cancellation?.off(onCancel);
      resolve(answer);
    };
    const fail = (code: string, message: string) => {
      const retry = code === 'HBONE_NOT_PROCESSED' ? 'unsent' : 'never';
      settle({ kind: 'failed', error: new AmbitError(message, { code, origin: 'upstream', retry, flag: 'CONNECT' }) });
    };
    const giveUp = (code: string, message: string) => {
      stream.stopWaiting();
      fail(code, message);
      end.cancel();
    };
    const onCancel = () => giveUp('HBONE_ABANDONED', 'the client left before the CONNECT was answered');
    const timer = clock.after(timeoutMs, () =>
      giveUp('HBONE_ANSWER_TIMEOUT', `the CONNECT was not answered in ${timeoutMs} ms`),
    );
    stream.wait({
      answered: (status, headers) => settle({ kind: 'answer', status, headers }),
      gone: (code, processed) => {
        if (end.failure !== undefined) settle({ kind: 'failed', error: end.failure });
        else if (!processed) fail('HBONE_NOT_PROCESSED', 'the peer did not process the CONNECT');
        else fail('HBONE_STREAM_RESET', `the CONNECT was reset before its answer (HTTP/2 code ${code})`);
      },
    });
    cancellation?.on(onCancel);
  });
}
