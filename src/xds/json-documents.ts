/**
 * Large files of nothing but JSON, which programs write: read by the engine's own parser, some hundred times as fast as
 * YAML with positions and without its memory. Positions are found when something is wrong, by reading the file as YAML.
 */
import { defaultYamlLimits, parseYaml, type YamlDocument } from '../config/yaml.ts';

/** Below that a person may have written it, and is told of keys that are there twice, which only YAML's parser sees. */
const smallestLength = 64 << 10;

/** Undefined: small, too large, or not only JSON; YAML's parser is to tell. Empty documents are left out, as there. */
export function readJsonDocuments(text: string, file: string): readonly YamlDocument[] | undefined {
  if (text.length < smallestLength || text.length > defaultYamlLimits.bytes) return undefined;
  // A line end inside of a JSON string is written as an escape, so this can only stand between two documents.
  const parts = text.split(/^---[ \t]*$/m).filter((part) => part.trim() !== '');
  if (parts.length > defaultYamlLimits.documents) return undefined;
  const values: unknown[] = [];
  for (const part of parts) {
    const parsed = parseJson(part);
    if (parsed === undefined) return undefined;
    if (parsed.value !== null) values.push(parsed.value);
  }
  let positioned: readonly YamlDocument[] | undefined;
  return values.map((value, i) => ({
    value,
    at(path) {
      positioned ??= parseYaml(text, file).documents;
      return positioned[i]?.at(path) ?? { file, line: 1, column: 1 };
    },
  }));
}

function parseJson(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}
