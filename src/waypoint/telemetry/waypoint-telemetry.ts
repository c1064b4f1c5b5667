/** What all stages share of telemetry: where logs and spans go, what the environment says, and what is reported regularly. */
import type { Attributes, Tracing } from '../../telemetry/tracing/span.ts';
import type { LogLines } from './access-logs.ts';
import { type CollectorDependencies, Collectors } from './collectors.ts';
import { PeriodicReports } from './periodic-reports.ts';

/** What a program gives a waypoint; all of it may be missing. */
export interface TelemetryOutputs {
  /** Where configured access logs are written. */
  readonly lines?: LogLines | undefined;
  /** Of the program's environment. */
  readonly tracing?: Tracing | undefined;
  /** Whose all spans are; undefined: each is the served service's. */
  readonly spanService?: string | undefined;
  /** Of the process, for tags that name a variable. */
  readonly environment?: ((variable: string) => string | undefined) | undefined;
  /** Who reports, for collectors. */
  readonly resource?: { readonly attributes: Attributes; readonly version: string } | undefined;
}

export class WaypointTelemetry {
  readonly lines: LogLines;
  readonly tracing: Tracing | undefined;
  readonly spanService: string | undefined;
  readonly environment: (variable: string) => string | undefined;
  readonly collectors: Collectors;
  readonly reports: PeriodicReports;

  constructor(outputs: TelemetryOutputs, options: CollectorDependencies) {
    this.lines = outputs.lines ?? { write: () => {} };
    this.tracing = outputs.tracing;
    this.spanService = outputs.spanService;
    this.environment = outputs.environment ?? (() => undefined);
    this.collectors = new Collectors(options, outputs.resource ?? { attributes: [], version: '' });
    this.reports = new PeriodicReports(options.clock, options.logger);
  }
}
