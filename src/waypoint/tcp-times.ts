/** Times of a TCP connection that a DestinationRule sets: how long it may stand, and how long it may be silent. */
import type { Clock, Timer } from '../base/clock.ts';
import { AmbitError } from '../base/errors.ts';
import type { JoinCounts } from '../net/join.ts';
import type { ConnectionPoolPolicy } from '../route/destination.ts';

/** `end` is called at most once. Returns the way to stop watching. A time of 0 is none. */
export function watchTimes(
  pool: ConnectionPoolPolicy | undefined,
  counts: Readonly<JoinCounts>,
  clock: Clock,
  end: (error: AmbitError, details: string) => void,
): () => void {
  const { maxConnectionDurationMs: mostMs, tcpIdleTimeoutMs: idleMs } = pool ?? {};
  const timers: { duration?: Timer; idle?: Timer } = {};
  const stop = () => {
    timers.duration?.cancel();
    timers.idle?.cancel();
  };
  const finish = (details: string, message: string) => {
    stop();
    end(new AmbitError(message, { code: 'WAYPOINT_CONNECTION_TIME', origin: 'local' }), details);
  };
  if (mostMs) {
    timers.duration = clock.after(mostMs, () => finish('max_connection_duration', `it has stood for ${mostMs} ms`));
  }
  if (idleMs) {
    // One timer a connection, none a chunk: bytes are counted anyway.
    let seen = -1;
    const look = () => {
      const now = counts.toUpstream + counts.toDownstream;
      if (now === seen) {
        finish('tcp_session_idle_timeout', `silent for ${idleMs} ms`);
        return;
      }
      seen = now;
      timers.idle = clock.after(idleMs, look);
    };
    look();
  }
  return stop;
}
