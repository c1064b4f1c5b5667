/**
 * Access log lines in ztunnel's form: topic `access`, `connection complete` at info, or at error when it failed,
 * `connection opened` at debug, `connection failed` at warn for what never became a connection.
 */
import type { LogLevel } from '../base/logger.ts';
import { rankOf } from './levels.ts';
import { type LogOptions, writeLine } from './log.ts';
import { fieldsText, joinedFields, lineStart } from './log-format.ts';
import type { AccessLog, AccessLogFields } from './traffic.ts';

export function createAccessLog(options: LogOptions): AccessLog {
  const { format } = options;
  const threshold = options.levels.threshold('access');
  const known = new WeakMap<AccessLogFields, string>();
  const textOf = (fields: AccessLogFields) => fieldsText(format, fields);
  const kind = (level: LogLevel, message: string) => ({ level, start: lineStart(format, level, 'access', message) });
  const opened = kind('debug', 'connection opened');
  const complete = kind('info', 'connection complete');
  const failed = kind('error', 'connection complete');
  const denied = kind('warn', 'connection failed');
  return {
    get verbose() {
      return rankOf('debug') >= threshold.rank;
    },
    write(event, fields, ...repeated) {
      const ended = event === 'complete' && hasError(fields) ? failed : complete;
      const { level, start } = event === 'opened' ? opened : event === 'denied' ? denied : ended;
      if (rankOf(level) < threshold.rank) return;
      let text = '';
      for (const each of repeated) text = joinedFields(format, text, known.getOrInsertComputed(each, textOf));
      writeLine(options, start, joinedFields(format, text, textOf(fields)));
    },
  };
}

function hasError(fields: AccessLogFields): boolean {
  for (const [key, value] of fields) if (key === 'error' && value !== undefined) return true;
  return false;
}
