/**
 * Logger, access log, metrics and levels of one program, from its environment: RUST_LOG (`info,hbone=debug`) and
 * LOG_FORMAT (plain, json), as ztunnel has them. One place, so that all programs say things alike.
 */
import { type Clock, systemClock } from '../base/clock.ts';
import { AmbitError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { createAccessLog } from '../telemetry/access-log.ts';
import { LogLevels } from '../telemetry/levels.ts';
import { createLogger, type LogOutput, openLogOutput } from '../telemetry/log.ts';
import { LogFiles } from '../telemetry/log-files.ts';
import type { LogFormat } from '../telemetry/log-format.ts';
import { CellRegistry } from '../telemetry/metrics.ts';
import type { AccessLog } from '../telemetry/traffic.ts';
import { createTrafficMetrics, type DroppableTraffic } from '../telemetry/traffic-metrics.ts';

export interface Observability {
  readonly logger: Logger;
  readonly accessLog: AccessLog;
  readonly levels: LogLevels;
  readonly metrics: CellRegistry;
  readonly traffic: DroppableTraffic;
  /** Where access logs go that somebody configured. */
  readonly files: LogFiles;
  /** Writes buffered log lines; synchronous, for the end of the process. */
  flush(): void;
}

export interface ObservabilityOptions {
  /** Directives of RUST_LOG; empty: `info`. */
  readonly levels: string;
  readonly format: LogFormat;
  /** The program's own topic: `ztunnel`, `waypoint`, `control`. */
  readonly program: string;
  readonly version: string;
  /** Where lines go; standard output unless told. */
  readonly output?: LogOutput;
  /** Label sets of traffic metrics; more share one. */
  readonly maxLabelSets?: number;
  readonly clock?: Clock;
}

/** Why directives of RUST_LOG cannot be read, or undefined: for settings that list all problems at once. */
export function logLevelProblem(directives: string): string | undefined {
  try {
    new LogLevels().set(directives, true);
    return undefined;
  } catch (error) {
    if (error instanceof AmbitError) return error.message;
    throw error;
  }
}

/** Throws AmbitError `TELEMETRY_LOG_LEVEL` when `levels` cannot be read. */
export function createObservability(options: ObservabilityOptions): Observability {
  const metrics = new CellRegistry();
  const levels = new LogLevels();
  levels.start(options.levels);
  const lost = () => {
    metrics.counter('ambit_log_lines_lost_total', 'Batches of log lines lost because nobody read them.').value++;
  };
  const output = options.output ?? openLogOutput(1, systemClock, lost);
  const logOptions = { levels, format: options.format, clock: options.clock ?? systemClock, sink: output };
  metrics.addProcessMetrics();
  // A waypoint is one of Istio's proxies to whoever looks for their versions.
  const component = options.program === 'waypoint' ? 'proxy' : options.program;
  metrics.gauge('istio_build', 'Program and version.', { component, tag: options.version }).value = 1;
  const logger = createLogger(logOptions, options.program);
  const files = new LogFiles({ output, clock: logOptions.clock, logger: logger.topic('access'), metrics });
  return {
    logger,
    accessLog: createAccessLog(logOptions),
    levels,
    metrics,
    traffic: createTrafficMetrics(metrics, options.maxLabelSets),
    files,
    flush: () => {
      files.flush();
      output.flush();
    },
  };
}
