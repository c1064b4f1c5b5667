/**
 * What becomes of a DNS query: answered from the mesh, forwarded, or refused with a code (ztunnel.md §9). Pure; the value
 * says why.
 *
 * I1: a service that its own namespace keeps to itself is to others as if it did not exist: their queries are forwarded.
 * I2: a name of the mesh that has no address of the family asked for exists all the same: no error and no records.
 */
import { ipFamily } from '../base/address.ts';
import type { Service, Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import { candidatesOf, kubernetesSearchDomains } from './candidates.ts';
import type { HeadlessServices } from './headless.ts';
import { classInternet, codes, type DnsQuery, typeA, typeAaaa } from './message.ts';

export interface DnsRules {
  readonly clusterDomain: string;
  /** Undefined: those Kubernetes gives to pods of the client's namespace. */
  readonly searchDomains: readonly string[] | undefined;
  /** PREFERED_SERVICE_NAMESPACE: of services with one name, this namespace's goes before the others'. */
  readonly preferredNamespace: string | undefined;
  readonly ipv6: boolean;
}

export interface DnsContext {
  readonly mesh: MeshView;
  readonly headless: HeadlessServices;
  readonly rules: DnsRules;
}

export type DnsDecision =
  | {
      readonly kind: 'answer';
      readonly reason: string;
      readonly service: Service;
      /** All of the type asked for; maybe none. */
      readonly addresses: readonly string[];
      /** A search domain was taken off: the name is an alias of its first so many labels. */
      readonly aliasLabels: number | undefined;
    }
  | { readonly kind: 'forward'; readonly reason: string }
  | { readonly kind: 'refuse'; readonly reason: string; readonly code: number };

type Question = Pick<DnsQuery, 'name' | 'type' | 'class' | 'edns'>;

/** `client` undefined: nobody knows who asks. */
export function decideDns(query: Question, client: Workload | undefined, context: DnsContext): DnsDecision {
  if ((query.edns?.version ?? 0) !== 0) {
    return { kind: 'refuse', code: codes.badVersion, reason: `EDNS version ${query.edns?.version}` };
  }
  if (client === undefined) return { kind: 'refuse', code: codes.serverFailure, reason: 'unknown client workload' };
  if (query.class !== classInternet) return { kind: 'forward', reason: `class ${query.class}` };
  if (query.type !== typeA && query.type !== typeAaaa) return { kind: 'forward', reason: `type ${query.type}` };
  const match = find(query.name.labels, client, context);
  if (match === undefined) return { kind: 'forward', reason: 'no service of that name' };
  const { service, pod, exact, strippedTo } = match;
  const addresses = addressesOf(service, pod, query.type === typeA ? 4 : 6, client, context);
  const aliasLabels = exact && addresses.length > 0 ? strippedTo : undefined;
  const reason = `service ${service.key}${pod === undefined ? '' : `, pod ${pod}`}`;
  return { kind: 'answer', reason, service, addresses, aliasLabels };
}

interface Found {
  readonly service: Service;
  /** The pod's name, when it and not the service was asked for. */
  readonly pod: string | undefined;
  /** False: by a wildcard, whose records carry the name that was asked for. */
  readonly exact: boolean;
  readonly strippedTo: number | undefined;
}

function find(labels: readonly string[], client: Workload, context: DnsContext): Found | undefined {
  const { clusterDomain, searchDomains } = context.rules;
  const search = searchDomains ?? kubernetesSearchDomains(client.namespace, clusterDomain);
  const { namespace } = client;
  for (const candidate of candidatesOf(labels, { clusterDomain, namespace, searchDomains: search })) {
    const { name, strippedTo } = candidate;
    const service = byHostname(name, client, context);
    if (service !== undefined) return { service, pod: undefined, exact: true, strippedTo };
    const wildcard = byWildcard(name, client, context);
    if (wildcard !== undefined) return { service: wildcard, pod: undefined, exact: false, strippedTo };
    const pod = candidate.pod ? byPod(name, client, context) : undefined;
    if (pod !== undefined) return { ...pod, exact: true, strippedTo };
  }
  return undefined;
}

function byHostname(hostname: string, client: Workload, context: DnsContext): Service | undefined {
  let best: Service | undefined;
  let bestRank = -1;
  for (const service of context.mesh.servicesByHostname(hostname)) {
    if (!isEligible(service, client, context.rules)) continue;
    const rank = rankOf(service, client, context.rules);
    if (rank <= bestRank) continue;
    best = service;
    bestRank = rank;
  }
  return best;
}

/** Most specific first. */
function byWildcard(name: string, client: Workload, context: DnsContext): Service | undefined {
  let left = name.split('.').length;
  for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1), left--) {
    if (!context.mesh.hasWildcardHostname(left)) continue;
    const service = byHostname(`*${name.slice(dot)}`, client, context);
    if (service !== undefined) return service;
  }
  return undefined;
}

/** `pod.service.namespace.svc.domain`: a pod of a headless service, as StatefulSets name theirs. */
function byPod(name: string, client: Workload, context: DnsContext) {
  const dot = name.indexOf('.');
  const service = byHostname(name.slice(dot + 1), client, context);
  if (service === undefined || !isHeadless(service)) return undefined;
  const pod = name.slice(0, dot);
  const addresses = context.headless.podAddresses(service, client.network, pod);
  return addresses === undefined ? undefined : { service, pod };
}

function isEligible(service: Service, client: Workload, { clusterDomain }: DnsRules): boolean {
  if (service.visibility === 'namespace' && service.namespace !== client.namespace) return false;
  if (service.addresses.length > 0) return true;
  // Without an address of its own only Kubernetes' headless services have records; the rest of the world is forwarded.
  return service.hostname.toLowerCase().endsWith(`.svc.${clusterDomain}`);
}

/** Own namespace, then canonical, then the preferred namespace, then the first. */
function rankOf(service: Service, client: Workload, { preferredNamespace }: DnsRules): number {
  if (service.namespace === client.namespace) return 3;
  if (service.canonical) return 2;
  return service.namespace === preferredNamespace ? 1 : 0;
}

function isHeadless(service: Service): boolean {
  return service.addresses.length === 0;
}

function addressesOf(
  service: Service,
  pod: string | undefined,
  family: 4 | 6,
  client: Workload,
  { headless, rules }: DnsContext,
): readonly string[] {
  const { ipFamilies } = service;
  if (family === 6 && (!rules.ipv6 || ipFamilies === 'ipv4')) return [];
  if (family === 4 && ipFamilies === 'ipv6') return [];
  const { network } = client;
  if (pod !== undefined) {
    return (headless.podAddresses(service, network, pod) ?? []).filter((ip) => ipFamily(ip) === family);
  }
  if (isHeadless(service)) return headless.addresses(service, network, family);
  const own = service.addresses.filter((address) => address.network === network && ipFamily(address.ip) === family);
  return own.map((address) => address.ip);
}
