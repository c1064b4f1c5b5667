/**
 * YAML (and JSON, which is YAML) with the position of every value, for configuration that a user wrote. Bounded: size,
 * depth, number of documents and what aliases may expand to. Never throws on content; what is wrong is a diagnostic.
 */
import { type Document, isCollection, isNode, LineCounter, parseAllDocuments, type Tags } from 'yaml';
import type { Diagnostic, SourcePosition } from '../base/diagnostics.ts';

export type YamlPath = readonly (string | number)[];

export interface YamlDocument {
  readonly value: unknown;
  /** Position of the value at the path, or of the nearest value around it that exists. */
  at(path: YamlPath): SourcePosition;
}

export interface YamlLimits {
  readonly bytes: number;
  readonly documents: number;
  readonly aliases: number;
}

export const defaultYamlLimits: YamlLimits = { bytes: 16 << 20, documents: 50_000, aliases: 1_000 };

export const yamlCodes = {
  YAML_SYNTAX: 'the text is not valid YAML; nothing of the file is used',
  YAML_TOO_LARGE: 'the file is larger, deeper or has more documents or aliases than the limits allow',
} as const;

export interface YamlFile {
  /** Empty when there is any diagnostic: half a file is not what the user meant. Empty documents are left out. */
  readonly documents: readonly YamlDocument[];
  readonly diagnostics: readonly Diagnostic[];
}

/** `file` is what diagnostics call it. `tags`: what to do with application tags such as `!Exact`. */
export function parseYaml(
  text: string,
  file: string,
  limits: YamlLimits = defaultYamlLimits,
  tags: Tags = [],
): YamlFile {
  if (text.length > limits.bytes) return tooLarge(file, `larger than ${limits.bytes} bytes`);
  const lines = new LineCounter();
  const position = (offset: number): SourcePosition => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(1, line), column: Math.max(1, col) };
  };
  try {
    const parsed = parseAllDocuments(text, {
      lineCounter: lines,
      customTags: tags,
      prettyErrors: false,
      logLevel: 'silent',
    });
    if (parsed.length > limits.documents) return tooLarge(file, `more than ${limits.documents} documents`);
    const diagnostics: Diagnostic[] = [];
    const documents: YamlDocument[] = [];
    for (const document of Array.isArray(parsed) ? parsed : []) {
      for (const problem of [...document.errors, ...document.warnings]) {
        const { message, pos } = problem;
        diagnostics.push({ severity: 'error', code: 'YAML_SYNTAX', message, position: position(pos[0]) });
      }
      if (document.errors.length > 0) continue;
      const value: unknown = document.toJS({ maxAliasCount: limits.aliases });
      if (value !== null && value !== undefined)
        documents.push({ value, at: (path) => position(offsetOf(document, path)) });
    }
    return { documents: diagnostics.length > 0 ? [] : documents, diagnostics };
  } catch (error) {
    // The parser recurses and resolves aliases: too deep is a RangeError, too many aliases a ReferenceError.
    if (error instanceof RangeError) return tooLarge(file, 'nested too deeply');
    if (error instanceof ReferenceError)
      return tooLarge(file, `aliases expand too far or point nowhere: ${error.message}`);
    throw error;
  }
}

function tooLarge(file: string, what: string): YamlFile {
  const position = { file, line: 1, column: 1 };
  return {
    documents: [],
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
