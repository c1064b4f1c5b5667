/**
 * The tree of the article's figures 3-7, from live state: listener → filter chain matcher → filter chain → cluster →
 * endpoints, as plain data (seed-design.md §1.2, R15, R30). Each leaf is what the matcher itself answers, so a view
 * cannot differ from the data path. Made per request and bounded; `view-text.ts` prints it.
 */
import type { Workload } from '../mesh/model.ts';
import type { ZtunnelServices } from './context.ts';
import type { Match } from './matcher.ts';
import { type ClusterView, clusterOf, mergeClusters } from './view-clusters.ts';

export interface ViewOptions {
  /** Only this source: a pod's name, `namespace/name` or address. */
  readonly source: string | undefined;
  /** Leaves shown at most. */
  readonly limit: number;
}

export type MatcherNode =
  | {
      readonly input: 'destination port' | 'source IP' | 'destination IP';
      readonly entries: ReadonlyMap<string, MatcherNode>;
      readonly onNoMatch: MatcherNode | undefined;
    }
  | { readonly filterChain: string };

export interface ChainView {
  readonly name: string;
  readonly filters: readonly [{ readonly name: 'tcp_proxy'; readonly cluster: string }];
  readonly reason: string;
}

export interface ListenerView {
  readonly name: string;
  readonly address: string;
  readonly transparent: boolean;
  readonly mark: number | undefined;
  readonly filterChainMatcher: MatcherNode;
  readonly filterChains: readonly ChainView[];
  /** Leaves were left out: ask for one source, or raise the limit. */
  readonly truncated: boolean;
}

export interface ZtunnelViews {
  readonly listeners: readonly ListenerView[];
  readonly clusters: readonly ClusterView[];
}

export function buildViews(
  services: ZtunnelServices,
  locals: readonly Workload[],
  ip: string,
  options: ViewOptions,
): ZtunnelViews {
  const sources = locals.filter((workload) => matchesSource(workload, options.source));
  const outbound = new OutboundTree(services, options.limit);
  for (const source of sources) outbound.add(source);
  const { ports, transparentListeners, listenerMarks } = services.settings;
  const { preset, names } = services;
  const common = (name: string, port: number, mark: number | undefined) => ({
    name,
    address: `${ip}:${port}`,
    transparent: transparentListeners,
    mark: listenerMarks ? mark : undefined,
  });
  const inboundMark = preset.marks.inboundListener;
  return {
    listeners: [
      { ...common(names.outboundListener, ports.outbound, preset.marks.outboundListener), ...outbound.finish() },
      {
        ...common(names.inboundListener, ports.inbound, inboundMark),
        ...inboundTree(services, locals, names.inboundBlackhole),
      },
      {
        ...common(names.plaintextListener, ports.inboundPlaintext, inboundMark),
        ...inboundTree(services, locals, names.plaintextBlackhole),
      },
    ],
    clusters: [...outbound.clusters.values()],
  };
}

/** Defaults and bounds of what a request may ask for. */
export function viewOptions(query: URLSearchParams): ViewOptions {
  const asked = Number(query.get('limit') ?? 2000);
  const limit = Number.isInteger(asked) && asked > 0 ? Math.min(asked, 20_000) : 2000;
  return { source: query.get('source') ?? undefined, limit };
}

type Tree = Pick<ListenerView, 'filterChainMatcher' | 'filterChains' | 'truncated'>;

class OutboundTree {
  readonly clusters = new Map<string, ClusterView>();
  readonly #services: ZtunnelServices;
  readonly #limit: number;
  readonly #bySource = new Map<string, MatcherNode>();
  readonly #chains = new Map<string, ChainView>();
  #leaves = 0;

  constructor(services: ZtunnelServices, limit: number) {
    this.#services = services;
    this.#limit = limit;
  }

  add(source: Workload): void {
    const { mesh } = this.#services;
    const byDestination = new Map<string, MatcherNode>();
    for (const service of mesh.services()) {
      for (const { network, ip } of service.addresses) {
        if (network !== source.network || this.#full) continue;
        const entries = new Map<string, MatcherNode>();
        for (const port of service.ports.keys()) {
          if (!this.#full) entries.set(String(port), this.#leaf(source, ip, port));
        }
        byDestination.set(ip, { input: 'destination port', entries, onNoMatch: undefined });
      }
    }
    for (const workload of mesh.workloads()) {
      if (workload.network !== source.network) continue;
      for (const ip of workload.addresses) {
        if (this.#full) break;
        // Any port leads the same way: a pod's address has no level of ports.
        byDestination.set(ip, this.#leaf(source, ip, 1));
      }
    }
    const node: MatcherNode = { input: 'destination IP', entries: byDestination, onNoMatch: this.#unknown(source) };
    for (const ip of source.addresses) this.#bySource.set(ip, node);
  }

  finish(): Tree {
    const { matcher, settings } = this.#services;
    const guard = this.#chain(matcher.match(undefined, { ip: '192.0.2.1', port: settings.ports.outbound }), undefined);
    const unknown = this.#chain(matcher.match(undefined, { ip: '192.0.2.1', port: 1 }), undefined);
    return {
      filterChainMatcher: {
        input: 'destination port',
        entries: new Map([[String(settings.ports.outbound), guard]]),
        onNoMatch: { input: 'source IP', entries: this.#bySource, onNoMatch: unknown },
      },
      filterChains: [...this.#chains.values()],
      truncated: this.#full,
    };
  }

  get #full(): boolean {
    return this.#leaves >= this.#limit;
  }

  #unknown(source: Workload): MatcherNode {
    const { matcher } = this.#services;
    // An address of the documentation's range, which no mesh has.
    return this.#chain(matcher.match(source, { ip: '192.0.2.1', port: 1 }), source);
  }

  #leaf(source: Workload, ip: string, port: number): MatcherNode {
    this.#leaves++;
    const match = this.#services.matcher.match(source, { ip, port });
    if (match.kind === 'waypoint') {
      for (const { chain, gateway } of match.weighted) this.#chain({ ...match, chain, gateway }, source);
    }
    return this.#chain(match, source);
  }

  #chain(match: Match, source: Workload | undefined): MatcherNode {
    const { name, cluster, reason } = match.chain;
    if (!this.#chains.has(name)) this.#chains.set(name, { name, filters: [{ name: 'tcp_proxy', cluster }], reason });
    const known = this.clusters.get(cluster);
    if (known === undefined) this.clusters.set(cluster, clusterOf(this.#services, match, source));
    else if (match.kind === 'pod') {
      this.clusters.set(cluster, mergeClusters(known, clusterOf(this.#services, match, source)));
    }
    return { filterChain: name };
  }
}

function inboundTree(services: ZtunnelServices, locals: readonly Workload[], blackhole: string): Tree {
  const { names } = services;
  const entries = new Map<string, MatcherNode>();
  const filterChains: ChainView[] = [];
  for (const workload of locals) {
    if (workload.tunnelProtocol !== 'hbone') continue;
    for (const ip of workload.addresses) {
      const name = names.inboundChain(ip);
      entries.set(ip, { filterChain: name });
      filterChains.push({
        name,
        filters: [{ name: 'tcp_proxy', cluster: names.application }],
        reason: `workload ${workload.namespace}/${workload.name}: address`,
      });
    }
  }
  const onNoMatch = { filterChain: blackhole };
  return { filterChainMatcher: { input: 'destination IP', entries, onNoMatch }, filterChains, truncated: false };
}

function matchesSource(workload: Workload, wanted: string | undefined): boolean {
  if (wanted === undefined) return true;
  const { name, namespace, addresses } = workload;
  return wanted === name || wanted === `${namespace}/${name}` || addresses.includes(wanted);
}
