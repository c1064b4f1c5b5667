/**
 * The part of iptables that the programs need, as data, and its text. The text is the form in which `iptables-save` prints
 * the same rule, so that what is installed can be compared with what is wanted.
 */
import type { Mark } from './constants.ts';

export type Family = 'ipv4' | 'ipv6';
export type TableName = 'raw' | 'mangle' | 'nat';
export type Hook = 'PREROUTING' | 'INPUT' | 'FORWARD' | 'OUTPUT' | 'POSTROUTING';

export type Match =
  | { readonly kind: 'destination-port'; readonly port: number; readonly negate?: true }
  | { readonly kind: 'source-port'; readonly port: number }
  | { readonly kind: 'mark'; readonly mark: Mark; readonly negate?: true }
  | { readonly kind: 'connection-mark'; readonly mark: Mark }
  | { readonly kind: 'set'; readonly set: string; readonly direction: 'src' | 'dst' }
  /** A socket that exists already and is not bound to every address; `transparent`: one with IP_TRANSPARENT. */
  | { readonly kind: 'socket'; readonly transparent: boolean }
  /** The destination is an address of this namespace. */
  | { readonly kind: 'local-destination' };

export type Target =
  | { readonly kind: 'return' }
  | { readonly kind: 'accept' }
  | { readonly kind: 'jump'; readonly chain: string }
  | { readonly kind: 'mark'; readonly mark: Mark }
  | { readonly kind: 'connection-mark'; readonly mark: Mark }
  | { readonly kind: 'save-mark'; readonly mask: number }
  | { readonly kind: 'restore-mark'; readonly mask: number }
  | { readonly kind: 'tproxy'; readonly port: number; readonly ip: string; readonly mark: Mark }
  | { readonly kind: 'redirect'; readonly port: number }
  | { readonly kind: 'destination-nat'; readonly to: string }
  | { readonly kind: 'conntrack-zone'; readonly zone: number };

/** One rule. Addresses are bare (a host) and `why` is the reason shown to the reader. */
export interface Rule {
  readonly from?: string;
  readonly notFrom?: string;
  readonly to?: string;
  readonly notTo?: string;
  readonly in?: string;
  readonly notIn?: string;
  readonly out?: string;
  readonly notOut?: string;
  readonly protocol?: 'tcp' | 'udp';
  readonly matches?: readonly Match[];
  readonly target: Target;
  readonly why: string;
}

export function markText(mark: Mark): string {
  return `0x${mark.value.toString(16)}/0x${mark.mask.toString(16)}`;
}

/** The rule without `-A CHAIN`, as `iptables-save` prints it. */
export function ruleText(rule: Rule): string {
  const parts = [
    option('-s', host(rule.from), host(rule.notFrom)),
    option('-d', host(rule.to), host(rule.notTo)),
    option('-i', rule.in, rule.notIn),
    option('-o', rule.out, rule.notOut),
    option('-p', rule.protocol, undefined),
    ...(rule.matches ?? []).map((match) => matchText(match, rule.protocol ?? 'tcp')),
    `-j ${targetText(rule.target)}`,
  ];
  return parts.filter((part) => part !== '').join(' ');
}

function option(flag: string, value: string | undefined, negated: string | undefined): string {
  if (value !== undefined) return `${flag} ${value}`;
  return negated === undefined ? '' : `! ${flag} ${negated}`;
}

function host(ip: string | undefined): string | undefined {
  return ip === undefined ? undefined : `${ip}/${ip.includes(':') ? 128 : 32}`;
}

function matchText(match: Match, protocol: string): string {
  switch (match.kind) {
    case 'destination-port':
      return `-m ${protocol} ${match.negate ? '! ' : ''}--dport ${match.port}`;
    case 'source-port':
      return `-m ${protocol} --sport ${match.port}`;
    case 'mark':
      return `-m mark ${match.negate ? '! ' : ''}--mark ${markText(match.mark)}`;
    case 'connection-mark':
      return `-m connmark --mark ${markText(match.mark)}`;
    case 'set':
      return `-m set --match-set ${match.set} ${match.direction}`;
    case 'socket':
      return match.transparent ? '-m socket --transparent' : '-m socket';
    case 'local-destination':
      return '-m addrtype --dst-type LOCAL';
  }
}

function targetText(target: Target): string {
  switch (target.kind) {
    case 'return':
      return 'RETURN';
    case 'accept':
      return 'ACCEPT';
    case 'jump':
      return target.chain;
    case 'mark':
      return `MARK --set-xmark ${markText(target.mark)}`;
    case 'connection-mark':
      return `CONNMARK --set-xmark ${markText(target.mark)}`;
    case 'save-mark':
      return `CONNMARK --save-mark ${masksText(target.mask)}`;
    case 'restore-mark':
      return `CONNMARK --restore-mark ${masksText(target.mask)}`;
    case 'tproxy':
      return `TPROXY --on-port ${target.port} --on-ip ${target.ip} --tproxy-mark ${markText(target.mark)}`;
    case 'redirect':
      return `REDIRECT --to-ports ${target.port}`;
    case 'destination-nat':
      return `DNAT --to-destination ${target.to}`;
    case 'conntrack-zone':
      return `CT --zone ${target.zone}`;
  }
}

function masksText(mask: number): string {
  const text = `0x${mask.toString(16)}`;
  return `--nfmask ${text} --ctmask ${text}`;
}
