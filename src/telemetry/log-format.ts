/**
 * One log line as text, in ztunnel's two forms: tab-separated plain text and JSON with `level`, `time`, `scope`,
 * `message` first. Text from peers cannot break a line or steer a terminal: strings are quoted and control characters
 * escaped (design rule 10).
 */

export type LogFormat = 'plain' | 'json';
export type FieldValue = string | number | boolean | undefined;
export type Fields = readonly (readonly [key: string, value: FieldValue])[];

/** Many lines come in one second, and some in one millisecond. */
let lastTime = { wallMs: Number.NaN, text: '' };
let lastSecond = { sec: Number.NaN, text: '' };

/** `2026-01-05T10:20:30.123456Z`: the wall clock gives milliseconds, the form wants microseconds. */
export function formatTime(wallMs: number): string {
  if (wallMs === lastTime.wallMs) return lastTime.text;
  const sec = Math.floor(wallMs / 1000);
  if (sec !== lastSecond.sec) lastSecond = { sec, text: new Date(sec * 1000).toISOString().slice(0, -4) };
  const micros = Math.floor((wallMs - sec * 1000) * 1000);
  const text = `${lastSecond.text}${String(micros).padStart(6, '0')}Z`;
  lastTime = { wallMs, text };
  return text;
}

/** Fields as they stand in a line. */
export function fieldsText(format: LogFormat, fields: Fields): string {
  let text = '';
  for (const [key, value] of fields) {
    if (value === undefined) continue;
    if (format === 'plain') text += `${text === '' ? '' : ' '}${key}=${plainValue(value)}`;
    else text += `${keys.get(key) ?? keyText(key)}${typeof value === 'string' ? quoted(value) : JSON.stringify(value)}`;
  }
  return text;
}

/** What lines of one level, topic and message begin with, around their time. */
export interface LineStart {
  readonly beforeTime: string;
  readonly afterTime: string;
}

export function lineStart(format: LogFormat, level: string, topic: string, message: string): LineStart {
  if (format === 'plain') return { beforeTime: '', afterTime: `\t${level}\t${topic}\t${escapeControls(message)}` };
  const afterTime = `,"scope":${quoted(topic)},"message":${quoted(message)}`;
  return { beforeTime: `{"level":${quoted(level)},"time":"`, afterTime: `"${afterTime}` };
}

/** A whole line, its end included. `fields`: one text of them, or several put together by `joinedFields`. */
export function lineText(
  format: LogFormat,
  { beforeTime, afterTime }: LineStart,
  time: string,
  fields: string,
): string {
  if (format === 'json') return `${beforeTime}${time}${afterTime}${fields}}\n`;
  return fields === '' ? `${time}${afterTime}\n` : `${time}${afterTime}\t${fields}\n`;
}

export function joinedFields(format: LogFormat, some: string, more: string): string {
  return format === 'json' || some === '' || more === '' ? some + more : `${some} ${more}`;
}

/** Names of fields as they stand in a line of JSON. They come from code, so there are few. */
const keys = new Map<string, string>();
const keptKeys = 1000;

function keyText(key: string): string {
  const text = `,${quoted(key)}:`;
  if (keys.size < keptKeys) keys.set(key, text);
  return text;
}

/** Numbers, booleans and socket addresses stand bare; everything else is quoted. */
function plainValue(value: Exclude<FieldValue, undefined>): string {
  if (typeof value !== 'string') return String(value);
  return mayBeAddress(value) && /^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:.]+\])(:\d{1,5})?$/.test(value)
    ? value
    : quoted(value);
}

/** By its first letter: a digit or a bracket. */
function mayBeAddress(text: string): boolean {
  const first = text.charCodeAt(0);
  return (first >= 0x30 && first <= 0x39) || first === 0x5b;
}

/** As a JSON string. Nearly all texts hold nothing that must be escaped. */
function quoted(text: string): string {
  return /^[ !#-[\]-~]*$/.test(text) ? `"${text}"` : escapeControls(JSON.stringify(text));
}

/** C0 and C1 controls, DEL, and Unicode's own line ends. */
const controls = /[\p{Cc}\u2028\u2029]/gu;

function escapeControls(text: string): string {
  return text.replace(controls, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
