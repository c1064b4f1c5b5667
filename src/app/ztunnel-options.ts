/** The program's settings as its parts take them: the proxy, the relay and the admin servers. Pure. */
import type { AdminAddresses } from '../admin/server.ts';
import type { ZtunnelSettings } from '../ztunnel/settings.ts';
import { trustDomainsOf } from './trust-domain-list.ts';
import { wildcard } from './wildcard.ts';
import { podLimits, tcpOptions } from './ztunnel-limits.ts';
import type { ZtunnelProgramSettings } from './ztunnel-settings.ts';

export function ztunnelSettings(settings: ZtunnelProgramSettings, privileged: boolean): ZtunnelSettings {
  const { variables, node, preset } = settings;
  const hbone = 15008;
  return {
    node,
    network: variables.NETWORK,
    unknownSource: variables.AMBIT_UNKNOWN_SOURCE,
    unknownSourceWaitMs: 5000,
    trustDomainAliases: trustDomainsOf(variables.AMBIT_TRUST_DOMAIN_ALIASES),
    outboundPolicy: variables.AMBIT_OUTBOUND_POLICY,
    unknownPolicy: variables.AMBIT_UNKNOWN_POLICY,
    unknownPolicyGraceMs: 5000,
    emptyDenyMatch: variables.AMBIT_EMPTY_DENY_MATCH,
    policyInfoLogging: variables.AUTHZ_POLICY_INFO_LOGGING,
    spoofing: privileged && variables.ENABLE_ORIG_SRC !== false,
    // TPROXY hands nothing to a listener that is not.
    transparentListeners: privileged && (preset.capture === 'node' || variables.ENABLE_ORIG_SRC !== false),
    listenerMarks: privileged && (preset.capture === 'inpod' || variables.AMBIT_RETURN_PATH === 'listener-marks'),
    reusePort: preset.capture === 'inpod' && variables.INPOD_PORT_REUSE,
    localhostAppTunnel: variables.LOCALHOST_APP_TUNNEL,
    responseBaggage: variables.ENABLE_RESPONSE_BAGGAGE,
    endpointRetries: variables.AMBIT_ENDPOINT_RETRIES,
    podLimits: podLimits(settings),
    tcp: tcpOptions(settings),
    ports: {
      outbound: variables.AMBIT_OUTBOUND_PORT,
      inbound: variables.AMBIT_INBOUND_PORT,
      inboundPlaintext: variables.AMBIT_PLAINTEXT_PORT,
      socks: variables.UNSTABLE_ENABLE_SOCKS5 && preset.capture === 'inpod' ? variables.AMBIT_SOCKS_PORT : undefined,
      hbone,
    },
  };
}

export function relayOptions({ variables }: ZtunnelProgramSettings) {
  return {
    streamWindowBytes: variables.HTTP2_STREAM_WINDOW_SIZE,
    connectionWindowBytes: variables.HTTP2_CONNECTION_WINDOW_SIZE,
    maxFrameBytes: variables.HTTP2_FRAME_SIZE,
    maxStreamsPerClientSession: variables.POOL_MAX_STREAMS_PER_CONNECTION,
    idleReleaseMs: variables.POOL_UNUSED_RELEASE_TIMEOUT,
    maxClientSessionsPerSource: variables.AMBIT_MAX_SESSIONS_PER_POD,
  };
}

/** A set for each admin server: ports, and a unix socket when one is named. */
export function adminAddresses({ variables }: ZtunnelProgramSettings): readonly AdminAddresses[] {
  const everywhere = wildcard(variables.IPV6_ENABLED);
  const tcp = (host: string, port: number) => ({ kind: 'tcp', host, port }) as const;
  const { AMBIT_ADMIN_SOCKET: path } = variables;
  const ports = {
    admin: tcp('127.0.0.1', variables.AMBIT_ADMIN_PORT),
    metrics: tcp(everywhere, variables.AMBIT_METRICS_PORT),
    readiness: tcp(everywhere, variables.AMBIT_READINESS_PORT),
  };
  if (path === undefined) return [ports];
  return [ports, { admin: { kind: 'unix', path }, metrics: undefined, readiness: undefined }];
}
