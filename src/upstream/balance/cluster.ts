/**
 * The endpoints of one port of a service, or of one of its subsets, and the choice among them: levels by nearness, groups by
 * shares, then the balancer. What is found out about a change is found out once; a choice costs the logarithm of the
 * number of endpoints at most.
 *
 * I1: hosts are kept by uid: requests under way, ejections and hash tables survive changes that are not about them.
 * I2: a host that has left is never chosen again, whatever was kept about it.
 */

import type { Clock } from '../../base/clock.ts';
import { pickWeighted, type Random } from '../../base/random.ts';
import type { EndpointQuery, NoEndpointReason } from '../../mesh/endpoint-query.ts';
import { recordsEqual } from '../../mesh/equal.ts';
import type { Service, Workload } from '../../mesh/model.ts';
import { networkOf, obstacle, reach } from '../../mesh/usable-endpoint.ts';
import { hasLabels } from '../../mesh/workload-labels.ts';
import type { HealthCheckPolicy, LoadBalancerPolicy, OutlierPolicy, Subset } from '../../route/destination.ts';
import { drawHost, drawLessBusy, makeUrn, type Urn } from './draw.ts';
import { HashChoice } from './hash-choice.ts';
import { Host } from './host.ts';
import { levelLoads, overprovisioningPercent } from './levels.ts';
import { OutlierDetector, type OutlierListener } from './outlier-detector.ts';
import { type Group, placeEndpoints } from './placement.ts';
import { RoundRobin } from './round-robin.ts';
import { warmupFactor } from './warmup.ts';

/** What a cluster is made from; when any of it is another, `follow` looks again. */
export interface ClusterInputs {
  /** `source`: the waypoint's own workload. Nothing is excluded. */
  readonly query: Omit<EndpointQuery, 'exclude' | 'preferFamily'>;
  readonly subset: Subset | undefined;
  readonly loadBalancer: LoadBalancerPolicy | undefined;
  readonly outlierDetection: OutlierPolicy | undefined;
  readonly healthCheck?: HealthCheckPolicy | undefined;
}

export interface HostRequest {
  /** Of the request, where the policy hashes something and the request has it. */
  readonly hash: number | undefined;
  /** Uids of those that failed for this request: taken again only when there is nobody else. */
  readonly tried: ReadonlySet<string>;
  /** Of a session: taken as long as it is well and was not tried. */
  readonly pinnedUid?: string | undefined;
  /** Where the client was going: for PASSTHROUGH. */
  readonly destinationIp: string;
}

export type HostChoice =
  | { readonly kind: 'host'; readonly host: Host; readonly panic: boolean }
  | { readonly kind: 'none'; readonly reason: NoHostReason };

export type NoHostReason = NoEndpointReason | 'empty-subset' | 'all-ejected' | 'not-an-endpoint' | 'unsupported-remote';

export interface ClusterDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly outliers: OutlierListener;
  /** Work in slices, one after the other with that of other clusters. What it throws is a broken invariant. */
  readonly background: (work: () => Promise<void>) => void;
}

interface RunningGroup {
  readonly key: string;
  readonly weight: number;
  readonly hosts: readonly Host[];
  readonly hash: HashChoice;
  healthy: readonly Host[];
  /** Made when first drawn from. */
  urn: { readonly all: boolean; readonly urn: Urn } | undefined;
  turns: { readonly all: boolean; readonly turns: RoundRobin } | undefined;
}

interface RunningLevel {
  readonly groups: readonly RunningGroup[];
}

/** As many tries as Envoy makes to find a host that was not tried. */
const blindPicks = 5;

export class Cluster {
  readonly #deps: ClusterDependencies;
  readonly #detector: OutlierDetector;
  #seen: ClusterInputs | undefined;
  #inputs: ClusterInputs | undefined;
  #hosts: readonly Host[] = [];
  readonly #byUid = new Map<string, Host>();
  #look = 0;
  #asked:
    | { readonly service: Service; readonly network: string | undefined; readonly subset: Subset | undefined }
    | undefined;
  readonly #reweighed = new Set<Host>();
  #byAddress: Map<string, Host> | undefined;
  #levels: readonly RunningLevel[] = [];
  #loads: readonly number[] = [];
  #panic: readonly boolean[] = [];
  #unhealthy = 0;
  #stale = true;
  #reason: NoHostReason = 'no-endpoints';

  constructor(deps: ClusterDependencies) {
    this.#deps = deps;
    const changed = (tell: () => void) => {
      this.#stale = true;
      tell();
    };
    this.#detector = new OutlierDetector(deps.clock, () => this.#hosts, {
      ejected: (host, reason) => changed(() => deps.outliers.ejected(host, reason)),
      spared: (host, reason, why) => deps.outliers.spared(host, reason, why),
      returned: (host) => changed(() => deps.outliers.returned(host)),
    });
  }

  get hosts(): readonly Host[] {
    return this.#hosts;
  }

  get inputs(): ClusterInputs | undefined {
    return this.#inputs;
  }

  get detector(): OutlierDetector {
    return this.#detector;
  }

  /** For the view: levels with their share of the requests. */
  levels(): readonly { readonly load: number; readonly panic: boolean; readonly groups: readonly RunningGroup[] }[] {
    this.#refresh();
    return this.#levels.map(({ groups }, i) => ({
      load: this.#loads[i] ?? 0,
      panic: this.#panic[i] === true,
      groups,
    }));
  }

  /** To be called before a choice: takes over what has changed, and costs nothing when nothing has. */
  follow(given: ClusterInputs): void {
    const seen = this.#seen;
    if (seen !== undefined && sameObjects(seen, given)) return;
    this.#seen = given;
    const known = this.#inputs;
    // What says the same stays the same object: nothing that hangs on it is lost.
    const inputs: ClusterInputs = {
      query: given.query,
      subset: kept(known?.subset, given.subset),
      loadBalancer: kept(known?.loadBalancer, given.loadBalancer),
      outlierDetection: kept(known?.outlierDetection, given.outlierDetection),
      healthCheck: kept(known?.healthCheck, given.healthCheck),
    };
    this.#inputs = inputs;
    this.#detector.follow(inputs.outlierDetection);
    if (known === undefined || !sameObjects(known, inputs)) this.#place(inputs, known === undefined);
  }

  choose(request: HostRequest): HostChoice {
    this.#refresh();
    const inputs = this.#inputs;
    if (inputs === undefined || this.#levels.length === 0) return none(this.#reason);
    const pinned = request.pinnedUid === undefined ? undefined : this.#byUid.get(request.pinnedUid);
    if (pinned?.healthy === true && pinned.present && !request.tried.has(pinned.uid)) {
      return { kind: 'host', host: pinned, panic: false };
    }
    const choice = inputs.loadBalancer?.choice;
    if (choice?.kind === 'simple' && choice.balancer === 'passthrough') return this.#passthrough(request.destinationIp);
    const { tried } = request;
    const by = choice?.kind === 'hash' ? request.hash : undefined;
    if (tried.size === 0) return this.#pick(inputs, by, undefined);
    // With a hash, whoever comes next in its table: the same for every request of that hash.
    if (by !== undefined) {
      const next = this.#pick(inputs, by, tried);
      if (next.kind === 'host') return next;
    } else {
      for (let i = 0; i < blindPicks; i++) {
        const picked = this.#pick(inputs, undefined, undefined);
        if (picked.kind === 'none' || !tried.has(picked.host.uid)) return picked;
      }
    }
    return this.#anybodyElse(tried) ?? this.#pick(inputs, by, undefined);
  }

  /** An active health check has found out about a host. */
  setFailing(host: Host, failing: boolean): void {
    if (host.failing === failing) return;
    host.failing = failing;
    this.#stale = true;
  }

  /** Makes what the first request would have to wait for. */
  prepare(): void {
    const choice = this.#inputs?.loadBalancer?.choice;
    if (choice?.kind !== 'hash') return;
    for (const { groups } of this.#levels) for (const group of groups) group.hash.follow(group.hosts, choice.table);
  }

  close(): void {
    this.#detector.close();
  }

  /** Takes time in proportion to the endpoints; little for those whose record is the same as before. */
  #place(inputs: ClusterInputs, first: boolean): void {
    const { loadBalancer, outlierDetection, healthCheck } = inputs;
    const query = asQuery(inputs.query);
    this.#look++;
    const workloads = this.#findUsable(inputs, query, first);
    const levels = placeEndpoints({
      query,
      workloads,
      setting: loadBalancer?.locality,
      detection: outlierDetection !== undefined || healthCheck !== undefined,
    });
    if (levels.length === 0 && workloads.length > 0) this.#reason = 'no-endpoint-in-locality';
    const old = new Map(this.#levels.flatMap(({ groups }) => groups.map((group) => [group.key, group])));
    const hosts: Host[] = [];
    const running = levels.map(
      ({ groups }): RunningLevel => ({
        groups: groups.map((group) => {
          const made = this.#group(group, old.get(group.key));
          for (const host of made.hosts) hosts.push(host);
          return made;
        }),
      }),
    );
    // Those that nothing leads to are no endpoints of this cluster, as those that have left.
    for (const host of hosts) host.look = -this.#look;
    for (const [uid, host] of this.#byUid) {
      if (host.look === -this.#look) host.look = this.#look;
      else {
        this.#byUid.delete(uid);
        this.#leave(host);
      }
    }
    this.#hosts = hosts;
    this.#byAddress = undefined;
    this.#levels = running;
    this.#reweighed.clear();
    this.#stale = true;
  }

  /** Usable endpoints, each with a host of its uid. */
  #findUsable({ subset }: ClusterInputs, query: EndpointQuery, first: boolean): readonly Workload[] {
    // Who was there from the start is warm.
    const sinceMs = first ? Number.NEGATIVE_INFINITY : this.#deps.clock.nowMs();
    const sameQuestion =
      this.#asked?.service === query.service && this.#asked.network === query.network && this.#asked.subset === subset;
    this.#asked = { service: query.service, network: query.network, subset };
    let reason: NoHostReason = 'no-endpoints';
    const usable: Workload[] = [];
    for (const workload of query.endpoints) {
      const known = this.#byUid.get(workload.uid);
      if (known !== undefined && known.workload === workload && sameQuestion) {
        usable.push(workload);
        continue;
      }
      if (subset !== undefined && !hasLabels(workload, subset.labels)) {
        if (reason === 'no-endpoints') reason = 'empty-subset';
        continue;
      }
      const problem = obstacle(workload, query) ?? ownObstacle(workload, query);
      if (problem !== undefined) {
        reason = problem;
        continue;
      }
      usable.push(workload);
      this.#adopt(workload, reach(workload, query)?.port ?? 0, known, sinceMs);
    }
    this.#reason = reason;
    return usable;
  }

  /** The host of the workload: the one there was, if it still is at that address. */
  #adopt(workload: Workload, port: number, known: Host | undefined, sinceMs: number): void {
    if (known === undefined || known.port !== port || known.workload.addresses[0] !== workload.addresses[0]) {
      if (known !== undefined) this.#leave(known);
      this.#byUid.set(workload.uid, new Host(workload, port, sinceMs));
      return;
    }
    known.workload = workload;
    if (known.weight === workload.capacity) return;
    known.weight = workload.capacity;
    this.#reweighed.add(known);
  }

  #leave(host: Host): void {
    host.present = false;
    this.#detector.left(host);
  }

  #group({ key, weight, members }: Group, old: RunningGroup | undefined): RunningGroup {
    const hosts = members.map(({ uid }) => this.#byUid.get(uid) as Host);
    const same = old !== undefined && sameHosts(old.hosts, hosts) && !hosts.some((host) => this.#reweighed.has(host));
    return {
      key,
      weight,
      // The same list while its hosts are the same: what is made from it is kept.
      hosts: same ? old.hosts : hosts,
      hash: old?.hash ?? new HashChoice(this.#deps),
      healthy: same ? old.healthy : hosts,
      urn: same ? old.urn : undefined,
      turns: same ? old.turns : undefined,
    };
  }

  /** Who is well, and what that means for levels. */
  #refresh(): void {
    if (!this.#stale) return;
    this.#stale = false;
    this.#unhealthy = 0;
    for (const host of this.#hosts) if (!host.healthy) this.#unhealthy++;
    for (const { groups } of this.#levels) {
      for (const group of groups) {
        const healthy = this.#unhealthy === 0 ? group.hosts : group.hosts.filter((host) => host.healthy);
        if (healthy.length === group.healthy.length && healthy.every((host, i) => host === group.healthy[i])) continue;
        group.healthy = healthy;
        group.urn = undefined;
        group.turns = undefined;
      }
    }
    const counts = this.#levels.map(({ groups }) => ({
      healthy: groups.reduce((sum, { healthy }) => sum + healthy.length, 0),
      total: groups.reduce((sum, { hosts }) => sum + hosts.length, 0),
    }));
    const { loads, panic } = levelLoads(counts, this.#inputs?.outlierDetection?.minHealthPercent ?? 0);
    this.#loads = loads;
    this.#panic = panic;
  }

  #pick(inputs: ClusterInputs, hash: number | undefined, avoided: ReadonlySet<string> | undefined): HostChoice {
    const { random } = this.#deps;
    const at = this.#levels.length === 1 ? 0 : this.#pickLevel(hash === undefined ? random.next() * 100 : hash % 100);
    const level = this.#levels[at];
    const panic = this.#panic[at] === true;
    const group = level === undefined ? undefined : pickGroup(level, panic, random);
    if (group === undefined) return none('all-ejected');
    const host = this.#pickHost(inputs, group, panic, hash, avoided);
    return host === undefined ? none('all-ejected') : { kind: 'host', host, panic };
  }

  #pickLevel(percent: number): number {
    let sum = 0;
    for (let i = 0; i < this.#loads.length; i++) {
      sum += this.#loads[i] as number;
      if (percent < sum) return i;
    }
    return this.#loads.length - 1;
  }

  #pickHost(
    inputs: ClusterInputs,
    group: RunningGroup,
    panic: boolean,
    hash: number | undefined,
    avoided: ReadonlySet<string> | undefined,
  ): Host | undefined {
    const { clock, random } = this.#deps;
    const { loadBalancer } = inputs;
    const choice = loadBalancer?.choice;
    if (hash !== undefined && choice?.kind === 'hash') {
      group.hash.follow(group.hosts, choice.table);
      return group.hash.find(hash, (host) => (panic || host.healthy) && avoided?.has(host.uid) !== true);
    }
    const hosts = panic ? group.hosts : group.healthy;
    if (hosts.length <= 1) return hosts[0];
    const warmup = loadBalancer?.warmup;
    const nowMs = warmup === undefined ? 0 : clock.nowMs();
    if (choice?.kind === 'simple' && choice.balancer === 'round-robin') {
      return hosts[this.#turns(group, hosts, panic, warmup).next()];
    }
    if (group.urn?.all !== panic) group.urn = { all: panic, urn: makeUrn(hosts) };
    const { urn } = group.urn;
    const draw = choice === undefined || (choice.kind === 'simple' && choice.balancer === 'least-request');
    // Envoy's slow start is for round robin and least request alone.
    return draw ? drawLessBusy(urn, random, warmup, nowMs) : drawHost(urn, random, undefined, nowMs);
  }

  #turns(
    group: RunningGroup,
    hosts: readonly Host[],
    panic: boolean,
    warmup: LoadBalancerPolicy['warmup'],
  ): RoundRobin {
    if (group.turns?.all === panic) return group.turns.turns;
    const { clock, random } = this.#deps;
    const weightOf = (index: number) => {
      const { weight, sinceMs } = hosts[index] as Host;
      return warmup === undefined ? weight : weight * warmupFactor(warmup, clock.nowMs() - sinceMs);
    };
    const turns = new RoundRobin(hosts.length, weightOf, random.next());
    group.turns = { all: panic, turns };
    return turns;
  }

  /** One that was not tried, wherever it is; a look at everybody, which only retries need. */
  #anybodyElse(tried: ReadonlySet<string>): HostChoice | undefined {
    for (const [at, { groups }] of this.#levels.entries()) {
      const panic = this.#panic[at] === true;
      const left = groups.flatMap(({ hosts, healthy }) =>
        (panic ? hosts : healthy).filter(({ uid }) => !tried.has(uid)),
      );
      const host = left[Math.floor(this.#deps.random.next() * left.length)];
      if (host !== undefined) return { kind: 'host', host, panic };
    }
    return undefined;
  }

  /** Straight to where the client was going, if that is one of us: never to just anywhere. */
  #passthrough(ip: string): HostChoice {
    this.#byAddress ??= new Map(this.#hosts.flatMap((host) => host.workload.addresses.map((each) => [each, host])));
    const host = this.#byAddress.get(ip);
    return host === undefined ? none('not-an-endpoint') : { kind: 'host', host, panic: false };
  }
}

/** What a waypoint cannot use although ztunnels can: with others left, requests must not fail on it. */
function ownObstacle(workload: Workload, query: EndpointQuery): NoHostReason | undefined {
  if (!(workload.capacity > 0)) return 'no-capacity';
  return workload.network === networkOf(query) ? undefined : 'unsupported-remote';
}

function none(reason: NoHostReason): HostChoice {
  return { kind: 'none', reason };
}

function asQuery(query: ClusterInputs['query']): EndpointQuery {
  return { ...query, preferFamily: undefined };
}

function sameObjects(a: ClusterInputs, b: ClusterInputs): boolean {
  return (
    a.query.endpoints === b.query.endpoints &&
    a.query.service === b.query.service &&
    a.query.source === b.query.source &&
    a.query.network === b.query.network &&
    a.subset === b.subset &&
    a.outlierDetection === b.outlierDetection &&
    a.healthCheck === b.healthCheck &&
    a.loadBalancer === b.loadBalancer
  );
}

function kept<T>(known: T | undefined, given: T | undefined): T | undefined {
  return known !== undefined && recordsEqual(known, given) ? known : given;
}

function sameHosts(a: readonly Host[], b: readonly Host[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** By shares, less for a group that is partly unwell (Envoy's locality weights). */
function pickGroup({ groups }: RunningLevel, panic: boolean, random: Random): RunningGroup | undefined {
  const [only] = groups;
  if (groups.length === 1) return only;
  const weights = groups.map(({ weight, hosts, healthy }) =>
    panic ? weight : weight * Math.min(1, ((overprovisioningPercent / 100) * healthy.length) / hosts.length),
  );
  return groups[pickWeighted(weights, random)];
}
