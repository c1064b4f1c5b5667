/** The views as indented text, for people: the shape of the article's figures. */
import type { CertificateDump } from './dump-certificates.ts';
import type { ListenerView, MatcherNode } from './view.ts';
import type { ClusterView, EndpointView } from './view-clusters.ts';

export function listenersText(listeners: readonly ListenerView[]): string {
  return lines(
    listeners.flatMap((listener) => [
      `listener ${listener.name}`,
      `  address ${listener.address}${listener.transparent ? ' transparent' : ''}${markText(listener.mark)}`,
      '  filter_chain_matcher',
      ...matcherLines(listener.filterChainMatcher, '    '),
      '  filter_chains',
      ...listener.filterChains.flatMap((chain) => [
        `    ${chain.name}`,
        `      tcp_proxy → cluster ${chain.filters[0].cluster}`,
        `      because ${chain.reason}`,
      ]),
      ...(listener.truncated ? ['  (cut short: ask for one source, or raise limit)'] : []),
    ]),
  );
}

export function clustersText(clusters: readonly ClusterView[]): string {
  return lines(
    clusters.flatMap((cluster) => [
      `cluster ${cluster.name}`,
      `  type ${cluster.type}, ${cluster.loadBalancing}, connect timeout ${cluster.connectTimeoutMs} ms`,
      ...(cluster.tls === undefined
        ? ['  plain text']
        : [
            `  ${cluster.tls.versions}, ALPN ${cluster.tls.alpn}, certificate ${cluster.tls.certificate}`,
            `  expects ${cluster.tls.expectedIdentities.join(' or ') || 'nobody'}`,
          ]),
    ]),
  );
}

export function endpointsText(clusters: readonly ClusterView[]): string {
  return lines(
    clusters.flatMap((cluster) => [
      `cluster ${cluster.name}`,
      ...(cluster.endpoints.length === 0 ? ['  no endpoints'] : cluster.endpoints.map(endpointLine)),
    ]),
  );
}

export function certificatesText(certificates: readonly CertificateDump[]): string {
  return lines(
    certificates.flatMap((certificate) => [
      `${certificate.identity} ${certificate.state}`,
      ...certificate.certChain.map(
        (each) => `  serial ${each.serialNumber}, ${each.validFrom} to ${each.expirationTime}`,
      ),
    ]),
  );
}

function matcherLines(node: MatcherNode, indent: string): string[] {
  if ('filterChain' in node) return [`${indent}→ ${node.filterChain}`];
  const under = (key: string, child: MatcherNode) =>
    'filterChain' in child
      ? [`${indent}  ${key} → ${child.filterChain}`]
      : [`${indent}  ${key}`, ...matcherLines(child, `${indent}    `)];
  const entries = [...node.entries].flatMap(([key, child]) => under(key, child));
  return [
    `${indent}by ${node.input}`,
    ...entries,
    ...(node.onNoMatch === undefined ? [] : under('no match', node.onNoMatch)),
  ];
}

function endpointLine(endpoint: EndpointView): string {
  const inside = endpoint.tunnel === undefined ? '' : `, inside the tunnel ${endpoint.tunnel.destination}`;
  return `  ${endpoint.address} ${endpoint.health} weight ${endpoint.weight}${inside} (${endpoint.workload})`;
}

function markText(mark: number | undefined): string {
  return mark === undefined ? '' : ` mark 0x${mark.toString(16)}`;
}

function lines(all: readonly string[]): string {
  return all.map((line) => `${line}\n`).join('');
}
