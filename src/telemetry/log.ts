/**
 * The logger of the programs: topics with levels of their own, ztunnel's line forms, written without blocking the loop
 * through pino's destination. Lines in memory are bounded by that destination; `flush` writes what is left at the end.
 */
import { destination } from 'pino';
import { type Clock, systemClock, type Timer } from '../base/clock.ts';
import type { LogFields, Logger, LogLevel } from '../base/logger.ts';
import { type LogLevels, rankOf, type Threshold } from './levels.ts';
import {
  type Fields,
  fieldsText,
  formatTime,
  type LineStart,
  type LogFormat,
  lineStart,
  lineText,
} from './log-format.ts';

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
const gatherLength = 64 * 1024;

/** A buffered descriptor (1 or 2). Buffers at most 16 MiB; what comes beyond that is lost, and `onLost` is told. */
export function openLogOutput(fd: number, clock: Clock = systemClock, onLost: () => void = () => {}): LogOutput {
  const stream = destination({ dest: fd, sync: false, maxLength: 16 * 1024 * 1024 });
  // The reader of a pipe may leave before us; logging must not end the process then.
  stream.on('error', () => {});
  stream.on('drop', onLost);
  return gatherLines(stream, clock);
}

/** Lines on their way to a stream, several at once. */
export function gatherLines(stream: ReturnType<typeof destination>, clock: Clock): LogOutput {
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

/** Writes a line. `fields`: as `fieldsText` of the same format makes them. */
export function writeLine({ clock, sink, format }: LogOptions, start: LineStart, fields: string): void {
  sink.write(lineText(format, start, formatTime(clock.wallMs()), fields));
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
    const list: Fields = fields === undefined ? [] : Object.entries(fields);
    const { format } = this.#options;
    writeLine(this.#options, lineStart(format, level, this.#topic, message), fieldsText(format, list));
  }
}
