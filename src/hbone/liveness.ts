/**
 * PING on a session, as ztunnel does: one each interval, and a session that leaves one unanswered for the timeout is
 * ended. The same beat notices sessions without streams.
 */
import type { Clock, Timer } from '../base/clock.ts';
import type { Session } from './http2/engine.ts';
import type { RelayOptions } from './options.ts';

export interface LivenessHooks {
  readonly isIdle: () => boolean;
  readonly idleReleaseMs: number;
  readonly onIdle: () => void;
  readonly onDead: () => void;
}

/** Returns the way to stop. */
export function watchLiveness(
  session: Pick<Session, 'destroyed' | 'destroy' | 'ping'>,
  clock: Clock,
  options: Pick<RelayOptions, 'pingIntervalMs' | 'pingTimeoutMs'>,
  hooks: LivenessHooks,
): () => void {
  let sentMs: number | undefined;
  let busyMs = clock.nowMs();
  let timer: Timer;
  const answered = () => {
    sentMs = undefined;
  };
  const beat = () => {
    if (session.destroyed) return;
    const nowMs = clock.nowMs();
    if (!hooks.isIdle()) busyMs = nowMs;
    else if (nowMs - busyMs >= hooks.idleReleaseMs) hooks.onIdle();
    if (sentMs !== undefined && nowMs - sentMs >= options.pingTimeoutMs) {
      hooks.onDead();
      session.destroy(new Error('no answer to PING'));
      return;
    }
    if (sentMs === undefined && !session.destroyed && session.ping(answered)) sentMs = nowMs;
    timer = clock.after(options.pingIntervalMs, beat);
  };
  timer = clock.after(options.pingIntervalMs, beat);
  return () => timer.cancel();
}
