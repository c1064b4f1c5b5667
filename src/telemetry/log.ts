/**
 * The logger of the programs: topics with levels of their own, ztunnel's line forms, written without blocking the loop
 * through pino's destination. Lines in memory are bounded by that destination; `flush` writes what is left at the end.
 */
import { fsyncSync } from 'node:fs';
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
  /**
   * Writes what is buffered, synchronously: at the end of the process. Never throws. What another thread is just
   * writing may come after it: `process.exit` waits for that thread.
   */
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
const gatherBytes = 64 * 1024;
/** Room for what comes last. */
const mostGatheredBytes = 96 * 1024;
/** Of a character of JavaScript in UTF-8. */
const mostBytesOfCharacter = 3;

/** Where gathered lines go. Its memory is bounded: what has no room is lost. */
export interface LineStream {
  write(lines: Buffer): void;
  /** Returns when all is written, or throws. */
  flushSync(): void;
}

/** A buffered descriptor (1 or 2). Buffers at most 16 MiB; what comes beyond that is lost, and `onLost` is told. */
export function openLogOutput(fd: number, clock: Clock = systemClock, onLost: () => void = () => {}): LogOutput {
  return gatherLines(lineStream(fd, { maxLength: 16 * 1024 * 1024, onLost, onError: () => {} }), clock);
}

/** `onError`: the reader of a pipe may leave before us, or a disk be full; logging must not end the process then. */
export function lineStream(
  fd: number,
  { maxLength, onLost, onError }: { maxLength: number; onLost: () => void; onError: () => void },
): LineStream {
  // Its types know only what pino itself asks for.
  const options = { dest: fd, sync: false, maxLength, contentMode: 'buffer' } as Parameters<typeof destination>[0];
  const stream = destination(options) as unknown as LineStream & NodeJS.EventEmitter;
  stream.on('error', onError);
  stream.on('drop', onLost);
  return {
    write: (lines) => stream.write(lines),
    flushSync: () => {
      stream.flushSync();
      try {
        // Waits for a write that another thread has begun.
        fsyncSync(fd);
      } catch {
        // It is no file.
      }
    },
  };
}

/** Lines on their way to a stream, several at once: as octets from the start, since a long text is put together twice. */
export function gatherLines(stream: LineStream, clock: Clock): LogOutput {
  const gathered = Buffer.allocUnsafeSlow(mostGatheredBytes);
  let length = 0;
  let timer: Timer | undefined;
  const release = () => {
    timer?.cancel();
    timer = undefined;
    const lines = Buffer.from(gathered.subarray(0, length));
    length = 0;
    if (lines.length > 0) stream.write(lines);
  };
  return {
    write: (line) => {
      const most = line.length * mostBytesOfCharacter;
      if (length + most > mostGatheredBytes) release();
      if (most > mostGatheredBytes) stream.write(Buffer.from(line));
      else length += gathered.write(line, length);
      if (length >= gatherBytes) release();
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
