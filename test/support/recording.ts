/** A logger and metrics that remember, for tests of what an operator is told. */
import type { LogFields, Logger, LogLevel } from '../../src/base/logger.ts';
import type { Labels, MetricsRegistry } from '../../src/base/metrics.ts';

export interface RecordedLine {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

export function recordingLogger(): { readonly logger: Logger; readonly lines: RecordedLine[] } {
  const lines: RecordedLine[] = [];
  const write =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}) =>
      void lines.push({ level, message, fields });
  const logger: Logger = {
    trace: write('trace'),
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    enabled: () => true,
    topic: () => logger,
  };
  return { logger, lines };
}

export function recordingMetrics(): {
  readonly metrics: MetricsRegistry;
  value(name: string, labels?: Labels): number;
} {
  const cells = new Map<string, { value: number }>();
  const key = (name: string, labels: Labels = {}) => `${name} ${JSON.stringify(Object.entries(labels).sort())}`;
  const cell = (name: string, labels?: Labels) => cells.getOrInsertComputed(key(name, labels), () => ({ value: 0 }));
  return {
    metrics: {
      counter: (name, _help, labels) => cell(name, labels),
      gauge: (name, _help, labels) => cell(name, labels),
      histogram: () => ({ observe: () => {} }),
      remove: (name, labels) => void cells.delete(key(name, labels)),
    },
    value: (name, labels) => cells.get(key(name, labels))?.value ?? 0,
  };
}
