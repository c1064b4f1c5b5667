/**
 * One file of a configuration folder: Kubernetes objects (a `List` is opened) or ztunnel's local file. When a version of
 * a file has errors, what was good before stays in force: the whole file if it cannot be read to its end, else each
 * broken object by itself.
 */
import { type Diagnostic, hasErrors } from '../base/diagnostics.ts';
import { type Shared, sharedTexts } from '../base/shared.ts';
import { completed } from '../base/slices.ts';
import { trimmed } from '../base/trimmed.ts';
import { checkObject } from '../compile/inputs.ts';
import { meshConfigKind } from '../compile/mesh-config.ts';
import { type ConfigObject, documentOf, objectGroup, objectName, readObject } from '../compile/object.ts';
import type { PlainFile } from '../config/plain-file.ts';
import { type YamlDocument, yamlSteps } from '../config/yaml.ts';
import type { MeshModel } from '../mesh/diff.ts';
import { folderDiagnostic } from './codes.ts';
import { readJsonDocuments } from './json-documents.ts';
import { isLocalFile, readLocalFile } from './local-file.ts';

export interface ConfigFile {
  readonly objects: readonly ConfigObject[];
  readonly models: readonly MeshModel[];
  /** What is wrong with this version beyond what compiling its objects tells. */
  readonly diagnostics: readonly Diagnostic[];
  /** Its documents, for the next version. */
  readonly plain: PlainFile | undefined;
}

/**
 * `previous`: what is in force from this file until now; undefined on first sight. `asRead`: what a document without a
 * kind of its own is meant to be.
 */
export function readConfigFile(
  text: string,
  file: string,
  previous: ConfigFile | undefined,
  asRead: (document: YamlDocument) => YamlDocument = unchanged,
): ConfigFile {
  return completed(configFileSteps(text, file, previous, sharedTexts(), asRead));
}

/** Yields where it may pause. Objects of documents that have not changed, nor moved, stay the same objects. */
export function* configFileSteps(
  text: string,
  file: string,
  previous: ConfigFile | undefined,
  texts: Shared<string>,
  asRead: (document: YamlDocument) => YamlDocument = unchanged,
): Generator<undefined, ConfigFile> {
  const json = readJsonDocuments(text, file);
  const {
    documents,
    diagnostics: syntax,
    plain,
  } = json === undefined
    ? yield* yamlSteps(text, file, undefined, matchTags, previous?.plain, texts)
    : { documents: json, diagnostics: [], plain: undefined };
  if (hasErrors(syntax)) return keepAll(file, previous, syntax);
  const diagnostics: Diagnostic[] = [...syntax];
  const objects: ConfigObject[] = [];
  const models: MeshModel[] = [];
  let unknown = false;
  const known = objectsByDocument(previous);
  for (const document of documents) {
    const same = known.get(document);
    if (same !== undefined) {
      objects.push(same);
      continue;
    }
    const read = asRead === unchanged ? readOnce(document) : readDocument(document, asRead);
    diagnostics.push(...read.diagnostics);
    objects.push(...read.objects);
    models.push(...read.models);
    unknown ||= read.unknown;
    yield;
  }
  // Something without a name may be a new version of anything: nothing may be taken as removed.
  if (unknown && previous !== undefined) return keepAll(file, previous, diagnostics);
  const before = new Map(previous?.objects.map((object) => [identityOf(object), object]));
  const kept: ConfigObject[] = [];
  for (const object of objects) {
    const problems = checkObject(object);
    yield;
    const good = hasErrors(problems) ? before.get(identityOf(object)) : undefined;
    if (good === undefined || hasErrors(checkObject(good))) {
      kept.push(object);
      continue;
    }
    const position = object.at([]) ?? { file, line: 1, column: 1 };
    const message = 'the earlier version stays in force';
    diagnostics.push(...problems, folderDiagnostic('LAST_GOOD_KEPT', message, position, objectName(object)));
    kept.push(good);
  }
  return { objects: kept, models, diagnostics, plain };
}

interface DocumentRead {
  readonly objects: readonly ConfigObject[];
  readonly models: readonly MeshModel[];
  readonly diagnostics: readonly Diagnostic[];
  /** Of something in it not even the name can be told. */
  readonly unknown: boolean;
}

/** Documents that are more than one object that can be read. */
const readBefore = new WeakMap<YamlDocument, DocumentRead>();

function readOnce(document: YamlDocument): DocumentRead {
  const known = readBefore.get(document);
  if (known !== undefined) return known;
  const read = readDocument(document);
  const [object] = read.objects;
  const isObject = object !== undefined && documentOf(object) === document && read.diagnostics.length === 0;
  if (!isObject) readBefore.set(document, read);
  return read;
}

/** Objects that are all there is in a document. */
function objectsByDocument(file: ConfigFile | undefined): ReadonlyMap<YamlDocument, ConfigObject> {
  const found = new Map<YamlDocument, ConfigObject>();
  for (const object of file?.objects ?? []) {
    const document = documentOf(object);
    if (document !== undefined) found.set(document, object);
  }
  return found;
}

function readDocument(document: YamlDocument, asRead = unchanged): DocumentRead {
  const objects: ConfigObject[] = [];
  const models: MeshModel[] = [];
  const diagnostics: Diagnostic[] = [];
  let unknown = false;
  for (const one of openList(document).map(asRead)) {
    if (isLocalFile(one.value)) {
      const local = readLocalFile(one);
      diagnostics.push(...local.diagnostics);
      if (local.kind === 'model') models.push(local.model);
      else unknown = true;
      continue;
    }
    const read = readObject(one);
    diagnostics.push(...read.diagnostics);
    if (read.value === undefined) unknown = true;
    else objects.push(read.value);
  }
  return { objects: trimmed(objects), models: trimmed(models), diagnostics: trimmed(diagnostics), unknown };
}

/** A file that cannot be read now, for whatever reason. */
export function keepAll(
  file: string,
  previous: ConfigFile | undefined,
  diagnostics: readonly Diagnostic[],
): ConfigFile {
  if (previous === undefined) return { objects: [], models: [], diagnostics, plain: undefined };
  const message = 'the earlier content of the file stays in force';
  const kept = folderDiagnostic('LAST_GOOD_KEPT', message, { file, line: 1, column: 1 });
  return {
    objects: previous.objects,
    models: previous.models,
    diagnostics: [...diagnostics, kept],
    plain: previous.plain,
  };
}

/** Whether something that was in the file is not in it any more. */
export function losesObjects(before: ConfigFile, after: ConfigFile): boolean {
  const left = new Set(after.objects.map(identityOf));
  return before.objects.some((object) => !left.has(identityOf(object))) || after.models.length < before.models.length;
}

/** A file with nothing but a mesh configuration in it, or an object that has one. */
export function asMeshConfig(document: YamlDocument): YamlDocument {
  const { value } = document;
  if (typeof value === 'object' && value !== null && 'kind' in value) return document;
  return {
    value: { ...meshConfigKind, metadata: { name: 'mesh' }, spec: value },
    at: (path) => document.at(path[0] === 'spec' ? path.slice(1) : []),
  };
}

function unchanged(document: YamlDocument): YamlDocument {
  return document;
}

function identityOf(object: ConfigObject): string {
  return `${objectGroup(object)}/${object.kind}/${object.metadata.namespace}/${object.metadata.name}`;
}

function openList(document: YamlDocument): readonly YamlDocument[] {
  const { value } = document;
  if (typeof value !== 'object' || value === null || !('kind' in value) || value.kind !== 'List') return [document];
  const items: readonly unknown[] = 'items' in value && Array.isArray(value.items) ? value.items : [];
  return items.map((item, i) => ({ value: item, at: (path) => document.at(['items', i, ...path]) }));
}

/** `!Exact x` reads as `{Exact: x}`. */
const matchTags = [
  ...['Exact', 'Prefix', 'Suffix'].map((name) => ({ tag: `!${name}`, resolve: (text: string) => ({ [name]: text }) })),
  { tag: '!Presence', resolve: () => ({ Presence: [] }) },
  { tag: '!Presence', collection: 'seq' as const, resolve: () => ({ Presence: [] }) },
];
