/**
 * Which DestinationRules hold for a service, merged into one record, as istiod does it: rules of the client's namespace, else
 * of the service's, else of the root namespace; within one of them an exact host, else the longest wildcard; rules of one
 * host and namespace together, the oldest first. At a waypoint the client is the waypoint.
 */
import type { Diagnostic } from '../base/diagnostics.ts';
import type { ServiceKey } from '../mesh/model.ts';
import {
  type Destination,
  type DestinationPolicy,
  type Destinations,
  type DestinationViews,
  destinationOf,
  emptyDestinationPolicy,
  type PortPolicies,
  type Subset,
} from '../route/destination.ts';
import type { DestinationRuleSpec, TrafficPolicySpec } from './destination-rule.ts';
import { diagnose } from './object.ts';
import type { CompileOptions } from './options.ts';

/** A service that rules may be for. */
export interface DestinationHost {
  readonly key: ServiceKey;
  readonly namespace: string;
  readonly hostname: string;
  /** Of the waypoint that serves it; undefined: none does. */
  readonly waypointNamespace: string | undefined;
}

/** `rules`: the oldest first. */
export function buildDestinations(
  rules: readonly DestinationRuleSpec[],
  hosts: Iterable<DestinationHost>,
  options: CompileOptions,
  diagnostics: Diagnostic[],
): Destinations {
  const index = new Map<string, HostRules>();
  const everywhere = newHostRules();
  for (const rule of rules) {
    const host = fullHost(rule, options);
    for (const { exact, wildcards } of [everywhere, index.getOrInsertComputed(rule.namespace, newHostRules)]) {
      (host.startsWith('*') ? wildcards : exact).getOrInsertComputed(host, newList).push(rule);
    }
  }
  const merges = new Merges(diagnostics);
  const destinations = new Map<ServiceKey, DestinationViews>();
  const used = new Set<DestinationRuleSpec>();
  if (index.size === 0) return destinations;
  for (const host of hosts) {
    const rulesOfHost = naming(everywhere, host.hostname);
    // Most services have none: they cost a look-up.
    if (rulesOfHost.length === 0) continue;
    const views = viewsOf(host, rulesOfHost, index, options, merges);
    if (views === undefined) continue;
    destinations.set(host.key, views);
    const client = host.waypointNamespace ?? host.namespace;
    for (const rule of merges.rulesOf(destinationOf(destinations, client, host.key))) used.add(rule);
  }
  for (const rule of rules) {
    if (used.has(rule)) continue;
    const code = merges.hasHost(rule) ? 'DESTINATION_UNUSED' : 'DESTINATION_UNKNOWN_HOST';
    const message =
      code === 'DESTINATION_UNUSED'
        ? `no waypoint of a service called ${rule.host} looks at rules of namespace ${rule.namespace}`
        : `no service is called ${rule.host}`;
    diagnostics.push(diagnose(rule.object, code, message, ['spec', 'host']));
  }
  return destinations;
}

/** Rules by host. */
interface HostRules {
  readonly exact: Map<string, DestinationRuleSpec[]>;
  readonly wildcards: Map<string, DestinationRuleSpec[]>;
}

function newHostRules(): HostRules {
  return { exact: new Map(), wildcards: new Map() };
}

function newList(): DestinationRuleSpec[] {
  return [];
}

/** A name without a dot is a Service of the rule's own namespace. */
function fullHost({ host, namespace }: DestinationRuleSpec, options: CompileOptions): string {
  return host.includes('.') || host.includes('*') ? host : `${host}.${namespace}.svc.${options.clusterDomain}`;
}

function viewsOf(
  host: DestinationHost,
  rulesOfHost: readonly DestinationRuleSpec[],
  index: ReadonlyMap<string, HostRules>,
  { rootNamespace }: CompileOptions,
  merges: Merges,
): DestinationViews | undefined {
  const select = (client: string): Destination | undefined => {
    for (const namespace of new Set([client, host.namespace, rootNamespace])) {
      const rules = index.get(namespace);
      const found = rules && mostSpecific(rules, host.hostname, client);
      if (found !== undefined) return merges.merge(found);
    }
    return undefined;
  };
  // Who may see something that others do not: namespaces with rules of their own, and those that a rule names.
  const clients = new Set<string>();
  for (const rule of rulesOfHost) {
    merges.named(rule);
    clients.add(rule.namespace);
    for (const client of rule.exportTo ?? []) clients.add(client);
  }
  const otherwise = select('');
  const ofNamespace = new Map<string, Destination>();
  for (const client of clients) {
    const own = select(client);
    if (own !== undefined && own !== otherwise) ofNamespace.set(client, own);
  }
  return otherwise === undefined && ofNamespace.size === 0 ? undefined : { otherwise, ofNamespace };
}

/** All rules that name the host, in one way or another. */
function naming({ exact, wildcards }: HostRules, hostname: string): readonly DestinationRuleSpec[] {
  const found = [...(exact.get(hostname) ?? [])];
  for (const [wildcard, rules] of wildcards) if (hostname.endsWith(wildcard.slice(1))) found.push(...rules);
  return found;
}

/** The rules of one host that the client may see; undefined: there are none. */
function mostSpecific(
  { exact, wildcards }: HostRules,
  hostname: string,
  client: string,
): readonly DestinationRuleSpec[] | undefined {
  const visible = (rules: readonly DestinationRuleSpec[] | undefined) => {
    const seen = rules?.filter(({ exportTo }) => exportTo === undefined || exportTo.has(client)) ?? [];
    return seen.length === 0 ? undefined : seen;
  };
  const named = visible(exact.get(hostname));
  if (named !== undefined) return named;
  const matching = [...wildcards.keys()]
    .filter((wildcard) => hostname.endsWith(wildcard.slice(1)))
    .sort((a, b) => b.length - a.length || (a < b ? -1 : 1));
  for (const wildcard of matching) {
    const found = visible(wildcards.get(wildcard));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Merged rules, kept so that services under one wildcard share them, and one conflict is told once. */
class Merges {
  readonly #diagnostics: Diagnostic[];
  readonly #kept = new Map<string, Destination>();
  readonly #rules = new Map<Destination, readonly DestinationRuleSpec[]>();
  readonly #told = new Set<unknown>();
  readonly #withHost = new Set<DestinationRuleSpec>();

  constructor(diagnostics: Diagnostic[]) {
    this.#diagnostics = diagnostics;
  }

  merge(rules: readonly DestinationRuleSpec[]): Destination {
    const key = rules.map(({ namespace, name }) => `${namespace}/${name}`).join();
    const known = this.#kept.get(key);
    if (known !== undefined) return known;
    const holder = rules.find(({ policy }) => policy !== undefined);
    const policy = holder?.policy;
    const subsets = new Map<string, Subset>();
    for (const rule of rules) {
      if (rule.policy !== undefined && rule !== holder) {
        this.#conflict(rule, 'trafficPolicy', ['spec', 'trafficPolicy'], holder);
      }
      for (const { name, labels, policy: own, path } of rule.subsets) {
        if (subsets.has(name)) this.#conflict(rule, `subset ${name}`, path, undefined);
        else subsets.set(name, { name, labels, policies: subsetPolicies(policy, own) });
      }
    }
    const merged: Destination = {
      sources: rules.map(({ namespace, name }) => ({ kind: 'DestinationRule', namespace, name })),
      policies: { otherwise: policy?.general ?? emptyDestinationPolicy, ports: policy?.ports ?? new Map() },
      subsets,
      healthCheck: rules.find(({ healthCheck }) => healthCheck !== undefined)?.healthCheck,
    };
    this.#kept.set(key, merged);
    this.#rules.set(merged, rules);
    return merged;
  }

  rulesOf(destination: Destination | undefined): readonly DestinationRuleSpec[] {
    return (destination && this.#rules.get(destination)) ?? [];
  }

  /** Notes that the rule does name a service. */
  named(rule: DestinationRuleSpec): void {
    this.#withHost.add(rule);
  }

  hasHost(rule: DestinationRuleSpec): boolean {
    return this.#withHost.has(rule);
  }

  #conflict(
    rule: DestinationRuleSpec,
    what: string,
    path: readonly (string | number)[],
    older: DestinationRuleSpec | undefined,
  ): void {
    const id = `${rule.namespace}/${rule.name} ${path.join('.')}`;
    if (this.#told.has(id)) return;
    this.#told.add(id);
    const by = older === undefined ? 'another place' : `${older.namespace}/${older.name}`;
    const message = `${by} says ${what} for ${rule.host} already; this one is not used`;
    this.#diagnostics.push(diagnose(rule.object, 'DESTINATION_CONFLICT', message, path));
  }
}

/**
 * istiod's rule (MergeSubsetTrafficPolicy): what the subset says takes the place of what is said for the port, section by
 * section; where the subset says something about the port itself, sections it leaves out get their defaults.
 */
function subsetPolicies(outer: TrafficPolicySpec | undefined, own: TrafficPolicySpec | undefined): PortPolicies {
  const numbers = new Set([...(outer?.ports.keys() ?? []), ...(own?.ports.keys() ?? [])]);
  const at = (port: number | undefined): DestinationPolicy => {
    const base = (port === undefined ? undefined : outer?.ports.get(port)) ?? outer?.general;
    const ofPort = port === undefined ? undefined : own?.ports.get(port);
    const over = ofPort ?? own?.general;
    if (over === undefined) return base ?? emptyDestinationPolicy;
    if (base === undefined) return over;
    return overridden(base, over, ofPort !== undefined);
  };
  return { otherwise: at(undefined), ports: new Map([...numbers].map((port) => [port, at(port)])) };
}

function overridden(base: DestinationPolicy, over: DestinationPolicy, ofPort: boolean): DestinationPolicy {
  const section = <T>(outer: T | undefined, own: T | undefined) => (ofPort ? own : (own ?? outer));
  return {
    loadBalancer: section(base.loadBalancer, over.loadBalancer),
    connectionPool: section(base.connectionPool, over.connectionPool),
    outlierDetection: section(base.outlierDetection, over.outlierDetection),
    tls: section(base.tls, over.tls),
    proxyProtocol: over.proxyProtocol ?? base.proxyProtocol,
    tunnel: over.tunnel ?? base.tunnel,
    retryBudget: over.retryBudget ?? base.retryBudget,
  };
}
