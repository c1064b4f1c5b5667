/** What the environment says of limits per pod and of TCP's patience, as the parts that keep them take it. */
import type { TcpOptions } from '../net/socket-spec.ts';
import type { PodLimits } from '../ztunnel/pod-budgets.ts';
import type { ZtunnelProgramSettings } from './ztunnel-settings.ts';

export function podLimits({ variables }: ZtunnelProgramSettings): PodLimits {
  return {
    connections: variables.AMBIT_MAX_CONNECTIONS_PER_POD,
    connectionsPerSecond: variables.AMBIT_CONNECTION_RATE_PER_POD,
    sessions: variables.AMBIT_MAX_SESSIONS_PER_POD,
    handshakes: variables.AMBIT_MAX_HANDSHAKES_PER_POD,
    handshakesPerSecond: variables.AMBIT_HANDSHAKE_RATE_PER_POD,
    bufferedBytes: variables.AMBIT_MAX_BUFFERED_BYTES_PER_POD,
  };
}

/** ztunnel's rule: the user timeout is the time keepalive would take. */
export function tcpOptions({ variables }: ZtunnelProgramSettings): TcpOptions {
  const { KEEPALIVE_TIME: idleMs, KEEPALIVE_INTERVAL: intervalMs, KEEPALIVE_RETRIES: count } = variables;
  const keepAlive = { idleSec: seconds(idleMs), intervalSec: seconds(intervalMs), count };
  return {
    keepAlive: variables.KEEPALIVE_ENABLED ? keepAlive : undefined,
    userTimeoutMs: variables.USER_TIMEOUT_ENABLED ? idleMs + intervalMs * count : undefined,
  };
}

/** The kernel counts in whole ones, from 1 to 32767. */
function seconds(ms: number): number {
  return Math.min(32_767, Math.max(1, Math.round(ms / 1000)));
}
