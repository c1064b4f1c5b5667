/**
 * What lives long and is reported while it runs: TCP connections and gRPC streams, each every so often. One timer for all that
 * have the same interval, and none while there are none.
 *
 * I1: reports are made in slices, so that no turn of the loop is long.
 */
import type { Clock, Timer } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { inSlices } from '../../base/slices.ts';

/** Istio's `tcp_reporting_duration`. */
export const defaultReportingIntervalMs = 5_000;

interface Group {
  readonly reports: Set<() => void>;
  timer: Timer | undefined;
}

export class PeriodicReports {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #groups = new Map<number, Group>();

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** `report` must be total. The value ends it. */
  add(intervalMs: number, report: () => void): () => void {
    const group = this.#groups.getOrInsertComputed(intervalMs, () => ({ reports: new Set(), timer: undefined }));
    group.reports.add(report);
    group.timer ??= this.#clock.after(intervalMs, () => this.#report(intervalMs, group));
    return () => {
      group.reports.delete(report);
      if (group.reports.size > 0) return;
      group.timer?.cancel();
      group.timer = undefined;
      if (this.#groups.get(intervalMs) === group) this.#groups.delete(intervalMs);
    };
  }

  #report(intervalMs: number, group: Group): void {
    group.timer = undefined;
    inSlices(each(group.reports), { clock: this.#clock })
      .catch((error: unknown) => this.#logger.error('reporting failed inside', { error: errorText(error) }))
      .finally(() => {
        if (group.reports.size > 0)
          group.timer ??= this.#clock.after(intervalMs, () => this.#report(intervalMs, group));
      });
  }
}

function* each(reports: Iterable<() => void>): Generator<void> {
  for (const report of reports) yield report();
}
