/** Cookies of a request (RFC 6265 §4.2), read leniently: nothing is decoded, and white space around a name or value is none. */
import { type HeaderList, headerValues } from './header-list.ts';

/** Name and value of one pair between semicolons. Both are empty where it has no equals sign. */
export function cookieOf(pair: string): readonly [name: string, value: string] {
  const equals = pair.indexOf('=');
  return equals < 0 ? ['', ''] : [pair.slice(0, equals).trim(), pair.slice(equals + 1).trim()];
}

/** Values under a name, in order, as they are written. The work is linear in the length of the lines. */
export function* cookieValues(headers: HeaderList, name: string): Generator<string> {
  for (const line of headerValues(headers, 'cookie')) {
    for (let at = 0; at < line.length; ) {
      const semicolon = line.indexOf(';', at);
      const end = semicolon < 0 ? line.length : semicolon;
      const [found, value] = cookieOf(line.slice(at, end));
      if (found === name && found !== '') yield value;
      at = end + 1;
    }
  }
}

/** Without quotes around it. */
export function unquoted(value: string): string {
  return value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
}
