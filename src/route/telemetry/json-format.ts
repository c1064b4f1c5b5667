/**
 * Access log lines as JSON objects: each label a format. A label that is one command alone keeps its type, and is null without
 * a value, as at Envoy; in longer texts what is missing is `-`.
 */
import type { TrafficFacts } from './facts.ts';
import { type FormatProblem, formatPieces, jsonText, type LogFormat, type Piece, textOf } from './log-format.ts';
import type { LogValue } from './log-operators.ts';

/** What a user writes below `labels`. */
export type LabelTree = { readonly [key: string]: LabelTree | string | number | boolean | null };

type Write = (facts: TrafficFacts) => string;

const mostLabels = 200;
const deepest = 8;

export function jsonFormat(labels: LabelTree): LogFormat | FormatProblem {
  const budget = { left: mostLabels };
  const write = objectWriter(labels, budget, 0);
  return typeof write === 'function' ? { kind: 'json', line: (facts) => `${write(facts)}\n` } : write;
}

/** The labels apart, for exporters that have attributes of their own. */
export function labelReaders(
  labels: LabelTree,
): readonly (readonly [key: string, read: (facts: TrafficFacts) => LogValue])[] | FormatProblem {
  const readers: (readonly [string, (facts: TrafficFacts) => LogValue])[] = [];
  for (const [key, value] of Object.entries(labels).slice(0, mostLabels)) {
    if (typeof value !== 'string') {
      if (value === null || typeof value === 'object') return { problem: `${key}: must be a text` };
      readers.push([key, () => value]);
      continue;
    }
    const pieces = formatPieces(value);
    if ('problem' in pieces) return { problem: `${key}: ${pieces.problem}` };
    const [only] = pieces;
    readers.push([key, pieces.length === 1 && typeof only === 'function' ? only : (facts) => textOf(pieces, facts)]);
  }
  return readers;
}

function objectWriter(labels: LabelTree, budget: { left: number }, depth: number): Write | FormatProblem {
  if (depth > deepest) return { problem: `labels nested deeper than ${deepest}` };
  const writers: { readonly head: string; readonly write: Write }[] = [];
  for (const [key, value] of Object.entries(labels)) {
    if (--budget.left < 0) return { problem: `more than ${mostLabels} labels` };
    const write = valueWriter(value, budget, depth);
    if (typeof write !== 'function') return { problem: `${key}: ${write.problem}` };
    writers.push({ head: `${writers.length === 0 ? '' : ','}${jsonText(key)}:`, write });
  }
  return (facts) => {
    let text = '{';
    for (const { head, write } of writers) text += head + write(facts);
    return `${text}}`;
  };
}

function valueWriter(value: LabelTree[string], budget: { left: number }, depth: number): Write | FormatProblem {
  if (typeof value === 'object' && value !== null) return objectWriter(value, budget, depth + 1);
  if (typeof value !== 'string') {
    const text = JSON.stringify(value);
    return () => text;
  }
  const pieces = formatPieces(value);
  if ('problem' in pieces) return pieces;
  const [only] = pieces;
  if (pieces.length === 1 && typeof only === 'function') return (facts) => jsonValue(only(facts));
  return (facts) => jsonText(mixedText(pieces, facts));
}

/** Not escaped for text lines: JSON does that. */
function mixedText(pieces: readonly Piece[], facts: TrafficFacts): string {
  let text = '';
  for (const piece of pieces) text += typeof piece === 'string' ? piece : (piece(facts) ?? '-');
  return text;
}

function jsonValue(value: LogValue): string {
  if (value === undefined) return 'null';
  return typeof value === 'string' ? jsonText(value) : String(value);
}
