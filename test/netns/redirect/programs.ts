/** The programs with the parameters that the tests' node has. */
import { defaultRedirectConstants as constants } from '../../../src/redirect/constants.ts';
import type {
  HostParameters,
  InpodParameters,
  NodeParameters,
  ZtunnelParameters,
} from '../../../src/redirect/parameters.ts';

export const node: NodeParameters = {
  program: 'node',
  constants,
  ztunnelAddress: '10.244.1.2',
  ztunnelDevice: 'vethza',
  hostAddress: '10.244.1.1',
  tunnel: { kind: 'vxlan', mtu: 1450 },
  membership: 'ipset',
  dns: false,
};

export const ztunnel: ZtunnelParameters = {
  program: 'ztunnel',
  constants,
  ztunnelAddress: '10.244.1.2',
  hostAddress: '10.244.1.1',
  device: 'eth0',
  tunnel: { kind: 'vxlan', mtu: 1450 },
};

export const host: HostParameters = { program: 'host', constants, membership: 'ipset', returnPath: 'socket' };

export const inpod: InpodParameters = { program: 'inpod', constants, dns: false, ipv6: false };

export const sleep = { ip: '10.244.1.4', hostVeth: 'vethsl', comment: 'uid-of-sleep' };
export const productpage = { ip: '10.244.1.9', hostVeth: 'vethpp' };
