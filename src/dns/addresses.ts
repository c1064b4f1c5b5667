/** Where the DNS proxy listens: Istio's `host:port`, where `localhost` is both loopback addresses. */
import { canonicalIp } from '../base/address.ts';

export interface DnsListen {
  readonly ips: readonly string[];
  readonly port: number;
}

/** `localhost:15053`, `127.0.0.1:15053` or `[::1]:15053`; undefined for anything else. */
export function parseDnsListen(text: string, ipv6: boolean): DnsListen | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3] ?? Number.NaN);
  if (match === null || port > 65_535) return undefined;
  const host = match[1] ?? match[2] ?? '';
  if (host === 'localhost') return { ips: ipv6 ? ['127.0.0.1', '::1'] : ['127.0.0.1'], port };
  const ip = canonicalIp(host);
  return ip === undefined ? undefined : { ips: [ip], port };
}
