/**
 * An expression as a tree (CEL language definition, "Syntax"), without macros over lists, maps written out, bytes and
 * messages.
 *
 * I1: a tree is bounded in its length, depth and number of nodes: what a user writes cannot cost a request more.
 */
import { type SyntaxProblem, type Token, tokensOf } from './tokens.ts';

export type CelNode = { readonly at: number } & (
  | { readonly kind: 'literal'; readonly value: string | number | boolean | null; readonly double: boolean }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'select'; readonly of: CelNode; readonly field: string }
  | { readonly kind: 'index'; readonly of: CelNode; readonly key: CelNode }
  | {
      readonly kind: 'call';
      readonly target: CelNode | undefined;
      readonly name: string;
      readonly args: readonly CelNode[];
    }
  | { readonly kind: 'list'; readonly items: readonly CelNode[] }
  | { readonly kind: 'unary'; readonly operator: '!' | '-'; readonly operand: CelNode }
  | { readonly kind: 'binary'; readonly operator: BinaryOperator; readonly left: CelNode; readonly right: CelNode }
  | {
      readonly kind: 'choice';
      readonly condition: CelNode;
      readonly yes: CelNode;
      readonly no: CelNode;
    }
);

export type BinaryOperator = (typeof levels)[number][number];

const levels = [['||'], ['&&'], ['<', '<=', '>', '>=', '==', '!=', 'in'], ['+', '-'], ['*', '/', '%']] as const;

const longest = 4096;
const deepest = 48;
const mostNodes = 512;

/** The tree, or what is wrong and where. */
export function parseCel(source: string): CelNode | SyntaxProblem {
  if (source.length > longest) return { problem: `longer than ${longest} characters`, at: 0 };
  const tokens = tokensOf(source);
  if ('problem' in tokens) return tokens;
  try {
    return new Parser(tokens).whole();
  } catch (error) {
    if (error instanceof Unparsable) return { problem: error.message, at: error.at };
    throw error;
  }
}

/** Leaves the recursion; `parseCel` makes a value of it. */
class Unparsable extends Error {
  readonly at: number;
  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

class Parser {
  readonly #tokens: readonly Token[];
  #next = 0;
  #depth = 0;
  #nodes = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  whole(): CelNode {
    const node = this.#expression();
    if (this.#peek().kind !== 'end') this.#fail(`unexpected ${this.#peek().text}`);
    return node;
  }

  #expression(): CelNode {
    if (++this.#depth > deepest) this.#fail(`nested deeper than ${deepest}`);
    const condition = this.#binary(0);
    let node = condition;
    if (this.#takes('?')) {
      const yes = this.#expression();
      this.#expect(':');
      const no = this.#expression();
      node = this.#node({ kind: 'choice', condition, yes, no, at: condition.at });
    }
    this.#depth--;
    return node;
  }

  #binary(level: number): CelNode {
    const operators: readonly string[] | undefined = levels[level];
    if (operators === undefined) return this.#unary();
    let left = this.#binary(level + 1);
    for (;;) {
      const { text, kind, at } = this.#peek();
      if ((kind !== 'symbol' && text !== 'in') || kind === 'string' || !operators.includes(text)) return left;
      this.#next++;
      const right = this.#binary(level + 1);
      left = this.#node({ kind: 'binary', operator: text as BinaryOperator, left, right, at });
    }
  }

  #unary(): CelNode {
    const { at } = this.#peek();
    const operator = this.#takes('!') ? '!' : this.#takes('-') ? '-' : undefined;
    if (operator === undefined) return this.#member();
    if (++this.#depth > deepest) this.#fail(`nested deeper than ${deepest}`);
    const operand = this.#unary();
    this.#depth--;
    return this.#node({ kind: 'unary', operator, operand, at });
  }

  #member(): CelNode {
    let node = this.#primary();
    for (;;) {
      const { at } = this.#peek();
      if (this.#takes('.')) {
        const field = this.#take();
        if (field.kind !== 'identifier') this.#fail('a name must follow a dot', field.at);
        if (this.#takes('(')) {
          node = this.#node({ kind: 'call', target: node, name: field.text, args: this.#list(')'), at });
        } else node = this.#node({ kind: 'select', of: node, field: field.text, at });
      } else if (this.#takes('[')) {
        const key = this.#expression();
        this.#expect(']');
        node = this.#node({ kind: 'index', of: node, key, at });
      } else return node;
    }
  }

  #primary(): CelNode {
    const { kind, text, at } = this.#take();
    switch (kind) {
      case 'string':
        return this.#node({ kind: 'literal', value: text, double: false, at });
      case 'double':
        return this.#node({ kind: 'literal', value: Number(text), double: true, at });
      case 'int': {
        const value = Number(text.replace(/[uU]$/, ''));
        if (!Number.isSafeInteger(value)) this.#fail(`${text} is too large`, at);
        return this.#node({ kind: 'literal', value, double: false, at });
      }
      case 'identifier':
        return this.#named(text, at);
      case 'symbol':
        if (text === '(') {
          const node = this.#expression();
          this.#expect(')');
          return node;
        }
        if (text === '[') return this.#node({ kind: 'list', items: this.#list(']'), at });
        return this.#fail(`unexpected ${text}`, at);
      case 'end':
        return this.#fail('the expression ends too early', at);
    }
  }

  #named(text: string, at: number): CelNode {
    if (text === 'true' || text === 'false') {
      return this.#node({ kind: 'literal', value: text === 'true', double: false, at });
    }
    if (text === 'null') return this.#node({ kind: 'literal', value: null, double: false, at });
    if (!this.#takes('(')) return this.#node({ kind: 'name', name: text, at });
    return this.#node({ kind: 'call', target: undefined, name: text, args: this.#list(')'), at });
  }

  #list(end: ')' | ']'): CelNode[] {
    const items: CelNode[] = [];
    if (this.#takes(end)) return items;
    do items.push(this.#expression());
    while (this.#takes(','));
    this.#expect(end);
    return items;
  }

  #node(node: CelNode): CelNode {
    if (++this.#nodes > mostNodes) this.#fail(`more than ${mostNodes} parts`);
    return node;
  }

  #peek(): Token {
    return this.#tokens[this.#next] as Token;
  }

  #take(): Token {
    const token = this.#peek();
    if (token.kind !== 'end') this.#next++;
    return token;
  }

  #takes(symbol: string): boolean {
    const { kind, text } = this.#peek();
    if (kind !== 'symbol' || text !== symbol) return false;
    this.#next++;
    return true;
  }

  #expect(symbol: string): void {
    if (!this.#takes(symbol)) this.#fail(`${symbol} is missing`);
  }

  #fail(message: string, at = this.#peek().at): never {
    throw new Unparsable(message, at);
  }
}
