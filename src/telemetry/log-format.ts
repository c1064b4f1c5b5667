/**
 * One log line as text, in ztunnel's two forms: tab-separated plain text and JSON with `level`, `time`, `scope`,
 * `message` first. Text from peers cannot break a line or steer a terminal: strings are quoted and control characters
 * escaped (design rule 10).
 */

export type LogFormat = 'plain' | 'json';
export type FieldValue = string | number | boolean | undefined;
export type Fields = readonly (readonly [key: string, value: FieldValue])[];

/** Many lines come in one millisecond. */
let lastTime = { wallMs: Number.NaN, text: '' };

/** `2026-01-05T10:20:30.123456Z`: the wall clock gives milliseconds, the form wants microseconds. */
export function formatTime(wallMs: number): string {
  if (wallMs === lastTime.wallMs) return lastTime.text;
  const whole = Math.floor(wallMs);
  const micros = Math.floor((wallMs - whole) * 1000);
  const text = `${new Date(whole).toISOString().slice(0, -1)}${String(micros).padStart(3, '0')}Z`;
  lastTime = { wallMs, text };
  return text;
}

/** Fields as they stand in a line; lines can be made of several such texts, none of which is empty (`lineText`). */
export function fieldsText(format: LogFormat, fields: Fields): string {
  let text = '';
  for (const [key, value] of fields) {
    if (value === undefined) continue;
    if (format === 'plain') text += `${text === '' ? '' : ' '}${key}=${plainValue(value)}`;
    else text += `${keys.get(key) ?? keyText(key)}${typeof value === 'string' ? quoted(value) : JSON.stringify(value)}`;
  }
  return text;
}

export interface LineHead {
  readonly time: string;
  readonly level: string;
  readonly topic: string;
  readonly message: string;
}

/** A whole line, its end included. */
export function lineText(format: LogFormat, head: LineHead, texts: readonly string[]): string {
  const { time, level, topic, message } = head;
  if (format === 'plain') {
    const fields = texts.length === 0 ? '' : `\t${texts.join(' ')}`;
    return `${time}\t${level}\t${topic}\t${escapeControls(message)}${fields}\n`;
  }
  let line = `{"level":${quoted(level)},"time":${quoted(time)},"scope":${quoted(topic)},"message":${quoted(message)}`;
  for (const text of texts) line += text;
  return `${line}}\n`;
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
  const bare = /^[[\d]/.test(value) && /^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:.]+\])(:\d{1,5})?$/.test(value);
  return bare ? value : quoted(value);
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
