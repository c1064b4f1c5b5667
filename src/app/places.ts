/** What the composition needs of the places a ztunnel serves: the node's, one workload's, or every pod's. */
import type { AmbitError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { MetricsRegistry } from '../base/metrics.ts';
import type { Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import type { PodState } from '../ztunnel/config-dump.ts';
import type { Place, ZtunnelServices } from '../ztunnel/context.ts';

export interface Places {
  /** What listeners bind to. */
  readonly listenIp: string;
  readonly placeOf: (workload: Workload) => Place | undefined;
  /** Starts listening. Rejects when the node's or the workload's own listeners cannot be made. */
  start(services: ZtunnelServices): Promise<void>;
  /** What readiness waits for. */
  pending(): readonly string[];
  pods(): Iterable<PodState>;
  /** Stops accepting; live connections go on. */
  close(): Promise<void>;
}

export interface PlacesDependencies {
  readonly mesh: MeshView;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  readonly onFatal: (error: AmbitError) => void;
}
