/**
 * Log levels by topic, changed at run time: `info,hbone=debug,access=off`. The form is RUST_LOG's, so that ztunnel's
 * settings and `istioctl ztunnel-config log` work unchanged; `topic:level` is accepted as well.
 */
import { AmbitError } from '../base/errors.ts';
import type { LogLevel } from '../base/logger.ts';

export type LevelOrOff = LogLevel | 'off';

const ranks: Readonly<Record<LevelOrOff, number>> = { trace: 10, debug: 20, info: 30, warn: 40, error: 50, off: 100 };

/** Whoever holds a threshold sees changes at once: loggers keep the object, not the number. */
export interface Threshold {
  rank: number;
}

export function rankOf(level: LogLevel): number {
  return ranks[level];
}

export class LogLevels {
  #fallback: LevelOrOff = 'info';
  readonly #topics = new Map<string, LevelOrOff>();
  readonly #thresholds = new Map<string, Threshold>();

  /** Throws AmbitError `TELEMETRY_LOG_LEVEL` on nonsense and then changes nothing. */
  set(directives: string, reset: boolean): void {
    const parsed = directives.split(',').filter((part) => part.trim() !== '');
    const changes = parsed.map((part) => parseDirective(part.trim()));
    if (reset) {
      this.#topics.clear();
      this.#fallback = 'info';
    }
    for (const { topic, level } of changes) {
      if (topic === undefined) this.#fallback = level;
      else this.#topics.set(topic, level);
    }
    for (const [topic, threshold] of this.#thresholds) threshold.rank = this.#rank(topic);
  }

  current(): string {
    return [this.#fallback, ...[...this.#topics].map(([topic, level]) => `${topic}=${level}`)].join(',');
  }

  threshold(topic: string): Threshold {
    let threshold = this.#thresholds.get(topic);
    if (threshold === undefined) {
      threshold = { rank: this.#rank(topic) };
      this.#thresholds.set(topic, threshold);
    }
    return threshold;
  }

  #rank(topic: string): number {
    return ranks[this.#topics.get(topic) ?? this.#fallback];
  }
}

function parseDirective(text: string): { readonly topic: string | undefined; readonly level: LevelOrOff } {
  const match = /^(?:([A-Za-z0-9_.-]{1,64})\s*[=:]\s*)?([A-Za-z]+)$/.exec(text);
  const level = match?.[2]?.toLowerCase();
  if (level === undefined || !Object.hasOwn(ranks, level)) {
    throw new AmbitError(
      `log level ${JSON.stringify(text.slice(0, 80))}: say level or topic=level, of trace, debug, info, warn, error, off`,
      {
        code: 'TELEMETRY_LOG_LEVEL',
        origin: 'local',
      },
    );
  }
  return { topic: match?.[1], level: level as LevelOrOff };
}
