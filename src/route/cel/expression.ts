/**
 * Expressions compiled once into functions over what they are asked about (https://github.com/google/cel-spec). Names are
 * resolved, functions and patterns looked up here; a request only runs what is left.
 *
 * I1: whatever traffic says, an evaluation is total and takes time in proportion to the expression and its texts.
 */
import { functions, matcher, methods, negative, noOverload, operators } from './functions.ts';
import { type CelNode, parseCel } from './syntax.ts';
import type { SyntaxProblem } from './tokens.ts';
import { CelDouble, CelError, CelMap, type CelValue, isList } from './values.ts';

export type Evaluate<Facts> = (facts: Facts) => CelValue;

/** What names mean: `request.path` is looked up as a whole, `request.headers['a']` as the map `request.headers`. */
export type Attributes<Facts> = Readonly<Record<string, (facts: Facts) => CelValue | undefined>>;

export interface Expression<Facts> {
  readonly source: string;
  readonly evaluate: Evaluate<Facts>;
}

/** The expression, or what is wrong with it and where. */
export function compileExpression<Facts>(
  source: string,
  attributes: Attributes<Facts>,
): Expression<Facts> | SyntaxProblem {
  const tree = parseCel(source);
  if ('problem' in tree) return tree;
  const compiler = new Compiler(attributes);
  const evaluate = compiler.compile(tree);
  return compiler.problem ?? { source, evaluate };
}

/** Whether a filter lets pass: only what is certainly true does. */
export function holds<Facts>(expression: Expression<Facts>, facts: Facts): boolean {
  return expression.evaluate(facts) === true;
}

class Compiler<Facts> {
  readonly #attributes: Attributes<Facts>;
  problem: SyntaxProblem | undefined;

  constructor(attributes: Attributes<Facts>) {
    this.#attributes = attributes;
  }

  compile(node: CelNode): Evaluate<Facts> {
    switch (node.kind) {
      case 'literal': {
        const value = node.double ? new CelDouble(node.value as number) : node.value;
        return () => value;
      }
      case 'name':
      case 'select': {
        const path = pathOf(node);
        if (path !== undefined && Object.hasOwn(this.#attributes, path)) return this.#attribute(path);
        if (node.kind === 'select' && !this.#isUnknownName(path)) return this.#lookUp(node.of, () => node.field);
        return this.#refuse(`${path ?? 'this'} is not known`, node.at);
      }
      case 'index':
        return this.#lookUp(node.of, this.compile(node.key));
      case 'list': {
        const items = node.items.map((item) => this.compile(item));
        return (facts) => listOf(items.map((item) => item(facts)));
      }
      case 'unary': {
        const operand = this.compile(node.operand);
        if (node.operator === '-') return (facts) => negative(operand(facts));
        return (facts) => {
          const value = operand(facts);
          return typeof value === 'boolean' ? !value : noOverload([value]);
        };
      }
      case 'binary':
        return this.#binary(node);
      case 'choice': {
        const [condition, yes, no] = [this.compile(node.condition), this.compile(node.yes), this.compile(node.no)];
        return (facts) => {
          const value = condition(facts);
          return value === true ? yes(facts) : value === false ? no(facts) : noOverload([value]);
        };
      }
      case 'call':
        return this.#call(node);
    }
  }

  #attribute(path: string): Evaluate<Facts> {
    const attribute = this.#attributes[path] as (facts: Facts) => CelValue | undefined;
    return (facts) => attribute(facts) ?? new CelError(`${path} has no value`);
  }

  /** Part of a longer name that means nothing by itself: `request`, or `requst.path`. */
  #isUnknownName(path: string | undefined): boolean {
    if (path === undefined) return false;
    const names = Object.keys(this.#attributes);
    for (let prefix = path; prefix !== ''; prefix = prefix.slice(0, Math.max(0, prefix.lastIndexOf('.')))) {
      if (names.includes(prefix)) return false;
    }
    return true;
  }

  #lookUp(of: CelNode, keyOf: Evaluate<Facts>): Evaluate<Facts> {
    const holder = this.compile(of);
    return (facts) => {
      const [from, key] = [holder(facts), keyOf(facts)];
      if (from instanceof CelMap && typeof key === 'string') return from.get(key) ?? new CelError(`no ${key}`);
      if (isList(from) && typeof key === 'number') return from[key] ?? new CelError('index out of range');
      return noOverload([from, key]);
    };
  }

  #binary({ operator, left, right, at }: Extract<CelNode, { kind: 'binary' }>): Evaluate<Facts> {
    const [a, b] = [this.compile(left), this.compile(right)];
    if (operator === '&&' || operator === '||') {
      // What one side decides by itself stands, even if the other is an error.
      const decisive = operator === '||';
      return (facts) => {
        const first = a(facts);
        if (first === decisive) return decisive;
        const second = b(facts);
        if (second === decisive) return decisive;
        return typeof first === 'boolean' && typeof second === 'boolean' ? !decisive : noOverload([first, second]);
      };
    }
    const apply = operators[operator];
    if (apply === undefined) return this.#refuse(`${operator} is not known`, at);
    return (facts) => {
      const [x, y] = [a(facts), b(facts)];
      if (x instanceof CelError) return x;
      return y instanceof CelError ? y : apply(x, y);
    };
  }

  #call({ target, name, args, at }: Extract<CelNode, { kind: 'call' }>): Evaluate<Facts> {
    if (target === undefined && name === 'has') return this.#has(args, at);
    const all = target === undefined ? args : [target, ...args];
    const given = all.map((arg) => this.compile(arg));
    if (name === 'matches') {
      const [, pattern] = all;
      if (all.length !== 2 || pattern?.kind !== 'literal' || typeof pattern.value !== 'string') {
        return this.#refuse('matches needs a text and a pattern that is written out', at);
      }
      const test = matcher(pattern.value);
      if (test === undefined) return this.#refuse(`not a pattern of RE2: ${pattern.value.slice(0, 60)}`, at);
      return (facts) => test([given[0]?.(facts) ?? null]);
    }
    const known = target === undefined ? functions : methods;
    const signature = Object.hasOwn(known, name) ? known[name] : undefined;
    if (signature === undefined) return this.#refuse(`there is no ${name}()`, at);
    if (signature.args !== given.length) return this.#refuse(`${name}() does not take ${args.length} arguments`, at);
    return (facts) => {
      const values = given.map((arg) => arg(facts));
      for (const value of values) if (value instanceof CelError) return value;
      return signature.call(values);
    };
  }

  /** Whether there is such a part: `has(request.headers.cookie)`, and `has(request.headers['x-a'])` as Envoy's users write it. */
  #has(args: readonly CelNode[], at: number): Evaluate<Facts> {
    const [arg] = args;
    if (args.length !== 1 || (arg?.kind !== 'select' && arg?.kind !== 'index')) {
      return this.#refuse('has() takes one part of something', at);
    }
    const value = this.compile(arg);
    return (facts) => !(value(facts) instanceof CelError);
  }

  #refuse(problem: string, at: number): Evaluate<Facts> {
    this.problem ??= { problem, at };
    return () => new CelError(problem);
  }
}

/** `a.b.c`, when it is nothing but names. */
function pathOf(node: CelNode): string | undefined {
  if (node.kind === 'name') return node.name;
  if (node.kind !== 'select') return undefined;
  const of = pathOf(node.of);
  return of === undefined ? undefined : `${of}.${node.field}`;
}

function listOf(items: readonly CelValue[]): CelValue {
  return items.find((item) => item instanceof CelError) ?? items;
}
