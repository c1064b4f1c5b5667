/**
 * Every name and number the redirection uses, in one record: the article's for `node`, `ztunnel` and `host`, today's Istio's
 * for `inpod`. A deployment that collides with another agent (tables 100-102, the two /30 networks) overrides single values.
 * I1: a mark is always a value with its mask, and the mask names exactly the bits that are ours.
 */

/** Bits `mask` of a packet's or connection's mark, and what they hold. `value` lies within `mask`. */
export interface Mark {
  readonly value: number;
  readonly mask: number;
}

/** One of the two tunnels between node and ztunnel: both ends, with one /30 for both. */
export interface TunnelConstants {
  /** GENEVE or VXLAN network identifier. */
  readonly id: number;
  readonly nodeDevice: string;
  readonly podDevice: string;
  readonly nodeAddress: string;
  readonly podAddress: string;
  readonly prefix: number;
}

export interface PortConstants {
  readonly outbound: number;
  readonly inbound: number;
  readonly inboundPlaintext: number;
  /** Own port by which ztunnel reaches its own 15008 for a pod of the same node. */
  readonly sameNode: number;
  readonly dns: number;
}

export interface NodeConstants {
  readonly set: string;
  readonly chainPrefix: string;
  readonly marks: {
    readonly outbound: Mark;
    readonly skip: Mark;
    /** ztunnel speaks with another's address: skip and proxy bits. */
    readonly spoofed: Mark;
    /** The whole connection is skipped: skip and conn-skip bits. */
    readonly skipConnection: Mark;
    readonly proxyReturn: Mark;
  };
  readonly priorities: {
    readonly skip: number;
    readonly outbound: number;
    readonly proxyReturn: number;
    readonly inbound: number;
  };
  readonly tables: { readonly inbound: number; readonly outbound: number; readonly proxyReturn: number };
}

export interface ZtunnelConstants {
  readonly chainPrefix: string;
  readonly marks: {
    readonly tproxy: Mark;
    readonly outboundListener: Mark;
    readonly inboundListener: Mark;
    readonly spoofedReply: Mark;
  };
  readonly priorities: {
    readonly tproxy: number;
    readonly outboundListener: number;
    readonly inboundListener: number;
    readonly spoofedReply: number;
  };
  readonly tables: {
    readonly local: number;
    readonly outboundListener: number;
    readonly inboundListener: number;
  };
}

export interface HostConstants {
  readonly set: string;
  readonly chainPrefix: string;
  readonly tproxyMark: Mark;
  /** Mark that ztunnel sets on sockets with another's source address. */
  readonly spoofedSocketMark: Mark;
  readonly priority: number;
  readonly table: number;
}

export interface InpodConstants {
  readonly preroutingChain: string;
  readonly outputChain: string;
  /** Mark of ztunnel's own sockets. */
  readonly proxyMark: Mark;
  /** Mark of connections that ztunnel opened towards the app. */
  readonly connectionMark: Mark;
  readonly probeAddress: { readonly ipv4: string; readonly ipv6: string };
  readonly dnsZone: number;
  readonly priority: number;
  readonly table: number;
}

export interface RedirectConstants {
  readonly tunnels: { readonly inbound: TunnelConstants; readonly outbound: TunnelConstants };
  /** UDP port of the encapsulation, GENEVE's also when VXLAN stands in. */
  readonly tunnelPort: number;
  readonly ports: PortConstants;
  readonly node: NodeConstants;
  readonly ztunnel: ZtunnelConstants;
  readonly host: HostConstants;
  readonly inpod: InpodConstants;
}

const bits = (value: number): Mark => ({ value, mask: value });
const low = (value: number): Mark => ({ value, mask: 0xfff });

export const defaultRedirectConstants: RedirectConstants = {
  tunnels: {
    inbound: {
      id: 1000,
      nodeDevice: 'istioin',
      podDevice: 'pistioin',
      nodeAddress: '192.168.126.1',
      podAddress: '192.168.126.2',
      prefix: 30,
    },
    outbound: {
      id: 1001,
      nodeDevice: 'istioout',
      podDevice: 'pistioout',
      nodeAddress: '192.168.127.1',
      podAddress: '192.168.127.2',
      prefix: 30,
    },
  },
  tunnelPort: 6081,
  ports: { outbound: 15001, inbound: 15008, inboundPlaintext: 15006, sameNode: 15088, dns: 15053 },
  node: {
    set: 'ztunnel-pods-ips',
    chainPrefix: 'ztunnel-',
    marks: {
      outbound: bits(0x100),
      skip: bits(0x200),
      spoofed: bits(0x210),
      skipConnection: bits(0x220),
      proxyReturn: bits(0x40),
    },
    priorities: { skip: 100, outbound: 101, proxyReturn: 102, inbound: 103 },
    tables: { inbound: 100, outbound: 101, proxyReturn: 102 },
  },
  ztunnel: {
    chainPrefix: 'ambit-',
    marks: {
      tproxy: low(0x400),
      outboundListener: low(0x401),
      inboundListener: low(0x402),
      spoofedReply: low(0x4d3),
    },
    priorities: { tproxy: 20000, outboundListener: 20001, inboundListener: 20002, spoofedReply: 20003 },
    tables: { local: 100, outboundListener: 101, inboundListener: 102 },
  },
  host: {
    set: 'ambient-pods',
    chainPrefix: 'ambit-',
    tproxyMark: low(0x400),
    spoofedSocketMark: low(0x4d2),
    priority: 100,
    table: 100,
  },
  inpod: {
    preroutingChain: 'ISTIO_PRERT',
    outputChain: 'ISTIO_OUTPUT',
    proxyMark: low(0x539),
    connectionMark: low(0x111),
    probeAddress: { ipv4: '169.254.7.127', ipv6: 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff' },
    dnsZone: 1,
    priority: 32764,
    table: 100,
  },
};
