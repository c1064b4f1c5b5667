/**
 * What a program is told about the place it runs in, and the check of it. Values end up in lines for `ip -batch`,
 * `ipset restore` and `iptables-restore`: a name that could end or split a line never gets that far.
 */
import { isIP, isIPv4 } from 'node:net';
import { AmbitError } from '../base/errors.ts';
import type { RedirectConstants } from './constants.ts';

/** `existing`: the four devices are there already, made by somebody who can reach both namespaces (a veth pair). */
export type Tunnel = { readonly kind: 'geneve' | 'vxlan'; readonly mtu: number } | { readonly kind: 'existing' };

/** `rules`: one iptables rule per pod, for kernels or hosts without ipset. */
export type Membership = 'ipset' | 'rules';

/** The article's node namespace. */
export interface NodeParameters {
  readonly program: 'node';
  readonly constants: RedirectConstants;
  readonly ztunnelAddress: string;
  /** The node's end of the ztunnel pod's veth. */
  readonly ztunnelDevice: string;
  /** The node's address on that veth; its own traffic (probes) carries it. */
  readonly hostAddress: string;
  readonly tunnel: Tunnel;
  readonly membership: Membership;
  /** Also send the pods' DNS (UDP 53) to ztunnel. */
  readonly dns: boolean;
}

/** The namespace of the article's ztunnel pod. */
export interface ZtunnelParameters {
  readonly program: 'ztunnel';
  readonly constants: RedirectConstants;
  readonly ztunnelAddress: string;
  readonly hostAddress: string;
  readonly device: string;
  readonly tunnel: Tunnel;
}

/** ztunnel in the node's own namespace. */
export interface HostParameters {
  readonly program: 'host';
  readonly constants: RedirectConstants;
  readonly membership: Membership;
  /** How replies to spoofed sockets are recognised. */
  readonly returnPath: 'socket' | 'connmark';
}

/** A pod's namespace, as today's Istio does it. */
export interface InpodParameters {
  readonly program: 'inpod';
  readonly constants: RedirectConstants;
  readonly dns: boolean;
  readonly ipv6: boolean;
}

export type ProgramParameters = NodeParameters | ZtunnelParameters | HostParameters | InpodParameters;
export type ProgramName = ProgramParameters['program'];
export const programNames: readonly ProgramName[] = ['node', 'ztunnel', 'host', 'inpod'];

/** A pod whose traffic is captured. Waypoint pods are never members: captured, their own tunnels would loop. */
export interface Member {
  readonly ip: string;
  /** The node's end of the pod's veth. */
  readonly hostVeth: string;
  /** Kept with the address in the set; Istio writes the pod's UID. */
  readonly comment?: string;
}

/** Everything wrong with the parameters, each problem a sentence that starts with the field. */
export function parameterProblems(parameters: ProgramParameters): string[] {
  const { constants: c } = parameters;
  const problems: (string | undefined)[] = [];
  if (parameters.program === 'node') {
    problems.push(
      ipProblem('ztunnelAddress', parameters.ztunnelAddress),
      ipProblem('hostAddress', parameters.hostAddress),
      deviceProblem('ztunnelDevice', parameters.ztunnelDevice),
      nameProblem('set', c.node.set, 31),
      nameProblem('chainPrefix', c.node.chainPrefix, 16),
    );
  }
  if (parameters.program === 'ztunnel') {
    problems.push(
      ipProblem('ztunnelAddress', parameters.ztunnelAddress),
      ipProblem('hostAddress', parameters.hostAddress),
      deviceProblem('device', parameters.device),
      nameProblem('chainPrefix', c.ztunnel.chainPrefix, 16),
    );
  }
  if (parameters.program === 'node' || parameters.program === 'ztunnel') {
    for (const tunnel of [c.tunnels.inbound, c.tunnels.outbound]) {
      problems.push(
        deviceProblem('tunnel device', tunnel.nodeDevice),
        deviceProblem('tunnel device', tunnel.podDevice),
        ipProblem('tunnel address', tunnel.nodeAddress),
        ipProblem('tunnel address', tunnel.podAddress),
      );
    }
  }
  if (parameters.program === 'host') {
    problems.push(nameProblem('set', c.host.set, 31), nameProblem('chainPrefix', c.host.chainPrefix, 16));
  }
  if (parameters.program === 'inpod') {
    problems.push(
      nameProblem('preroutingChain', c.inpod.preroutingChain, 28),
      nameProblem('outputChain', c.inpod.outputChain, 28),
    );
  }
  return problems.filter((problem) => problem !== undefined);
}

export function memberProblems(member: Member): string[] {
  const comment = member.comment ?? '';
  return [
    ipProblem('member address', member.ip),
    deviceProblem('member device', member.hostVeth),
    /^[\x20\x21\x23-\x7e]{0,255}$/.test(comment)
      ? undefined
      : `member comment: ${JSON.stringify(comment)} is not plain text`,
  ].filter((problem) => problem !== undefined);
}

/** Throws one error that lists all problems. */
export function refuseProblems(problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new AmbitError(problems.join('\n'), { code: 'REDIRECT_BAD_PARAMETER', origin: 'local' });
}

/** The node-level programs are IPv4 only, as the article's. */
function ipProblem(field: string, ip: string): string | undefined {
  if (isIPv4(ip)) return undefined;
  return `${field}: ${JSON.stringify(ip)} is ${isIP(ip) === 6 ? 'IPv6; this program redirects IPv4 only' : 'no IP address'}`;
}

function deviceProblem(field: string, device: string): string | undefined {
  return /^[A-Za-z0-9_.@-]{1,15}$/.test(device) && device !== '.' && device !== '..'
    ? undefined
    : `${field}: ${JSON.stringify(device)} is no network device name`;
}

function nameProblem(field: string, name: string, longest: number): string | undefined {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(name) && name.length <= longest
    ? undefined
    : `${field}: ${JSON.stringify(name)} is no name of at most ${longest} letters, digits, "_", "." or "-"`;
}
