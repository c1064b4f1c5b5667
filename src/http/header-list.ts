/**
 * Header lists: flat name, value, name, value, as node:http, node:http2 and undici give and take them. Order, case and
 * duplicates are kept, because what is forwarded must be what was received but for deliberate changes (RFC 9110 §5).
 * Lists are values: every function returns a new one and leaves its argument alone.
 */

export type HeaderList = readonly string[];

export const noHeaders: HeaderList = [];

/** First value of a header; `name` in lower case. */
export function headerValue(list: HeaderList, name: string): string | undefined {
  for (let i = 0; i < list.length; i += 2) if (isNamed(list[i], name)) return list[i + 1];
  return undefined;
}

/** All values of a header in order; `name` in lower case. */
export function headerValues(list: HeaderList, name: string): readonly string[] {
  let values: string[] | undefined;
  for (let i = 0; i < list.length; i += 2) {
    if (!isNamed(list[i], name)) continue;
    values ??= [];
    values.push(list[i + 1] as string);
  }
  return values ?? noHeaders;
}

/** Values joined by comma as matching sees them (RFC 9110 §5.3); undefined when the header is absent. */
export function joinedHeader(list: HeaderList, name: string): string | undefined {
  const values = headerValues(list, name);
  return values.length === 0 ? undefined : values.join(',');
}

/** Without the headers whose lower-case name the test accepts. The same list when nothing is removed. */
export function withoutHeaders(list: HeaderList, drop: (name: string) => boolean): HeaderList {
  let kept: string[] | undefined;
  for (let i = 0; i < list.length; i += 2) {
    const dropped = drop((list[i] as string).toLowerCase());
    if (dropped && kept === undefined) kept = list.slice(0, i);
    else if (!dropped && kept !== undefined) kept.push(list[i] as string, list[i + 1] as string);
  }
  return kept ?? list;
}

/** Replaces all values by one: at the place of the first, or at the end. */
export function withHeader(list: HeaderList, name: string, value: string): HeaderList {
  const lower = name.toLowerCase();
  const out: string[] = [];
  let placed = false;
  for (let i = 0; i < list.length; i += 2) {
    if (!isNamed(list[i], lower)) out.push(list[i] as string, list[i + 1] as string);
    else if (!placed) {
      out.push(list[i] as string, value);
      placed = true;
    }
  }
  if (!placed) out.push(name, value);
  return out;
}

/** With one more value at the end; those that are there stay. */
export function withAddedHeader(list: HeaderList, name: string, value: string): HeaderList {
  return [...list, name, value];
}

/** Text length of names and values: what logs and limits count. */
export function headerBytes(list: HeaderList): number {
  let total = 0;
  for (const text of list) total += text.length;
  return total;
}

/** Whether the name, in whatever case, is this one in lower case. */
export function isNamed(candidate: string | undefined, lowerName: string): boolean {
  if (candidate === undefined || candidate.length !== lowerName.length) return false;
  if (candidate === lowerName) return true;
  // Most names of one length differ in their first letters, and need not be put into lower case to tell.
  const first = candidate.charCodeAt(0);
  const wanted = lowerName.charCodeAt(0);
  return (first === wanted || (first | 0x20) === wanted) && candidate.toLowerCase() === lowerName;
}
