/**
 * A preset is one record: the article's world or today's. Code asks the record for a fact and never for its name, so
 * that one data path serves both (design §1). The figures of `legacy` are those of the 2022 preview.
 */

/** Whose address a leg of the path carries. `peer`: the address at the other end of the previous leg. */
export type SourceAddressRule = 'client' | 'own' | 'peer';

export interface Preset {
  readonly name: 'legacy' | 'modern';
  readonly waypointPort: number;
  /** Whether waypoints listen on IPv6 as well: the article's figures and rules are those of IPv4. */
  readonly ipv6: boolean;
  /** How ztunnel meets pods' traffic: TPROXY into its own namespace, or sockets of its own inside each pod's. */
  readonly capture: 'node' | 'inpod';
  /** Where the original destination of a captured connection is read: the socket's own address or SO_ORIGINAL_DST. */
  readonly originalDestination: 'local-address' | 'redirect';
  /** How L7 is asked for: Gateway `istio-mesh` with a service account, or the `istio.io/use-waypoint` label. */
  readonly waypointBinding: 'service-account' | 'label';
  /** Which policies a waypoint applies: those selecting pods, at the pod stage, or those with `targetRefs`. */
  readonly l7Policies: 'selector' | 'target-refs';
  readonly sourceToWaypoint: SourceAddressRule;
  readonly sourceToPod: SourceAddressRule;
  readonly sourceToApplication: SourceAddressRule;
  readonly connectTimeoutMs: number;
  readonly marks: {
    /** SO_MARK of the outbound listener, inherited by accepted sockets; undefined: none. */
    readonly outboundListener: number | undefined;
    readonly inboundListener: number | undefined;
    /** SO_MARK of sockets that speak with somebody else's address. */
    readonly spoofed: number | undefined;
    /** SO_MARK of every other socket ztunnel makes. */
    readonly own: number | undefined;
  };
  /** Adds `x-envoy-original-dst-host` to CONNECT. Never believed on receipt. */
  readonly originalDstHostHeader: boolean;
  /** A pod behind a waypoint admits, once policies exist, that waypoint's identity alone (R40). */
  readonly onlyWaypointBehindPolicies: boolean;
  /** Vocabulary of dumps and access logs. */
  readonly names: 'article' | 'today';
}

export const legacyPreset: Preset = {
  name: 'legacy',
  waypointPort: 15006,
  ipv6: false,
  capture: 'node',
  originalDestination: 'local-address',
  waypointBinding: 'service-account',
  l7Policies: 'selector',
  sourceToWaypoint: 'client',
  sourceToPod: 'own',
  sourceToApplication: 'peer',
  connectTimeoutMs: 2_000,
  marks: { outboundListener: 0x401, inboundListener: 0x402, spoofed: 0x4d2, own: undefined },
  originalDstHostHeader: true,
  onlyWaypointBehindPolicies: true,
  names: 'article',
};

export const modernPreset: Preset = {
  name: 'modern',
  waypointPort: 15008,
  ipv6: true,
  capture: 'inpod',
  originalDestination: 'redirect',
  waypointBinding: 'label',
  l7Policies: 'target-refs',
  sourceToWaypoint: 'client',
  sourceToPod: 'client',
  sourceToApplication: 'peer',
  connectTimeoutMs: 10_000,
  marks: { outboundListener: 0x539, inboundListener: 0x539, spoofed: 0x539, own: 0x539 },
  originalDstHostHeader: false,
  onlyWaypointBehindPolicies: false,
  names: 'today',
};

export function presetByName(name: string): Preset | undefined {
  return name === 'legacy' ? legacyPreset : name === 'modern' ? modernPreset : undefined;
}
