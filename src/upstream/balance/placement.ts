/**
 * Which endpoints come first, by where they are: levels (the next one is used when the first cannot take all) and, with
 * `distribute`, groups with fixed shares. Pure. istiod's rules: a DestinationRule's setting, else the Service's traffic
 * distribution, else failover by locality for whoever asked for outlier detection (the mesh's default).
 */
import type { EndpointQuery } from '../../mesh/endpoint-query.ts';
import { localityRank } from '../../mesh/locality.ts';
import type { Locality, Workload } from '../../mesh/model.ts';
import { workloadLabel } from '../../mesh/workload-labels.ts';
import type { LocalityBalancing, LocalityPattern } from '../../route/destination.ts';

export interface Group {
  /** Stays the same while the group means the same. */
  readonly key: string;
  readonly weight: number;
  readonly members: readonly Workload[];
}

export interface Level {
  readonly groups: readonly Group[];
}

export interface PlacementQuery {
  /** `source`: the waypoint's own workload, which says where it is. */
  readonly query: EndpointQuery;
  /** Those that can be reached. */
  readonly workloads: readonly Workload[];
  readonly setting: LocalityBalancing | undefined;
  /** Without it nobody is ever found unhealthy, and failover settings have no effect. */
  readonly detection: boolean;
}

/** Levels in their order, none of them empty. */
export function placeEndpoints(placement: PlacementQuery): readonly Level[] {
  const { query, workloads, setting, detection } = placement;
  const { source, service } = query;
  if (setting !== undefined) {
    if (!setting.enabled) return together(workloads);
    if (setting.distribute.length > 0) return distributed(workloads, source?.locality, setting.distribute);
    return detection && source !== undefined
      ? byPriority(workloads, (workload) => settingPriority(workload, source, setting))
      : together(workloads);
  }
  const { mode } = service.loadBalancing;
  if (mode === 'failover' || mode === 'strict') {
    return byPriority(workloads, (workload) => {
      const rank = localityRank(workload, query);
      return rank === undefined ? undefined : -rank;
    });
  }
  return detection && source?.locality !== undefined
    ? byPriority(workloads, (workload) => nearness(workload.locality, source.locality))
    : together(workloads);
}

function together(workloads: readonly Workload[]): readonly Level[] {
  return workloads.length === 0 ? [] : [level('', workloads)];
}

function level(key: string, members: readonly Workload[]): Level {
  return { groups: [{ key, weight: 1, members }] };
}

/** Undefined: not to be used. The lowest number first. */
function byPriority(
  workloads: readonly Workload[],
  priorityOf: (workload: Workload) => number | undefined,
): readonly Level[] {
  const levels = new Map<number, Workload[]>();
  for (const workload of workloads) {
    const priority = priorityOf(workload);
    if (priority === undefined) continue;
    const members = levels.get(priority);
    if (members === undefined) levels.set(priority, [workload]);
    else members.push(workload);
  }
  return [...levels].sort(([a], [b]) => a - b).map(([priority, members]) => level(String(priority), members));
}

/** `failoverPriority` first, `failover` within it; without either the plain order of localities. */
function settingPriority(workload: Workload, source: Workload, setting: LocalityBalancing): number {
  const { failover, failoverPriority } = setting;
  const byLabels = failoverPriority.length === 0 ? 0 : labelPriority(workload, source, failoverPriority);
  if (failoverPriority.length > 0 && failover.length === 0) return byLabels;
  const near = nearness(workload.locality, source.locality);
  const region = source.locality?.region ?? '';
  const to = near === 3 ? failover.find(({ from }) => from === region)?.to : undefined;
  // A region that traffic may not fail over to comes last.
  return byLabels * 5 + (to !== undefined && workload.locality?.region !== to ? 4 : near);
}

/** The fewer labels agree, from the first on, the later. */
function labelPriority(workload: Workload, source: Workload, labels: LocalityBalancing['failoverPriority']): number {
  const miss = labels.findIndex(
    ({ label, value }) => (value ?? workloadLabel(source, label) ?? '') !== (workloadLabel(workload, label) ?? ''),
  );
  return miss < 0 ? 0 : labels.length - miss;
}

function nearness(a: Locality | undefined, b: Locality | undefined): number {
  if ((a?.region ?? '') !== (b?.region ?? '')) return 3;
  if ((a?.zone ?? '') !== (b?.zone ?? '')) return 2;
  return (a?.subzone ?? '') === (b?.subzone ?? '') ? 0 : 1;
}

/** By the first entry that is about us; an endpoint belongs to the most exact pattern, one that has none gets nothing. */
function distributed(
  workloads: readonly Workload[],
  own: Locality | undefined,
  distribute: LocalityBalancing['distribute'],
): readonly Level[] {
  const entry = distribute.find(({ from }) => matches(from, own));
  if (entry === undefined) return together(workloads);
  const shares = entry.to
    .map(({ to, weight }) => ({ to, weight, members: [] as Workload[] }))
    .sort((a, b) => exactness(b.to) - exactness(a.to));
  for (const workload of workloads) shares.find(({ to }) => matches(to, workload.locality))?.members.push(workload);
  const groups = shares
    .filter(({ members }) => members.length > 0)
    .map(({ to, weight, members }) => ({ key: patternText(to), weight, members }));
  return groups.length === 0 ? [] : [{ groups }];
}

function matches({ region, zone, subzone }: LocalityPattern, locality: Locality | undefined): boolean {
  if (region === undefined) return true;
  if (locality?.region !== region) return false;
  if (zone === undefined) return true;
  return locality.zone === zone && (subzone === undefined || locality.subzone === subzone);
}

function exactness({ region, zone, subzone }: LocalityPattern): number {
  return [region, zone, subzone].filter((part) => part !== undefined).length;
}

function patternText({ region, zone, subzone }: LocalityPattern): string {
  return [region ?? '*', zone ?? '*', subzone ?? '*'].join('/');
}
