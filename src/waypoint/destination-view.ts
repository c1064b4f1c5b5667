/**
 * What a waypoint knows of the endpoints it balances over: which rules decide, which endpoints are used in which order, what is
 * under way to them, and which are kept away, since when and why. Made per request of an operator and bounded.
 */
import type { HashKey, LoadBalancerPolicy } from '../route/destination.ts';
import type { NamedCluster } from '../upstream/balance/clusters.ts';
import type { Host } from '../upstream/balance/host.ts';
import type { WaypointServices } from './context.ts';

export interface HostView {
  readonly address: string;
  readonly workload: string;
  readonly weight: number;
  readonly active: number;
  /** `failing`: active health checks. */
  readonly health: 'well' | 'ejected' | 'failing';
  readonly ejected?: {
    readonly reason: string;
    readonly forSeconds: number;
    /** Until then; it is looked at once in an interval. */
    readonly secondsLeft: number;
  };
  /** In all, if there were any. */
  readonly ejections?: number;
}

export interface DestinationView {
  readonly service: string;
  readonly port: number;
  readonly subset?: string;
  /** `namespace/name` of DestinationRules, in order of precedence. */
  readonly rules: readonly string[];
  readonly balancer: string;
  readonly outlierDetection: boolean;
  readonly ejected: number;
  readonly levels: readonly {
    /** Percent of the requests. */
    readonly load: number;
    /** Too few are well: health is not looked at. */
    readonly panic: boolean;
    readonly groups: readonly {
      /** Of `distribute`. */
      readonly locality?: string;
      readonly weight: number;
      readonly hashTableBytes?: number;
      readonly endpoints: readonly HostView[];
    }[];
  }[];
}

/** Clusters that were asked for, in the order of their names; `limit`: endpoints at most, of all together. */
export function destinationViews({ clusters, clock }: WaypointServices, limit: number): readonly DestinationView[] {
  const nowMs = clock.nowMs();
  let left = limit;
  return [...clusters.all()].sort(byName).map((named) => {
    const { service, port, subset, cluster, sources } = named;
    const { loadBalancer, outlierDetection } = cluster.inputs ?? {};
    return {
      service,
      port,
      ...(subset === undefined ? {} : { subset }),
      rules: sources.map(({ namespace, name }) => `${namespace}/${name}`),
      balancer: balancerText(loadBalancer),
      outlierDetection: outlierDetection !== undefined,
      ejected: cluster.detector.ejected,
      levels: cluster.levels().map(({ load, panic, groups }) => ({
        load,
        panic,
        groups: groups.map(({ key, weight, hosts, hash }) => {
          const shown = hosts.slice(0, Math.max(0, left));
          left -= shown.length;
          return {
            ...(key.includes('/') ? { locality: key } : {}),
            weight,
            ...(hash.tableBytes === 0 ? {} : { hashTableBytes: hash.tableBytes }),
            endpoints: shown.map((host) => hostView(host, nowMs)),
          };
        }),
      })),
    };
  });
}

export function destinationLines(views: readonly DestinationView[]): readonly string[] {
  return views.flatMap(({ service, port, subset, rules, balancer, levels }) => {
    const part = subset === undefined ? '' : ` subset ${subset}`;
    const by = rules.length === 0 ? 'no rule' : rules.join(', ');
    return [
      `destination ${service} port ${port}${part}: ${balancer}, by ${by}`,
      ...levels.flatMap(({ load, panic, groups }, i) => [
        `  level ${i} load ${load}%${panic ? ' panic' : ''}`,
        ...groups.flatMap(({ locality, weight, endpoints }) => [
          ...(locality === undefined ? [] : [`    locality ${locality} weight ${weight}`]),
          ...endpoints.map(hostLine),
        ]),
      ]),
    ];
  });
}

function hostLine({ address, workload, active, health, ejected }: HostView): string {
  const why =
    ejected === undefined ? '' : ` (${ejected.reason}, ${ejected.secondsLeft}s left of ${ejected.forSeconds}s)`;
  return `    ${address} ${workload} ${health}${why} active ${active}`;
}

function hostView(host: Host, nowMs: number): HostView {
  const { key, workload, weight, active, ejected, failing } = host;
  return {
    address: key,
    workload: `${workload.namespace}/${workload.name}`,
    weight,
    active,
    health: ejected !== undefined ? 'ejected' : failing ? 'failing' : 'well',
    ...(ejected === undefined
      ? {}
      : {
          ejected: {
            reason: ejected.reason,
            forSeconds: seconds(ejected.untilMs - ejected.atMs),
            secondsLeft: Math.max(0, seconds(ejected.untilMs - nowMs)),
          },
        }),
    ...(host.watched && host.outlier.ejections > 0 ? { ejections: host.outlier.ejections } : {}),
  };
}

function balancerText(policy: LoadBalancerPolicy | undefined): string {
  const { choice } = policy ?? {};
  if (choice === undefined) return 'least-request';
  if (choice.kind === 'simple') return choice.balancer;
  const { table } = choice;
  return `${table.kind} hash of ${keyText(choice.key)}`;
}

function keyText(key: HashKey): string {
  return key.kind === 'source-ip' ? 'the source address' : `${key.kind} ${key.name}`;
}

function byName(a: NamedCluster, b: NamedCluster): number {
  const [x, y] = [a, b].map(({ service, port, subset }) => `${service} ${String(port).padStart(5)} ${subset ?? ''}`);
  return (x as string) < (y as string) ? -1 : 1;
}

function seconds(ms: number): number {
  return Math.round(ms / 1000);
}
