/**
 * Log levels by topic, changed at run time: `info,hbone=debug,access=off`. The form is RUST_LOG's, so that ztunnel's
 * settings and `istioctl ztunnel-config log` work unchanged; `topic:level` is accepted as well. Rust's module paths mean
 * the topics that do the same work here (`log-targets.ts`).
 *
 * I1: of several directives that concern a topic the most specific counts; of equally specific ones the last.
 */
import { AmbitError } from '../base/errors.ts';
import type { LogLevel } from '../base/logger.ts';
import { isLogTarget, targetSpecificity } from './log-targets.ts';

export type LevelOrOff = LogLevel | 'off';

const ranks: Readonly<Record<LevelOrOff, number>> = { trace: 10, debug: 20, info: 30, warn: 40, error: 50, off: 100 };

/** Whoever holds a threshold sees changes at once: loggers keep the object, not the number. */
export interface Threshold {
  rank: number;
}

export function rankOf(level: LogLevel): number {
  return ranks[level];
}

/** An operator names a few; more are forgotten, the oldest first. */
const mostTargets = 256;

export class LogLevels {
  #fallback: LevelOrOff = 'info';
  readonly #targets = new Map<string, LevelOrOff>();
  readonly #thresholds = new Map<string, Threshold>();
  #atStart = 'info';

  /** Throws AmbitError `TELEMETRY_LOG_LEVEL` on nonsense and then changes nothing. */
  set(directives: string, reset: boolean): void {
    const parsed = splitDirectives(directives).map((part) => parseDirective(part));
    if (reset) {
      this.#targets.clear();
      this.#fallback = 'info';
    }
    for (const { target, level } of parsed) {
      if (target === undefined) this.#fallback = level;
      else {
        // The last of equals counts: it goes to the end.
        this.#targets.delete(target);
        this.#targets.set(target, level);
      }
    }
    for (const target of this.#targets.keys()) {
      if (this.#targets.size <= mostTargets) break;
      this.#targets.delete(target);
    }
    for (const [topic, threshold] of this.#thresholds) threshold.rank = this.#rank(topic);
  }

  /** As `set` with `reset`, and what `reset()` goes back to. */
  start(directives: string): void {
    this.set(directives, true);
    this.#atStart = directives;
  }

  reset(): void {
    this.set(this.#atStart, true);
  }

  current(): string {
    return [this.#fallback, ...[...this.#targets].map(([target, level]) => `${target}=${level}`)].join(',');
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
    let best = 0;
    let rank = ranks[this.#fallback];
    for (const [target, level] of this.#targets) {
      const specificity = targetSpecificity(target, topic, ranks[level] < ranks.info);
      if (specificity === 0 || specificity < best) continue;
      best = specificity;
      rank = ranks[level];
    }
    return rank;
  }
}

/** Commas within `[span{a=1,b=2}]` do not part directives. */
function splitDirectives(text: string): string[] {
  return text
    .replace(/\[[^\]]*\]/g, '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

function parseDirective(text: string): { readonly target: string | undefined; readonly level: LevelOrOff } {
  const match = /^(?:([\w.-]{1,64}(?:::[\w.-]{1,64}){0,8})\s*[=:]\s*)?([A-Za-z]+)$/.exec(text);
  const level = match?.[2]?.toLowerCase();
  if (level !== undefined && Object.hasOwn(ranks, level)) return { target: match?.[1], level: level as LevelOrOff };
  // As in RUST_LOG, a target alone wants everything of it.
  if (text.length <= 200 && isLogTarget(text)) return { target: text, level: 'trace' };
  throw new AmbitError(
    `log level ${JSON.stringify(text.slice(0, 80))}: say level or topic=level, of trace, debug, info, warn, error, off`,
    { code: 'TELEMETRY_LOG_LEVEL', origin: 'local' },
  );
}
