/**
 * The logger everybody takes. `telemetry/` stands behind it; tests use `silentLogger` or a recording one.
 * Fields are plain values; text from peers is escaped by the implementation, callers pass it as it came.
 */

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Logger {
  trace(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** Whether a line of this level would be written: ask before building costly fields. */
  enabled(level: LogLevel): boolean;
  /** A logger of a topic (`hbone`, `xds`), whose level can be set apart at run time. */
  topic(name: string): Logger;
}

const nothing = () => {};

export const silentLogger: Logger = {
  trace: nothing,
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  enabled: () => false,
  topic: () => silentLogger,
};
