/**
 * Access log lines in ztunnel's form: topic `access`, `connection complete` at info, or at error when it failed,
 * `connection opened` at debug, `connection failed` at warn for what never became a connection.
 */
import type { LogLevel } from '../base/logger.ts';
import { rankOf } from './levels.ts';
import { type LogOptions, writeLine } from './log.ts';
import { fieldsText } from './log-format.ts';
import type { AccessLog, AccessLogFields } from './traffic.ts';

const messages = { opened: 'connection opened', complete: 'connection complete', denied: 'connection failed' } as const;

export function createAccessLog(options: LogOptions): AccessLog {
  const threshold = options.levels.threshold('access');
  const known = new WeakMap<AccessLogFields, string>();
  const textOf = (fields: AccessLogFields) => fieldsText(options.format, fields);
  return {
    get verbose() {
      return rankOf('debug') >= threshold.rank;
    },
    write(event, fields, ...repeated) {
      const level = levelOf(event, fields);
      if (rankOf(level) < threshold.rank) return;
      const texts = repeated.map((each) => known.getOrInsertComputed(each, textOf));
      texts.push(textOf(fields));
      writeLine(options, level, 'access', messages[event], texts.filter(isSomething));
    },
  };
}

function levelOf(event: keyof typeof messages, fields: AccessLogFields): LogLevel {
  if (event === 'opened') return 'debug';
  if (event === 'denied') return 'warn';
  return fields.some(([key, value]) => key === 'error' && value !== undefined) ? 'error' : 'info';
}

function isSomething(text: string): boolean {
  return text !== '';
}
