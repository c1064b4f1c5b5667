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
import type { LogFormat } from '../telemetry/log-format.ts';
import { CellRegistry } from '../telemetry/metrics.ts';
import type { AccessLog, TrafficMetrics } from '../telemetry/traffic.ts';
import { createTrafficMetrics } from '../telemetry/traffic-metrics.ts';

export interface Observability {
  readonly logger: Logger;
  readonly accessLog: AccessLog;
  readonly levels: LogLevels;
  readonly metrics: CellRegistry;
  readonly traffic: TrafficMetrics;
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
  const levels = new LogLevels();
  levels.set(options.levels, true);
  const output = options.output ?? openLogOutput(1);
  const logOptions = { levels, format: options.format, clock: options.clock ?? systemClock, sink: output };
  const metrics = new CellRegistry();
  metrics.addProcessMetrics();
  metrics.gauge('istio_build', 'Program and version.', { component: options.program, tag: options.version }).value = 1;
  return {
    logger: createLogger(logOptions, options.program),
    accessLog: createAccessLog(logOptions),
    levels,
    metrics,
    traffic: createTrafficMetrics(metrics),
    flush: () => output.flush(),
  };
}
