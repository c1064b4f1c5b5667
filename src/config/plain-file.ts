/**
 * The documents of one version of a file that were read without the library. What is kept of them is the file's text: once an
 * object is parsed nobody looks at its values, and they are half of what a large folder takes. They are read again where they
 * are asked for, and positions are looked for where something is wrong.
 *
 * I1: a document says what it said when it was first read, whatever became of its file since.
 */
import type { SourcePosition } from '../base/diagnostics.ts';
import type { Shared } from '../base/shared.ts';
import { readPlainYaml } from './plain-yaml.ts';
import { partsOf, type YamlPart } from './yaml-parts.ts';

export type YamlPath = readonly (string | number)[];

export interface YamlDocument {
  readonly value: unknown;
  /** Position of the value at the path, or of the nearest value around it that exists. */
  at(path: YamlPath): SourcePosition;
}

export class PlainFile {
  readonly #text: string;
  readonly #find: (part: YamlPart, path: YamlPath) => SourcePosition;
  readonly #documents: PlainDocument[] = [];
  /** Both by the first line of the document. */
  #texts: WeakRef<Map<number, string>> | undefined;
  #values: WeakRef<Map<number, object>> | undefined;

  /** `find`: the slow way to a position in a part that is YAML. */
  constructor(text: string, find: (part: YamlPart, path: YamlPath) => SourcePosition) {
    this.#text = text;
    this.#find = find;
  }

  /** By their first line: those that can be taken into the next version where its text at that line is the same. */
  earlier(): (part: YamlPart) => PlainDocument | undefined {
    const texts = this.#textsNow();
    const documents = new Map(this.#documents.map((document) => [document.line, document]));
    return ({ line, text }) => (texts.get(line) === text ? documents.get(line) : undefined);
  }

  /** Undefined: it is not plain; the library is to read it. Null: there is nothing in it. */
  read(part: YamlPart, texts: Shared<string>): PlainDocument | null | undefined {
    const plain = readPlainYaml(part.text, texts);
    if (plain === undefined) return undefined;
    if (plain.value === null) return null;
    this.#valuesNow().set(part.line, plain.value);
    const document = new PlainDocument(this, part.line);
    this.#documents.push(document);
    return document;
  }

  /** A document of an earlier version, whose text at its line is the same in this one. */
  take(document: PlainDocument): void {
    document.moveTo(this);
    this.#documents.push(document);
  }

  /** Of the document that begins at the line. */
  valueAt(line: number): object {
    const values = this.#valuesNow();
    const kept = values.get(line);
    if (kept !== undefined) return kept;
    const again = readPlainYaml(this.#textAt(line))?.value as object;
    values.set(line, again);
    return again;
  }

  positionAt(line: number, path: YamlPath): SourcePosition {
    return this.#find({ line, text: this.#textAt(line) }, path);
  }

  #textAt(line: number): string {
    return this.#textsNow().get(line) as string;
  }

  #textsNow(): Map<number, string> {
    let texts = this.#texts?.deref();
    if (texts === undefined) {
      texts = new Map(partsOf(this.#text).map((part) => [part.line, part.text]));
      this.#texts = new WeakRef(texts);
    }
    return texts;
  }

  #valuesNow(): Map<number, object> {
    let values = this.#values?.deref();
    if (values === undefined) {
      values = new Map();
      this.#values = new WeakRef(values);
    }
    return values;
  }
}

class PlainDocument implements YamlDocument {
  #file: PlainFile;
  readonly line: number;
  #found: Map<string, SourcePosition> | undefined;

  constructor(file: PlainFile, line: number) {
    this.#file = file;
    this.line = line;
  }

  get value(): unknown {
    return this.#file.valueAt(this.line);
  }

  at(path: YamlPath): SourcePosition {
    this.#found ??= new Map();
    return this.#found.getOrInsertComputed(JSON.stringify(path), () => this.#file.positionAt(this.line, path));
  }

  moveTo(file: PlainFile): void {
    this.#file = file;
  }
}
