/**
 * What an operator may choose about decisions, as plain data: `app/` reads it from the environment. Every default is the
 * closed one, but for unknown destinations, where Istio's own default is open (design §4 rule 1).
 */

import type { TcpOptions } from '../net/socket-spec.ts';
import { defaultPodLimits, type PodLimits } from './pod-budgets.ts';

export interface ZtunnelSettings {
  /** Whose chains these are: workloads of other nodes are no sources here. Undefined: of every node (a desk). */
  readonly node: string | undefined;
  readonly network: string;
  /** What happens to traffic whose source stays unknown for `unknownSourceWaitMs`. */
  readonly unknownSource: 'blackhole' | 'passthrough';
  readonly unknownSourceWaitMs: number;
  /** Further trust domains, whose workloads count as those of the same name here. */
  readonly trustDomainAliases: readonly string[];
  readonly outboundPolicy: 'ALLOW_ANY' | 'REGISTRY_ONLY';
  /** A policy that a workload names and nobody sent: refuse once the grace is over, or read on without it. */
  readonly unknownPolicy: 'deny' | 'skip';
  readonly unknownPolicyGraceMs: number;
  /** What a DENY's match without any condition means (istiod-observed.md, Policies). */
  readonly emptyDenyMatch: 'match' | 'ignore';
  /** What policies decide is logged at info, not at debug. */
  readonly policyInfoLogging: boolean;
  /** Foreign source addresses may be used (IP_TRANSPARENT is allowed to us). */
  readonly spoofing: boolean;
  /** Listeners take connections for foreign addresses (TPROXY). */
  readonly transparentListeners: boolean;
  /** Listeners carry the preset's marks: return-path variant E. Without: variant R (seed-design.md §3.3). */
  readonly listenerMarks: boolean;
  /** A new process may listen before the old one has left. */
  readonly reusePort: boolean;
  /** Deliver to application tunnels over loopback. */
  readonly localhostAppTunnel: boolean;
  /** `baggage` in our answers to CONNECT. */
  readonly responseBaggage: boolean;
  /** Other endpoints of a service that are tried when one cannot be reached and nothing was sent. */
  readonly endpointRetries: number;
  /** What one workload may take of the process. */
  readonly podLimits: PodLimits;
  /** Keepalive and such of all sockets; undefined: the default. */
  readonly tcp: TcpOptions | undefined;
  readonly ports: ZtunnelPorts;
}

export interface ZtunnelPorts {
  readonly outbound: number;
  readonly inbound: number;
  readonly inboundPlaintext: number;
  /** Undefined: no SOCKS5. */
  readonly socks?: number | undefined;
  /** The port at which every other pod's ztunnel is dialled. */
  readonly hbone: number;
}

export const defaultPorts: ZtunnelPorts = { outbound: 15001, inbound: 15008, inboundPlaintext: 15006, hbone: 15008 };

export const defaultZtunnelSettings: ZtunnelSettings = {
  node: undefined,
  network: '',
  unknownSource: 'blackhole',
  unknownSourceWaitMs: 5000,
  trustDomainAliases: [],
  outboundPolicy: 'ALLOW_ANY',
  unknownPolicy: 'deny',
  unknownPolicyGraceMs: 5000,
  emptyDenyMatch: 'match',
  policyInfoLogging: false,
  spoofing: true,
  transparentListeners: true,
  listenerMarks: true,
  reusePort: true,
  localhostAppTunnel: true,
  responseBaggage: true,
  endpointRetries: 1,
  podLimits: defaultPodLimits,
  tcp: undefined,
  ports: defaultPorts,
};

/** A destination that would come straight back to a listener of ours. */
export function isOwnPort(port: number, ports: ZtunnelPorts): boolean {
  const { outbound, inbound, inboundPlaintext, socks } = ports;
  return port === outbound || port === inbound || port === inboundPlaintext || port === socks;
}
