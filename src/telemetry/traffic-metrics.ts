/**
 * `istio_tcp_*`, `istio_requests_total`, the request histograms and the gRPC message counters, with Istio's names, labels, units
 * and semantics: bytes received flow client → server for both reporters. Label sets are bounded, and those that nobody needs
 * can be dropped (`series-table.ts`).
 */
import type { MetricsRegistry } from '../base/metrics.ts';
import { ConnectionSeries } from './connection-series.ts';
import { labelsText } from './exposition.ts';
import { countOverflow } from './family.ts';
import { HeldCells } from './held-cells.ts';
import { tcpLabels } from './label-sets.ts';
import { shapedLabels } from './metric-shape.ts';
import { RequestSeries } from './request-series.ts';
import { type SeriesHolder, SeriesTable } from './series-table.ts';
import type { TrafficMetrics } from './traffic.ts';
import type { TrafficLabels } from './traffic-labels.ts';

/** Label sets of connections, and as many of requests. */
const defaultMaxLabelSets = 10_000;

export interface DroppableTraffic extends TrafficMetrics {
  readonly holders: readonly SeriesHolder[];
}

export function createTrafficMetrics(registry: MetricsRegistry, maxLabelSets = defaultMaxLabelSets): DroppableTraffic {
  const cells = new HeldCells(registry);
  const overflow = (family: string) => () => countOverflow(registry, family);
  const connections = new SeriesTable(
    maxLabelSets,
    (labels) => new ConnectionSeries(cells, labels),
    overflow('istio_tcp'),
  );
  const requests = new SeriesTable(
    maxLabelSets,
    (labels) => new RequestSeries(cells, labels),
    overflow('istio_requests'),
  );
  return {
    connection: (labels) => connections.of(labels, keyOf),
    request: (labels, request, durationMs, requestBytes, responseBytes) =>
      requests.of(labels, keyOf).add(request, durationMs, requestBytes, responseBytes),
    messages: (labels, received, sent) => requests.of(labels, keyOf).addMessages(received, sent),
    holders: [connections, requests],
  };
}

/** Sets that no metric tells apart are one. */
function keyOf(labels: TrafficLabels): string {
  const common = tcpLabels(labels, '-');
  const { shape } = labels;
  if (shape === undefined) return labelsText(common);
  const texts = new Set([...shape.changes.keys()].map((name) => labelsText(shapedLabels(shape, name, common) ?? {})));
  // Metrics that are as they always are have all of the labels.
  if (shape.changes.size < changeable) texts.add(labelsText(common));
  return `${shape.key}\n${[...texts].join('\n')}`;
}

/** Metrics that a Telemetry can change. */
const changeable = 10;
