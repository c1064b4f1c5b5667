/**
 * Drops metrics of workloads that have left: sets in which nothing has moved for a while and one of whose workloads the
 * mesh no longer has, or some of whose labels came from traffic. Counters of a workload that comes back begin at 0, as Prometheus expects.
 *
 * I1: a set in which a connection lives, or whose workloads are all there, is kept for ever, unless traffic chose labels of it.
 * I2: the mesh is looked through only when a set is idle, and in slices.
 */
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { MetricsRegistry } from '../base/metrics.ts';
import { inSlices } from '../base/slices.ts';
import type { Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import type { Series, SeriesHolder } from '../telemetry/series-table.ts';
import type { WorkloadLabels } from '../telemetry/traffic-labels.ts';

export interface SeriesExpiryOptions {
  readonly holders: readonly SeriesHolder[];
  readonly mesh: MeshView;
  readonly metrics: MetricsRegistry;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long nothing must have moved; 0: nothing is ever dropped. */
  readonly afterMs: number;
}

const periodMs = 60_000;

/** Looks every minute, until it is stopped. */
export function startSeriesExpiry(options: SeriesExpiryOptions): { stop(): void } {
  const { clock, holders, metrics, logger, afterMs } = options;
  const kept = metrics.gauge('ambit_metrics_label_sets', 'Label sets of traffic metrics that are kept.');
  const dropped = metrics.counter('ambit_metrics_expired_total', 'Label sets dropped since their workloads have left.');
  let stopped = afterMs === 0;
  const look = async () => {
    for (const holder of holders) {
      const idle = holder.idle(clock.nowMs(), afterMs);
      if (idle.length > 0) dropped.value += holder.drop(await withoutWorkload(idle, options));
    }
    kept.value = holders.reduce((sum, { size }) => sum + size, 0);
  };
  const again = () => {
    if (stopped) return;
    clock.after(periodMs, () => {
      look()
        .catch((error: unknown) => logger.error('dropping old metrics failed', { error: errorText(error) }))
        .finally(again);
    });
  };
  again();
  return {
    stop() {
      stopped = true;
    },
  };
}

/** Those of which at least one known workload is no longer in the mesh, or of which none was ever known. */
async function withoutWorkload(idle: readonly Series[], { mesh, clock }: SeriesExpiryOptions): Promise<Series[]> {
  const wanted = new Set<string>();
  for (const { labels } of idle) {
    for (const side of [labels.source, labels.destination]) if (isKnown(side)) wanted.add(keyOf(side));
  }
  const found = new Set<string>();
  function* lookThrough() {
    for (const workload of mesh.workloads()) {
      const key = keyOf(labelsOf(workload));
      if (wanted.has(key)) found.add(key);
      yield;
    }
  }
  if (wanted.size > 0) await inSlices(lookThrough(), { clock });
  return idle.filter(({ labels }) => {
    if (labels.shape?.fromTraffic === true) return true;
    const known = [labels.source, labels.destination].filter(isKnown);
    return !(known.length > 0 && known.every((side) => found.has(keyOf(side))));
  });
}

type Side = Pick<WorkloadLabels, 'namespace' | 'workload' | 'app' | 'version' | 'cluster'>;

function isKnown({ workload, cluster }: Side): boolean {
  return workload !== 'unknown' || cluster !== 'unknown';
}

function keyOf({ namespace, workload, app, version, cluster }: Side): string {
  return `${namespace}\n${workload}\n${app}\n${version}\n${cluster}`;
}

function labelsOf(workload: Workload): Side {
  return {
    namespace: workload.namespace,
    workload: workload.workloadName || 'unknown',
    app: workload.canonicalName || 'unknown',
    version: workload.canonicalRevision || 'unknown',
    cluster: workload.clusterId || 'unknown',
  };
}
