/** Configured access logs: which of them get a line, and which line. What nobody configured is `report.ts`'s own. */
import { holds } from '../../route/cel/expression.ts';
import type { TrafficFacts } from '../../route/telemetry/facts.ts';
import type { AccessLogRule } from '../../route/telemetry/rules.ts';
import type { Attributes } from '../../telemetry/tracing/span.ts';
import type { Collectors } from './collectors.ts';

/** Takes whole lines; where they go is not the waypoint's business. */
export interface LogLines {
  write(path: string, line: string): void;
}

/** `own`: writes the proxy's own lines. */
export function writeAccessLogs(
  logs: readonly AccessLogRule[],
  facts: TrafficFacts,
  lines: LogLines,
  collectors: Collectors,
  own: () => void,
): void {
  for (const { provider, filter } of logs) {
    if (filter !== undefined && !holds(filter, facts)) continue;
    switch (provider.kind) {
      case 'own':
        own();
        break;
      case 'file':
        lines.write(provider.path, provider.format.line(facts));
        break;
      case 'otlp':
        collectors.log(provider, {
          timeMicros: Math.round(facts.startWallMs * 1000),
          body: provider.body(facts),
          attributes: provider.attributes.map(([key, read]) => [key, read(facts)] as const) satisfies Attributes,
          context:
            facts.traceId === undefined || facts.spanId === undefined
              ? undefined
              : { traceId: facts.traceId, spanId: facts.spanId },
        });
    }
  }
}
