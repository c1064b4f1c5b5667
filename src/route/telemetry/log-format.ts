/**
 * Access log formats in Envoy's language (https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage),
 * compiled once: a line is then put together from pieces.
 *
 * I1: text that came from peers cannot end a line, leave its quotation marks or steer a terminal: it is escaped, and at most
 * 4 KiB of one value are written.
 */
import type { TrafficFacts } from './facts.ts';
import { formatOperator, type LogValue } from './log-operators.ts';

export interface LogFormat {
  readonly kind: 'text' | 'json';
  /** With its end. */
  line(facts: TrafficFacts): string;
}

/** A piece of a format: text as it stands, or what is read from the facts. */
export type Piece = string | ((facts: TrafficFacts) => LogValue);

export interface FormatProblem {
  readonly problem: string;
}

const longestFormat = 16 * 1024;
const longestValue = 4096;

export function textFormat(source: string): LogFormat | FormatProblem {
  const pieces = formatPieces(source);
  return 'problem' in pieces ? pieces : { kind: 'text', line: (facts) => textOf(pieces, facts) };
}

export function textOf(pieces: readonly Piece[], facts: TrafficFacts): string {
  let line = '';
  for (const piece of pieces) line += typeof piece === 'string' ? piece : textValue(piece(facts));
  return line;
}

/** `%REQ(A?B):10%`, `%%`, and text between. */
export function formatPieces(source: string): readonly Piece[] | FormatProblem {
  if (source.length > longestFormat) return { problem: `longer than ${longestFormat} characters` };
  const pieces: Piece[] = [];
  const add = (piece: Piece) => {
    const last = pieces.at(-1);
    if (typeof piece === 'string' && typeof last === 'string') pieces[pieces.length - 1] = last + piece;
    else if (piece !== '') pieces.push(piece);
  };
  let at = 0;
  for (;;) {
    const percent = source.indexOf('%', at);
    if (percent < 0) {
      add(source.slice(at));
      return pieces;
    }
    add(source.slice(at, percent));
    if (source[percent + 1] === '%') {
      add('%');
      at = percent + 2;
      continue;
    }
    command.lastIndex = percent;
    const match = command.exec(source);
    if (match === null) return { problem: `not a command: ${source.slice(percent, percent + 60)}` };
    const [whole, name = '', argument, length] = match;
    const read = formatOperator(name, argument);
    if (typeof read === 'string') return { problem: `${whole}: ${read}` };
    add(length === undefined ? read : shortened(read, Number(length)));
    at = command.lastIndex;
  }
}

/** Brackets may stand inside the argument (`%CEL(size(request.path))%`), percent signs too (`%START_TIME(%Y)%`). */
const command = /%([A-Z][A-Z0-9_]*)(?:\(((?:[^%)]|\)(?!%|:\d+%)|%(?!$))*)\))?(?::(\d{1,5}))?%/y;

function shortened(read: (facts: TrafficFacts) => LogValue, length: number) {
  return (facts: TrafficFacts): LogValue => {
    const value = read(facts);
    return typeof value === 'string' ? value.slice(0, length) : value;
  };
}

function textValue(value: LogValue): string {
  if (value === undefined || value === '') return '-';
  if (typeof value !== 'string') return String(value);
  return escapedText(value);
}

/** Nearly all values hold nothing that must be escaped. */
export function escapedText(value: string): string {
  const text = value.length > longestValue ? value.slice(0, longestValue) : value;
  if (/^[ !#-[\]-~]*$/.test(text)) return text;
  return text.replace(/["\\]/g, '\\$&').replace(controls, escapedControl);
}

/** C0 and C1 controls, DEL, and Unicode's own line ends. */
const controls = /[\p{Cc}\u2028\u2029]/gu;

function escapedControl(c: string): string {
  return `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** A JSON text whose strings cannot steer a terminal either. */
export function jsonText(text: string): string {
  const short = text.length > longestValue ? text.slice(0, longestValue) : text;
  if (/^[ !#-[\]-~]*$/.test(short)) return `"${short}"`;
  return JSON.stringify(short).replace(controls, escapedControl);
}
