/**
 * A reader for the plain part of YAML in which almost all configuration is written: block mappings and sequences, flow
 * collections and scalars on one line, comments. Some thirty times as fast as the library and without its tree; it gives up
 * on whatever else there is, and the library reads that.
 *
 * I1: what it reads is what the library reads, without a warning (a property test compares them). When in doubt it gives up.
 */

import { type Shared, sharedTexts } from '../base/shared.ts';
import { trimmed } from '../base/trimmed.ts';

/** Undefined: not plain; the library is to read it. An empty document is null. `texts`: those of scalars. */
export function readPlainYaml(
  text: string,
  texts: Shared<string> = sharedTexts(),
): { readonly value: object | null } | undefined {
  if (strange.test(text)) return undefined;
  try {
    return { value: new Reader(text, texts).document() };
  } catch (error) {
    if (error instanceof NotPlain) return undefined;
    throw error;
  }
}

/** Tabs, carriage returns and characters that are no text: not worth their rules. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters looked for.
const strange = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]/;

const deepest = 64;
const key = /^(?:([A-Za-z_][A-Za-z0-9_./-]*)|'([^']*)'|"([^"\\]*)") *:(?: +(.*))?$/;
const flowKey = /^[A-Za-z_][A-Za-z0-9_./-]*$/;
const reserved = /^(?:~|null|Null|NULL|true|True|TRUE|false|False|FALSE)$/;

class NotPlain extends Error {}

interface Line {
  indent: number;
  text: string;
}

class Reader {
  readonly #lines: Line[] = [];
  readonly #texts: Shared<string>;
  #at = 0;

  constructor(text: string, texts: Shared<string>) {
    this.#texts = texts;
    for (const line of text.split('\n')) {
      const content = line.trimStart();
      if (content === '' || content.startsWith('#')) continue;
      this.#lines.push({ indent: line.length - content.length, text: content.trimEnd() });
    }
  }

  document(): object | null {
    const first = this.#lines[0];
    if (first === undefined) return null;
    const value = this.#node(first.indent, 0);
    if (this.#at < this.#lines.length) throw new NotPlain();
    // A block or a flow collection.
    return value as object;
  }

  /** The block, or the flow collection, that begins at the current line. */
  #node(indent: number, depth: number): unknown {
    if (depth > deepest) throw new NotPlain();
    const { text } = this.#line();
    if (isEntry(text)) return this.#sequence(indent, depth);
    if (key.test(text)) return this.#mapping(indent, depth);
    if (text.startsWith('{') || text.startsWith('[')) {
      this.#at++;
      return flowValue(text, depth, this.#texts);
    }
    throw new NotPlain();
  }

  #mapping(indent: number, depth: number): unknown {
    const found: Record<string, unknown> = {};
    for (;;) {
      const line = this.#lines[this.#at];
      if (line === undefined || line.indent < indent) return found;
      const match = line.indent === indent ? key.exec(line.text) : null;
      if (match === null) throw new NotPlain();
      this.#at++;
      const name = match[1] ?? match[2] ?? match[3] ?? '';
      const isReserved = match[1] !== undefined && reserved.test(name);
      if (isReserved || name === '__proto__' || Object.hasOwn(found, name)) throw new NotPlain();
      found[name] = this.#value(match[4] ?? '', indent, depth, true);
    }
  }

  #sequence(indent: number, depth: number): unknown {
    const found: unknown[] = [];
    for (;;) {
      const line = this.#lines[this.#at];
      if (line === undefined || line.indent < indent || (line.indent === indent && !isEntry(line.text))) {
        return trimmed(found);
      }
      if (line.indent !== indent) throw new NotPlain();
      const rest = line.text.slice(1).trimStart();
      if (rest !== '' && (key.test(rest) || isEntry(rest))) {
        // What follows the dash is a block of its own, indented by what stands before it.
        line.indent += line.text.length - rest.length;
        line.text = rest;
        found.push(this.#node(line.indent, depth + 1));
      } else {
        this.#at++;
        found.push(this.#value(rest, indent, depth, false));
      }
    }
  }

  /** What stands behind a key or a dash at `indent`; a sequence that is a value may stand as far left as its key. */
  #value(text: string, indent: number, depth: number, ofKey: boolean): unknown {
    const next = this.#lines[this.#at];
    const inner = next !== undefined && next.indent > indent;
    if (text === '' || text.startsWith('#')) {
      if (inner) return this.#node(next.indent, depth + 1);
      if (ofKey && next !== undefined && next.indent === indent && isEntry(next.text))
        return this.#sequence(indent, depth + 1);
      return null;
    }
    // A line further in would go on with what began here.
    if (inner) throw new NotPlain();
    return flowValue(text, depth, this.#texts);
  }

  #line(): Line {
    const line = this.#lines[this.#at];
    if (line === undefined) throw new NotPlain();
    return line;
  }
}

function isEntry(text: string): boolean {
  return text === '-' || text.startsWith('- ');
}

/** A scalar or a flow collection that is all of the text, but for a comment. */
function flowValue(text: string, depth: number, texts: Shared<string>): unknown {
  switch (text[0]) {
    case '{':
    case '[':
    case '"':
    case "'": {
      const flow = new Flow(text, depth, texts);
      const value = flow.value();
      flow.end();
      return value;
    }
    default: {
      const comment = text.indexOf(' #');
      return shared(plainScalar((comment < 0 ? text : text.slice(0, comment)).trimEnd()), texts);
    }
  }
}

function shared(value: unknown, texts: Shared<string>): unknown {
  return typeof value === 'string' ? texts.of(value, value) : value;
}

/** Of a block: it may have commas and brackets in it, but not begin with them. */
function plainScalar(text: string): unknown {
  if (!/^(?:[^-?:,[\]{}#&*!|>'"%@`\s]|-[^\s])/.test(text) || /:(?: |$)/.test(text)) throw new NotPlain();
  return resolved(text);
}

/** YAML 1.2, core schema. */
function resolved(text: string): unknown {
  switch (text) {
    case '~':
    case 'null':
    case 'Null':
    case 'NULL':
      return null;
    case 'true':
    case 'True':
    case 'TRUE':
      return true;
    case 'false':
    case 'False':
    case 'FALSE':
      return false;
  }
  if (!/^[-+.0-9]/.test(text)) return text;
  if (/^(?:0[ox]|[-+]?\.(?:inf|nan)|-0*(?:\.0*)?$)/i.test(text)) throw new NotPlain();
  if (!/^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/.test(text)) return text;
  const number = Number(text);
  if (!Number.isFinite(number) || (Number.isInteger(number) && !Number.isSafeInteger(number))) throw new NotPlain();
  return number;
}

class Flow {
  readonly #text: string;
  readonly #texts: Shared<string>;
  #at = 0;
  #depth: number;

  constructor(text: string, depth: number, texts: Shared<string>) {
    this.#text = text;
    this.#texts = texts;
    this.#depth = depth;
  }

  value(): unknown {
    switch (this.#text[this.#at]) {
      case '{':
        return this.#mapping();
      case '[':
        return this.#sequence();
      case '"':
      case "'":
        return shared(this.#quoted(), this.#texts);
      default:
        return shared(resolved(this.#plain()), this.#texts);
    }
  }

  /** Nothing may follow but a comment. */
  end(): void {
    const rest = this.#text.slice(this.#at);
    if (rest.trimStart() !== '' && !/^ +#/.test(rest)) throw new NotPlain();
  }

  #mapping(): unknown {
    const found: Record<string, unknown> = {};
    for (let more = this.#open('}'); more; more = this.#next('}')) {
      const isQuoted = this.#text[this.#at] === '"' || this.#text[this.#at] === "'";
      const name = isQuoted ? this.#quoted() : this.#plain();
      if (!isQuoted && (!flowKey.test(name) || reserved.test(name))) throw new NotPlain();
      this.#spaces();
      if (this.#text[this.#at] !== ':' || this.#text[this.#at + 1] !== ' ') throw new NotPlain();
      this.#at++;
      this.#spaces();
      if (name === '__proto__' || Object.hasOwn(found, name)) throw new NotPlain();
      found[name] = this.value();
    }
    return found;
  }

  #sequence(): unknown {
    const found: unknown[] = [];
    for (let more = this.#open(']'); more; more = this.#next(']')) found.push(this.value());
    return trimmed(found);
  }

  /** Whether there is a first item; the bracket is passed. */
  #open(close: string): boolean {
    if (++this.#depth > deepest) throw new NotPlain();
    this.#at++;
    this.#spaces();
    return this.#text[this.#at] !== close || this.#close();
  }

  /** Whether there is another item; between two of them there is a comma, and none behind the last. */
  #next(close: string): boolean {
    this.#spaces();
    const mark = this.#text[this.#at];
    if (mark === close) return this.#close();
    if (mark !== ',') throw new NotPlain();
    this.#at++;
    this.#spaces();
    return true;
  }

  #close(): false {
    this.#at++;
    this.#depth--;
    return false;
  }

  #quoted(): string {
    const pattern = this.#text[this.#at] === '"' ? /"(?:[^"\\]|\\["\\/bfnrt])*"/y : /'(?:[^']|'')*'/y;
    pattern.lastIndex = this.#at;
    const [found] = pattern.exec(this.#text) ?? [];
    if (found === undefined) throw new NotPlain();
    this.#at += found.length;
    return found.startsWith('"') ? (JSON.parse(found) as string) : found.slice(1, -1).replaceAll("''", "'");
  }

  /** Up to a flow indicator, or a colon that ends a key. */
  #plain(): string {
    const pattern = /[A-Za-z0-9_./*^$(~=;+<\\-](?:[^,[\]{}:#"'&!|>%@`?]|:(?![ ,[\]{}]|$)|(?<! )#)*/y;
    pattern.lastIndex = this.#at;
    const [found] = pattern.exec(this.#text) ?? [];
    if (found === undefined || /^(?:[*]|[-] )/.test(found) || found === '-') throw new NotPlain();
    this.#at += found.length;
    return found.trimEnd();
  }

  #spaces(): void {
    while (this.#text[this.#at] === ' ') this.#at++;
  }
}
