/** `connectionPool` of a DestinationRule that says nothing. */
import type { ConnectionPoolPolicy } from '../../src/route/destination.ts';

export const plainPool: ConnectionPoolPolicy = {
  maxConnections: undefined,
  connectTimeoutMs: undefined,
  keepalive: undefined,
  maxConnectionDurationMs: undefined,
  tcpIdleTimeoutMs: undefined,
  maxPendingRequests: undefined,
  maxRequests: undefined,
  maxRequestsPerConnection: undefined,
  maxRetries: undefined,
  httpIdleTimeoutMs: undefined,
  h2Upgrade: 'default',
  useClientProtocol: false,
  maxConcurrentStreams: undefined,
};
