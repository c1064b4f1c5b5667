/**
 * Whose address a leg carries and how its socket is marked: the preset's rules as `SocketProfile`s (seed-design.md §3.3,
 * §6.5). Inside a pod's namespace the client's address is the natural one; on the node it has to be borrowed.
 */
import type { Preset, SourceAddressRule } from '../config/preset.ts';
import type { NetworkNamespace, SocketProfile, TcpOptions } from '../net/socket-spec.ts';

export interface SocketRules {
  readonly preset: Preset;
  /** Where sockets are made; undefined: in the process's own namespace. */
  readonly namespace: NetworkNamespace | undefined;
  /** Whether foreign source addresses can be used at all. */
  readonly spoofing: boolean;
  /** How a dead peer is noticed; the default unless told. */
  readonly tcp?: TcpOptions | undefined;
}

/** A leg out of the client's side. */
export function outboundSocket(
  rules: SocketRules,
  rule: SourceAddressRule,
  client: string,
  destination: string,
): SocketProfile {
  const borrowed = rule !== 'own' && rules.preset.capture === 'node';
  return borrowed ? borrowedSocket(rules, client, destination) : ownSocket(rules);
}

/** The last hop, to the application. `peer` undefined: the leg before carried our own address. */
export function applicationSocket(rules: SocketRules, peer: string | undefined, destination: string): SocketProfile {
  if (peer === undefined || rules.preset.sourceToApplication === 'own') return ownSocket(rules);
  return borrowedSocket(rules, peer, destination);
}

export function ownSocket(rules: SocketRules): SocketProfile {
  return {
    source: undefined,
    transparent: false,
    mark: rules.preset.marks.own,
    namespace: rules.namespace,
    connectTimeoutMs: rules.preset.connectTimeoutMs,
    ...(rules.tcp === undefined ? {} : { tcp: rules.tcp }),
  };
}

/** A pod that calls itself would be answered past us if both ends had its address. */
function borrowedSocket(rules: SocketRules, address: string, destination: string): SocketProfile {
  if (!rules.spoofing || address === destination) return ownSocket(rules);
  return { ...ownSocket(rules), source: address, transparent: true, mark: rules.preset.marks.spoofed };
}
