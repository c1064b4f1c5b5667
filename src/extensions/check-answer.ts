/**
 * What a hook answered, checked before anything acts on it: a worker is not believed, whatever it runs. Pure and total.
 *
 * I1: no header of an answer can end a line, frame a message, address it, or say what only the proxy may say.
 * I2: an answer with anything that is not understood is refused as a whole: it is not guessed what was meant.
 */
import type { HeaderChange } from '../route/model.ts';
import type { BodyMode, HookName } from './extension.ts';

export interface LocalAnswer {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: string;
}

/** One shape for all hooks; what a hook may not say is undefined. */
export interface CheckedAnswer {
  readonly respond: LocalAnswer | undefined;
  readonly close: string | undefined;
  readonly headers: HeaderChange | undefined;
  readonly status: number | undefined;
  readonly body: BodyMode | undefined;
  readonly replace: Uint8Array | undefined;
}

/** A text says what is wrong with it. */
export type CheckOutcome = CheckedAnswer | string;

export const unchanged: CheckedAnswer = {
  respond: undefined,
  close: undefined,
  headers: undefined,
  status: undefined,
  body: undefined,
  replace: undefined,
};

const allowedKeys: Readonly<Record<HookName, readonly string[]>> = {
  connection: ['close'],
  requestHeaders: ['respond', 'headers', 'body'],
  requestBody: ['respond', 'replace'],
  responseHeaders: ['respond', 'headers', 'status', 'body'],
  responseBody: ['respond', 'replace'],
};

const maxChanges = 100;
const maxHeaderValue = 8 * 1024;
const maxChangeBytes = 32 * 1024;
const maxReplyBytes = 64 * 1024;
const maxReasonLength = 200;
/** Statuses without a body (RFC 9110 §6.4.1). */
const bodyless: ReadonlySet<number> = new Set([204, 205, 304]);
export const maxReplaceBytes = 1024 * 1024;

export function checkAnswer(hook: HookName, answer: unknown): CheckOutcome {
  if (answer === undefined || answer === null) return unchanged;
  if (!isRecord(answer)) return `${hook} answered with ${typeof answer}, not an object`;
  for (const key of Object.keys(answer)) {
    if (answer[key] !== undefined && !allowedKeys[hook].includes(key))
      return `${hook} may not answer with ${short(key)}`;
  }
  const { respond, close, headers, status, body, replace } = answer;
  if (respond !== undefined) {
    const others = Object.keys(answer).some((key) => key !== 'respond' && answer[key] !== undefined);
    if (others) return 'respond stands alone';
    const local = checkRespond(respond);
    return typeof local === 'string' ? local : { ...unchanged, respond: local };
  }
  if (close !== undefined) {
    if (typeof close !== 'string') return 'close is not a text';
    return { ...unchanged, close: printable(close).slice(0, maxReasonLength) };
  }
  if (replace !== undefined) {
    const bytes = typeof replace === 'string' ? Buffer.from(replace) : replace;
    if (!(bytes instanceof Uint8Array)) return 'replace is neither a Uint8Array nor a text';
    if (bytes.length > maxReplaceBytes) return `replace is longer than ${maxReplaceBytes} bytes`;
    return { ...unchanged, replace: bytes };
  }
  const change = headers === undefined ? undefined : checkChanges(headers);
  if (typeof change === 'string') return change;
  if (status !== undefined && (!isStatus(status) || bodyless.has(status)))
    return 'status is not a number from 200 to 599, or says that there is no body';
  if (body !== undefined && !isBodyMode(body)) return 'body is none of change, inspect, hold, skip';
  return { ...unchanged, headers: change, status, body };
}

/** Why a header may not be named by an extension; undefined: it may. */
export function headerNameProblem(name: string): string | undefined {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/.test(name)) return 'is not the name of a header';
  const lower = name.toLowerCase();
  if (framing.has(lower) || lower.startsWith('proxy-')) return 'belongs to the connection';
  if (lower === 'x-forwarded-client-cert' || lower.startsWith('x-envoy-') || lower.startsWith('x-istio-'))
    return 'is for the proxy alone to say';
  return undefined;
}

const framing = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

function checkChanges(value: unknown): HeaderChange | string {
  if (!isRecord(value)) return 'headers is not an object';
  for (const key of Object.keys(value)) {
    if (key !== 'set' && key !== 'add' && key !== 'remove') return `headers may not have ${short(key)}`;
  }
  const { set = {}, add = [], remove = [] } = value;
  if (!isRecord(set)) return 'headers.set is not an object';
  const pairsSet = checkPairs(Object.entries(set), 'headers.set');
  if (typeof pairsSet === 'string') return pairsSet;
  const pairsAdd = checkPairs(add, 'headers.add');
  if (typeof pairsAdd === 'string') return pairsAdd;
  if (!Array.isArray(remove)) return 'headers.remove is not a list';
  if (pairsSet.length + pairsAdd.length + remove.length > maxChanges) return `more than ${maxChanges} header changes`;
  const removed: string[] = [];
  for (const name of remove as readonly unknown[]) {
    if (typeof name !== 'string') return 'headers.remove has what is not a text';
    const problem = headerNameProblem(name);
    if (problem !== undefined) return `headers.remove: ${short(name)} ${problem}`;
    removed.push(name.toLowerCase());
  }
  return { set: pairsSet, add: pairsAdd, remove: removed };
}

function checkPairs(value: unknown, where: string): (readonly [string, string])[] | string {
  if (!Array.isArray(value)) return `${where} is not a list`;
  if (value.length > maxChanges) return `${where} has more than ${maxChanges} headers`;
  const pairs: (readonly [string, string])[] = [];
  let bytes = 0;
  for (const pair of value as readonly unknown[]) {
    if (!Array.isArray(pair) || pair.length !== 2) return `${where} has what is not a pair of name and value`;
    const [name, text] = pair as readonly unknown[];
    if (typeof name !== 'string' || typeof text !== 'string') return `${where} has what is not a text`;
    const problem = headerNameProblem(name);
    if (problem !== undefined) return `${where}: ${short(name)} ${problem}`;
    if (text.length > maxHeaderValue || /[^\t\x20-\x7e\x80-\xff]/.test(text))
      return `${where}: the value of ${short(name)} is too long or has a character that no header may have`;
    bytes += name.length + text.length;
    if (bytes > maxChangeBytes) return `${where} is longer than ${maxChangeBytes} bytes`;
    pairs.push([name, text]);
  }
  return pairs;
}

function checkRespond(value: unknown): LocalAnswer | string {
  if (!isRecord(value)) return 'respond is not an object';
  for (const key of Object.keys(value)) {
    if (key !== 'status' && key !== 'headers' && key !== 'body') return `respond may not have ${short(key)}`;
  }
  const { status, headers = [], body = '' } = value;
  if (!isStatus(status)) return 'respond.status is not a number from 200 to 599';
  if (typeof body !== 'string' || Buffer.byteLength(body) > maxReplyBytes)
    return `respond.body is not a text of at most ${maxReplyBytes} bytes`;
  if (body !== '' && bodyless.has(status)) return `respond.status ${status} has no body`;
  const pairs = checkPairs(headers, 'respond.headers');
  return typeof pairs === 'string' ? pairs : { status, headers: pairs.flat(), body };
}

function isStatus(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 200 && (value as number) <= 599;
}

function isBodyMode(value: unknown): value is BodyMode {
  return value === 'change' || value === 'inspect' || value === 'hold' || value === 'skip';
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

/** For a log line, whoever chose the text. */
function short(text: string): string {
  return JSON.stringify(text.slice(0, 60));
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?');
}
