/** The words of an expression (CEL language definition, "Syntax"). Problems are values with the place they are at. */

export interface Token {
  readonly kind: 'identifier' | 'int' | 'double' | 'string' | 'symbol' | 'end';
  /** A string's content, without quotes and escapes. */
  readonly text: string;
  readonly at: number;
}

export interface SyntaxProblem {
  readonly problem: string;
  readonly at: number;
}

const words =
  /\s+|\/\/[^\n]*|(?<identifier>[A-Za-z_][A-Za-z0-9_]*)|(?<double>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)|(?<int>0[xX][0-9a-fA-F]+[uU]?|\d+[uU]?)|(?<symbol>&&|\|\||[=!<>]=|[-+*/%<>!?:.,()[\]{}])/y;
const rawString = /[rR]?(?:"""[\s\S]*?"""|'''[\s\S]*?'''|"[^"\n]*"|'[^'\n]*')/y;
const escapedString =
  /"""(?:[^\\]|\\[\s\S])*?"""|'''(?:[^\\]|\\[\s\S])*?'''|"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*'/y;

export function tokensOf(source: string): readonly Token[] | SyntaxProblem {
  const tokens: Token[] = [];
  let at = 0;
  while (at < source.length) {
    const string = stringAt(source, at);
    if (string !== undefined) {
      const text = string.raw ? string.body : unescaped(string.body);
      if (text === undefined) return { problem: 'an escape in a string that is none', at };
      tokens.push({ kind: 'string', text, at });
      at = string.end;
      continue;
    }
    words.lastIndex = at;
    const match = words.exec(source);
    if (match === null) return { problem: `unexpected ${JSON.stringify(source[at])}`, at };
    const found = Object.entries(match.groups ?? {}).find(([, text]) => text !== undefined);
    if (found !== undefined) tokens.push({ kind: found[0] as Token['kind'], text: found[1] as string, at });
    at = words.lastIndex;
  }
  tokens.push({ kind: 'end', text: '', at });
  return tokens;
}

function stringAt(source: string, at: number) {
  const raw = /[rR]/.test(source[at] ?? '') && /["']/.test(source[at + 1] ?? '');
  if (!raw && !/["']/.test(source[at] ?? '')) return undefined;
  const form = raw ? rawString : escapedString;
  form.lastIndex = at;
  const text = form.exec(source)?.[0];
  if (text === undefined) return undefined;
  const quoted = raw ? text.slice(1) : text;
  const quotes = /^("""|''')/.test(quoted) ? 3 : 1;
  return { raw, body: quoted.slice(quotes, -quotes), end: at + text.length };
}

const plain: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  "'": "'",
  '"': '"',
  '`': '`',
  '?': '?',
};

function unescaped(body: string): string | undefined {
  let good = true;
  const text = body.replace(
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|([\s\S]))/g,
    (_all, x?: string, u?: string, long?: string, octal?: string, one?: string) => {
      const code = x ?? u ?? long;
      const point =
        code !== undefined ? Number.parseInt(code, 16) : octal !== undefined ? Number.parseInt(octal, 8) : -1;
      if (point >= 0 && point <= 0x10ffff) return String.fromCodePoint(point);
      const known = one === undefined ? undefined : plain[one];
      good &&= known !== undefined;
      return known ?? '';
    },
  );
  return good ? text : undefined;
}
