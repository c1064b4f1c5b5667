/**
 * The logger of the programs: topics with levels of their own, ztunnel's line forms, written without blocking the loop
 * through pino's destination. Lines in memory are bounded by that destination; `flush` writes what is left at the end.
 */
import { destination } from 'pino';
import { type Clock, systemClock, type Timer } from '../base/clock.ts';
import type { LogFields, Logger, LogLevel } from '../base/logger.ts';
import { type LogLevels, rankOf, type Threshold } from './levels.ts';
import { type Fields, formatTime, jsonLine, type LogFormat, plainLine } from './log-format.ts';

/** Where lines go. `write` takes a whole line with its end. */
export interface LogSink {
  write(line: string): void;
}

export interface LogOutput extends LogSink {
  /** Writes what is buffered, synchronously: at the end of the process. Never throws. */
  flush(): void;
}

export interface LogOptions {
  readonly levels: LogLevels;
  readonly format: LogFormat;
  readonly clock: Clock;
  readonly sink: LogSink;
}

/** Lines are written together: a write costs more than many lines. Somebody who watches does not see the delay. */
const gatherMs = 10;
const gatherLength = 16 * 1024;

/** A buffered descriptor (1 or 2). Buffers at most 16 MiB; what comes beyond that is lost. */
export function openLogOutput(fd: number, clock: Clock = systemClock): LogOutput {
  const stream = destination({ dest: fd, sync: false, maxLength: 16 * 1024 * 1024 });
  // The reader of a pipe may leave before us; logging must not end the process then.
  stream.on('error', () => {});
  let gathered = '';
  let timer: Timer | undefined;
  const release = () => {
    timer?.cancel();
    timer = undefined;
    const text = gathered;
    gathered = '';
    if (text !== '') stream.write(text);
  };
  return {
    write: (line) => {
      gathered += line;
      if (gathered.length >= gatherLength) release();
      else timer ??= clock.after(gatherMs, release);
    },
    flush: () => {
      try {
        release();
        stream.flushSync();
      } catch {
        // Nothing was ever opened, or its reader has left: there is nobody to tell.
      }
    },
  };
}

export function createLogger(options: LogOptions, topic = 'ambit'): Logger {
  return new TopicLogger(options, topic);
}

/** Writes a line of ordered fields, for those whose order is part of a contract (access logs). */
export function writeLine(options: LogOptions, level: LogLevel, topic: string, message: string, fields: Fields): void {
  const time = formatTime(options.clock.wallMs());
  const line = options.format === 'json' ? jsonLine : plainLine;
  options.sink.write(line(time, level, topic, message, fields));
}

class TopicLogger implements Logger {
  readonly #options: LogOptions;
  readonly #topic: string;
  readonly #threshold: Threshold;

  constructor(options: LogOptions, topic: string) {
    this.#options = options;
    this.#topic = topic;
    this.#threshold = options.levels.threshold(topic);
  }

  trace(message: string, fields?: LogFields): void {
    this.#write('trace', message, fields);
  }

  debug(message: string, fields?: LogFields): void {
    this.#write('debug', message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#write('info', message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#write('warn', message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.#write('error', message, fields);
  }

  enabled(level: LogLevel): boolean {
    return rankOf(level) >= this.#threshold.rank;
  }

  topic(name: string): Logger {
    return new TopicLogger(this.#options, name);
  }

  #write(level: LogLevel, message: string, fields: LogFields | undefined): void {
    if (!this.enabled(level)) return;
    writeLine(this.#options, level, this.#topic, message, fields === undefined ? [] : Object.entries(fields));
  }
}
