/**
 * A stand-in for kube-proxy: DNAT from a service's address to one of its pods, as text for `iptables-restore` or, of the
 * other family, `ip6tables-restore`.
 *
 * The jumps are appended, so that redirection, which inserts its own at the head, comes first and sees the service's
 * address, as on a real node. A service without endpoints is unreachable: no node has a route to its address.
 */
import { formatSocketAddress, type IpFamily } from '../base/address.ts';
import { ipOfFamily, type LabPod, type LabService, podIps, serviceVips } from './topology.ts';

const natChain = 'LAB-SERVICES';
const hairpinChain = 'LAB-HAIRPIN';

/** Run once per node, before the rules: the chains and the jumps to them. */
export function serviceChains(): string {
  return [
    '*nat',
    `:${natChain} - [0:0]`,
    `:${hairpinChain} - [0:0]`,
    `-A PREROUTING -j ${natChain}`,
    `-A OUTPUT -j ${natChain}`,
    `-A POSTROUTING -j ${hairpinChain}`,
    'COMMIT',
    '',
  ].join('\n');
}

/** All rules of the chains; with `--noflush` they replace the former ones in one step. Unknown endpoints are skipped. */
export function serviceRules(services: readonly LabService[], pods: readonly LabPod[], family: IpFamily = 4): string {
  const ipOf = new Map(pods.map((pod) => [pod.name, ipOfFamily(podIps(pod), family)]));
  const host = family === 4 ? 32 : 128;
  const nat: string[] = [];
  const reached = new Set<string>();
  for (const service of services) {
    const vip = ipOfFamily(serviceVips(service), family);
    if (vip === undefined) continue;
    const ips = service.endpoints.flatMap((name) => ipOf.get(name) ?? []);
    for (const { port, targetPort } of service.ports) {
      const match = `-d ${vip}/${host} -p tcp -m tcp --dport ${port}`;
      ips.forEach((ip, i) => {
        reached.add(ip);
        const to = formatSocketAddress({ ip, port: targetPort });
        nat.push(`-A ${natChain} ${match}${share(ips.length - i)} -j DNAT --to-destination ${to}`);
      });
    }
  }
  // A pod that reaches itself through a service would otherwise see a packet from its own address arrive.
  const hairpin = [...reached].map((ip) => `-A ${hairpinChain} -s ${ip}/${host} -d ${ip}/${host} -j MASQUERADE`);
  return ['*nat', `:${natChain} - [0:0]`, `:${hairpinChain} - [0:0]`, ...nat, ...hairpin, 'COMMIT', ''].join('\n');
}

/** The chance of the first of `left` equal choices; the last takes what is left. */
function share(left: number): string {
  return left === 1 ? '' : ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}`;
}
