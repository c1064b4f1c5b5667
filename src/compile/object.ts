/**
 * A user's object as every source hands it over: identified, with its raw content and the way back to where it was
 * written. Objects are immutable and compared by identity: an unchanged object must stay the same object, or it is
 * parsed again.
 */
import * as z from 'zod';
import type { Diagnostic, SourcePosition } from '../base/diagnostics.ts';
import { Shared } from '../base/shared.ts';
import { trimmed } from '../base/trimmed.ts';
import type { YamlDocument } from '../config/yaml.ts';
import { type CompileCode, compileCodes } from './codes.ts';

export type Path = readonly (string | number)[];

const paths = new Shared<Path>({ most: 4096, longest: 64 });

/** One list for paths that are equal: thousands of routes have their rules at the same places. Only names of our own and numbers. */
export function sharedPath(...path: Path): Path {
  return paths.of(path.join('/'), path);
}

export interface ObjectMetadata {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch; 0 when unknown, which counts as oldest. */
  readonly createdMs: number;
  readonly deleting: boolean;
}

export interface ConfigObject {
  readonly kind: string;
  readonly apiVersion: string;
  readonly metadata: ObjectMetadata;
  /** May be read anew from its text each time: for parsing it once. */
  readonly content: Readonly<Record<string, unknown>>;
  /** Where the value at the path was written; undefined when the object did not come from a file. */
  at(path: Path): SourcePosition | undefined;
}

/** A parsed object: what it says, and what is wrong with it. */
export interface Parsed<T> {
  /** Undefined: unusable as a whole. */
  readonly value: T | undefined;
  readonly diagnostics: readonly Diagnostic[];
}

/** Kinds without a namespace. Everything else without one is in `default`. */
const clusterScoped = new Set(['Namespace', 'Node', 'GatewayClass']);

const objectSchema = z.looseObject({
  apiVersion: z.string().min(1),
  kind: z.string().min(1),
  metadata: z.looseObject({
    name: z.string().min(1).max(253),
    namespace: z
      .string()
      .regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, 'not a name of a namespace')
      .optional(),
    labels: z.record(z.string(), z.string()).nullish(),
    annotations: z.record(z.string(), z.string()).nullish(),
    creationTimestamp: z.union([z.string(), z.date()]).nullish(),
    deletionTimestamp: z.unknown().optional(),
  }),
});

/** Reads one object out of a document, whose value is asked for again whenever the object's content is. */
export function readObject(document: YamlDocument): Parsed<ConfigObject> {
  const result = objectSchema.safeParse(document.value);
  if (result.success) return { value: new DocumentObject(result.data, document), diagnostics: [] };
  return {
    value: undefined,
    diagnostics: result.error.issues.map((issue) => {
      const path = issue.path.filter((step) => typeof step !== 'symbol');
      const message = `${path.join('.')}: ${issue.message}`;
      return makeDiagnostic('OBJECT_NOT_KUBERNETES', message, document.at(path), undefined);
    }),
  };
}

class DocumentObject implements ConfigObject {
  readonly kind: string;
  readonly apiVersion: string;
  readonly metadata: ObjectMetadata;
  readonly #document: YamlDocument;

  constructor({ kind, apiVersion, metadata }: z.output<typeof objectSchema>, document: YamlDocument) {
    const { name, namespace, labels, annotations, creationTimestamp, deletionTimestamp } = metadata;
    const createdMs = creationTimestamp == null ? 0 : new Date(creationTimestamp).getTime();
    this.kind = kind;
    this.apiVersion = apiVersion;
    this.metadata = {
      name,
      namespace: clusterScoped.has(kind) ? '' : (namespace ?? 'default'),
      labels: labels ?? noTexts,
      annotations: annotations ?? noTexts,
      createdMs: Number.isNaN(createdMs) ? 0 : createdMs,
      deleting: deletionTimestamp != null,
    };
    this.#document = document;
  }

  static documentOf(object: ConfigObject): YamlDocument | undefined {
    return #document in object ? object.#document : undefined;
  }

  get content(): Readonly<Record<string, unknown>> {
    return this.#document.value as Readonly<Record<string, unknown>>;
  }

  at(path: Path): SourcePosition | undefined {
    return this.#document.at(path);
  }
}

/** What the object was read out of, where it is all of a document. */
export function documentOf(object: ConfigObject): YamlDocument | undefined {
  return DocumentObject.documentOf(object);
}

const noTexts: Readonly<Record<string, string>> = {};

/** `kind namespace/name`, as diagnostics name objects. */
export function objectName({ kind, metadata }: ConfigObject): string {
  return `${kind} ${metadata.namespace === '' ? '' : `${metadata.namespace}/`}${metadata.name}`;
}

/** API group of the object; empty for the core group. */
export function objectGroup({ apiVersion }: ConfigObject): string {
  const slash = apiVersion.indexOf('/');
  return slash < 0 ? '' : apiVersion.slice(0, slash);
}

export function diagnose(object: ConfigObject, code: CompileCode, message: string, path: Path = []): Diagnostic {
  return makeDiagnostic(code, message, object.at(path), objectName(object));
}

/** Older first, then by namespace and name: who wins among equals (Gateway API, conflict resolution). */
export function olderFirst(a: ConfigObject, b: ConfigObject): number {
  const [x, y] = [a.metadata, b.metadata];
  if (x.createdMs !== y.createdMs) return x.createdMs - y.createdMs;
  if (x.namespace === y.namespace) return x.name < y.name ? -1 : x.name > y.name ? 1 : 0;
  // As `namespace/name` reads: the slash counts, and one of them comes before it ends or differs.
  return `${x.namespace}/` < `${y.namespace}/` ? -1 : 1;
}

/** `namespace/name`. */
export function qualifiedName({ metadata }: ConfigObject): string {
  return `${metadata.namespace}/${metadata.name}`;
}

/** Parses with a schema; every issue becomes an OBJECT_INVALID at its place. */
export function parseContent<T extends z.ZodType>(object: ConfigObject, schema: T): Parsed<z.output<T>> {
  const result = schema.safeParse(object.content);
  if (result.success) return { value: result.data, diagnostics: [] };
  return { value: undefined, diagnostics: result.error.issues.map((issue) => issueDiagnostic(object, issue)) };
}

/** Keeps the parse of each object for as long as the object lives. */
export function perObject<T>(parse: (object: ConfigObject) => Parsed<T>): (object: ConfigObject) => Parsed<T> {
  const kept = new WeakMap<ConfigObject, Parsed<T>>();
  return (object) => {
    let parsed = kept.get(object);
    if (parsed === undefined) {
      const { value, diagnostics } = parse(object);
      parsed = { value, diagnostics: trimmed(diagnostics) };
      kept.set(object, parsed);
    }
    return parsed;
  };
}

function issueDiagnostic(object: ConfigObject, issue: z.core.$ZodIssue): Diagnostic {
  const path = issue.path.filter((step) => typeof step !== 'symbol');
  return diagnose(object, 'OBJECT_INVALID', `${path.join('.')}: ${issue.message}`, path);
}

function makeDiagnostic(
  code: CompileCode,
  message: string,
  position: SourcePosition | undefined,
  object: string | undefined,
): Diagnostic {
  return {
    severity: compileCodes[code].severity,
    code,
    message,
    ...(position === undefined ? {} : { position }),
    ...(object === undefined ? {} : { object }),
  };
}
