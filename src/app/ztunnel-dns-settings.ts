/** What may be said of the DNS proxy and SOCKS5, by ztunnel's names (ztunnel.md §2.5); ours begin with AMBIT_. */
import { flag, optionalInteger, optionalText, port, text } from '../config/environment.ts';
import { type DnsListen, parseDnsListen } from '../dns/addresses.ts';

export const dnsShape = {
  ISTIO_META_DNS_CAPTURE: optionalText(),
  ISTIO_META_DNS_PROXY_ADDR: text('localhost:15053'),
  PREFERED_SERVICE_NAMESPACE: optionalText(),
  AMBIT_DNS_PORT: optionalInteger(0, 65_535),
  AMBIT_RESOLV_CONF: text('/etc/resolv.conf'),
  UNSTABLE_ENABLE_SOCKS5: flag(false),
  AMBIT_SOCKS_PORT: port(15080),
};

export interface DnsVariables {
  readonly ISTIO_META_DNS_CAPTURE?: string | undefined;
  readonly ISTIO_META_DNS_PROXY_ADDR: string;
  readonly AMBIT_DNS_PORT?: number | undefined;
  readonly IPV6_ENABLED: boolean;
}

/** Where DNS listens; undefined: it is off, or, with a problem added, cannot be followed. */
export function readDnsListen(variables: DnsVariables, problems: string[]): DnsListen | undefined {
  // ztunnel's rule: whatever is said and is not `true` turns it off.
  if ((variables.ISTIO_META_DNS_CAPTURE ?? 'true') !== 'true') return undefined;
  const { ISTIO_META_DNS_PROXY_ADDR: address, AMBIT_DNS_PORT, IPV6_ENABLED } = variables;
  const listen = parseDnsListen(address, IPV6_ENABLED);
  if (listen === undefined) {
    problems.push(
      `ISTIO_META_DNS_PROXY_ADDR=${JSON.stringify(address)}: say localhost:PORT or an IP address and a port`,
    );
    return undefined;
  }
  return { ips: listen.ips, port: AMBIT_DNS_PORT ?? listen.port };
}
