/**
 * YAML (and JSON, which is YAML) with the position of every value, for configuration that a user wrote. Bounded: size,
 * depth, number of documents and what aliases may expand to. Never throws on content; what is wrong is a diagnostic.
 */
import { type Document, isCollection, isNode, LineCounter, parseAllDocuments, type Tags } from 'yaml';
import type { Diagnostic, SourcePosition } from '../base/diagnostics.ts';
import { type Shared, sharedTexts } from '../base/shared.ts';
import { completed } from '../base/slices.ts';
import { PlainFile, type YamlDocument, type YamlPath } from './plain-file.ts';
import { partsOf, type YamlPart } from './yaml-parts.ts';

export type { YamlDocument, YamlPath } from './plain-file.ts';

export interface YamlLimits {
  readonly bytes: number;
  readonly documents: number;
  readonly aliases: number;
}

export const defaultYamlLimits: YamlLimits = { bytes: 16 << 20, documents: 50_000, aliases: 1_000 };

export const yamlCodes = {
  YAML_SYNTAX: 'the text is not valid YAML, or its aliases expand too far; nothing of the file is used',
  YAML_TOO_LARGE: 'the file is larger, deeper or has more documents than the limits allow',
} as const;

export interface YamlFile {
  /** Empty when there is any diagnostic: half a file is not what the user meant. Empty documents are left out. */
  readonly documents: readonly YamlDocument[];
  readonly diagnostics: readonly Diagnostic[];
  /** For the next version of the file. */
  readonly plain: PlainFile | undefined;
}

/** `file` is what diagnostics call it. `tags`: what to do with application tags such as `!Exact`. */
export function parseYaml(
  text: string,
  file: string,
  limits: YamlLimits = defaultYamlLimits,
  tags: Tags = [],
): YamlFile {
  return completed(yamlSteps(text, file, limits, tags));
}

/**
 * Yields where it may pause. `before`: the version of the file before this one, whose unchanged documents stay the same objects
 * and are this one's from now on. `texts`: shared among all that is read at a time.
 */
export function* yamlSteps(
  text: string,
  file: string,
  limits: YamlLimits = defaultYamlLimits,
  tags: Tags = [],
  before?: PlainFile,
  texts: Shared<string> = sharedTexts(),
): Generator<undefined, YamlFile> {
  if (text.length > limits.bytes) return tooLarge(file, `larger than ${limits.bytes} bytes`);
  const parts = partsOf(text);
  if (parts.length > limits.documents) return tooLarge(file, `more than ${limits.documents} documents`);
  const diagnostics: Diagnostic[] = [];
  const documents: YamlDocument[] = [];
  const plain = new PlainFile(text, (part, path) => {
    const [document] = readByLibrary(part, file, limits, tags).documents;
    return document?.at(path) ?? { file, line: part.line, column: 1 };
  });
  const earlier = before?.earlier();
  for (const part of parts) {
    const last = earlier?.(part);
    if (last !== undefined) plain.take(last);
    const document = last ?? plain.read(part, texts);
    if (document === undefined) {
      const read = readByLibrary(part, file, limits, tags);
      diagnostics.push(...read.diagnostics);
      documents.push(...read.documents);
    } else if (document !== null) documents.push(document);
    yield;
  }
  if (documents.length > limits.documents) return tooLarge(file, `more than ${limits.documents} documents`);
  return { documents: diagnostics.length > 0 ? [] : documents, diagnostics, plain };
}

function readByLibrary(part: YamlPart, file: string, limits: YamlLimits, tags: Tags): Omit<YamlFile, 'plain'> {
  const lines = new LineCounter();
  const position = (offset: number): SourcePosition => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(1, line) + part.line - 1, column: Math.max(1, col) };
  };
  try {
    const parsed = parseAllDocuments(part.text, {
      lineCounter: lines,
      customTags: tags,
      prettyErrors: false,
      logLevel: 'silent',
    });
    if (parsed.length > limits.documents) return tooLarge(file, `more than ${limits.documents} documents`);
    const diagnostics: Diagnostic[] = [];
    const documents: YamlDocument[] = [];
    for (const document of Array.isArray(parsed) ? parsed : []) {
      for (const { message, pos } of [...document.errors, ...document.warnings]) {
        diagnostics.push(syntaxError(/call stack/.test(message) ? 'nested too deeply' : message, position(pos[0])));
      }
      if (document.errors.length > 0) continue;
      const value = toValue(document, limits);
      if (value.kind === 'problem') diagnostics.push(syntaxError(value.problem, position(offsetOf(document, []))));
      else if (value.value != null) {
        documents.push({ value: value.value, at: (path) => position(offsetOf(document, path)) });
      }
    }
    return { documents: diagnostics.length > 0 ? [] : documents, diagnostics };
  } catch (error) {
    if (error instanceof RangeError) return tooLarge(file, 'nested too deeply');
    throw error;
  }
}

function syntaxError(message: string, position: SourcePosition): Diagnostic {
  return { severity: 'error', code: 'YAML_SYNTAX', message, position };
}

/** The library throws a ReferenceError for an alias that points nowhere and for aliases that expand too far. */
function toValue(
  document: Document,
  limits: YamlLimits,
): { readonly kind: 'value'; readonly value: unknown } | { readonly kind: 'problem'; readonly problem: string } {
  try {
    return { kind: 'value', value: document.toJS({ maxAliasCount: limits.aliases }) };
  } catch (error) {
    if (error instanceof ReferenceError) return { kind: 'problem', problem: error.message };
    throw error;
  }
}

function tooLarge(file: string, what: string): YamlFile {
  const position = { file, line: 1, column: 1 };
  return {
    documents: [],
    plain: undefined,
    diagnostics: [{ severity: 'error', code: 'YAML_TOO_LARGE', message: `the file is ${what}`, position }],
  };
}

function offsetOf(document: Document, path: YamlPath): number {
  let node: unknown = document.contents;
  let offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
  for (const step of path) {
    if (!isCollection(node)) break;
    node = node.get(step, true);
    if (!isNode(node)) break;
    offset = node.range?.[0] ?? offset;
  }
  return offset;
}
