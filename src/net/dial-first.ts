/**
 * Connects to the first of several addresses that answers (RFC 8305, "happy eyeballs"): in their order, the next one begins
 * when the one before has failed or said nothing for a while. One deadline for all of them.
 */
import { formatSocketAddress, type SocketAddress } from '../base/address.ts';
import { Cancellation } from '../base/cancellation.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { AmbitError } from '../base/errors.ts';
import { type DialOutcome, dial } from './socket-factory.ts';
import type { SocketProfile } from './socket-spec.ts';

/** Envoy's; RFC 8305 §5 recommends 250. */
export const staggerMs = 300;
/** Of a long list; what is left is for other connections. */
const mostAttempts = 6;

/** Never rejects; the socket as `dial` gives it. With no address it fails. */
export function dialFirst(
  destinations: readonly SocketAddress[],
  profile: SocketProfile,
  clock: Clock,
  cancellation?: Cancellation,
): Promise<DialOutcome & { readonly peer?: SocketAddress }> {
  const [only, second] = destinations;
  if (only === undefined) return Promise.resolve({ kind: 'failed', error: nothing() });
  if (second === undefined)
    return dial(only, profile, clock, cancellation).then((outcome) => ({ ...outcome, peer: only }));
  return new Promise((resolve) => {
    const others = new Cancellation();
    const left = destinations.slice(0, mostAttempts);
    let running = 0;
    let over = false;
    let next: Timer | undefined;
    let firstError: AmbitError | undefined;
    const settle = (outcome: DialOutcome & { readonly peer?: SocketAddress }) => {
      over = true;
      next?.cancel();
      deadline.cancel();
      cancellation?.off(giveUp);
      others.cancel();
      resolve(outcome);
    };
    const begin = () => {
      next?.cancel();
      const peer = left.shift();
      if (peer === undefined) {
        if (running === 0) settle({ kind: 'failed', error: firstError ?? nothing() });
        return;
      }
      running++;
      if (left.length > 0) next = clock.after(staggerMs, begin);
      void dial(peer, profile, clock, others).then((outcome) => {
        running--;
        if (over) {
          if (outcome.kind === 'connected') outcome.socket.destroy();
        } else if (outcome.kind === 'connected') settle({ ...outcome, peer });
        else {
          firstError ??= outcome.error;
          begin();
        }
      });
    };
    const giveUp = () => settle({ kind: 'failed', error: abandoned(only) });
    const deadline = clock.after(profile.connectTimeoutMs, () =>
      settle({ kind: 'failed', error: firstError ?? timedOut(only, profile.connectTimeoutMs) }),
    );
    if (cancellation?.cancelled) {
      giveUp();
      return;
    }
    cancellation?.on(giveUp);
    begin();
  });
}

function nothing(): AmbitError {
  return new AmbitError('no address to connect to', {
    code: 'NET_CONNECT_FAILED',
    origin: 'upstream',
    retry: 'unsent',
    flag: 'CONNECT',
  });
}

function timedOut(destination: SocketAddress, afterMs: number): AmbitError {
  const message = `no answer from ${formatSocketAddress(destination)} and others in ${afterMs} ms`;
  return new AmbitError(message, { code: 'NET_CONNECT_TIMEOUT', origin: 'upstream', retry: 'unsent', flag: 'CONNECT' });
}

function abandoned(destination: SocketAddress): AmbitError {
  const message = `gave up connecting to ${formatSocketAddress(destination)}: the client has gone`;
  return new AmbitError(message, { code: 'NET_CONNECT_ABANDONED', origin: 'downstream' });
}
