/** Expressions: what is understood, what they give, and that nothing traffic says makes them throw. */
import fc from 'fast-check';
import t from 'tap';
import { type Attributes, compileExpression, holds } from '../../../src/route/cel/expression.ts';
import { CelDouble, CelDuration, CelError, CelMap, type CelValue } from '../../../src/route/cel/values.ts';

interface Facts {
  readonly path: string;
  readonly code: number | undefined;
  readonly headers: Readonly<Record<string, string>>;
}

const attributes: Attributes<Facts> = {
  'request.path': ({ path }) => path,
  'request.headers': ({ headers }) => new CelMap((name) => (Object.hasOwn(headers, name) ? headers[name] : undefined)),
  'response.code': ({ code }) => code,
  'request.duration': () => new CelDuration(250),
};
const facts: Facts = { path: '/shop/cart?x=1', code: 503, headers: { 'x-a': 'one', cookie: 'c' } };

function value(source: string, from: Facts = facts): CelValue {
  const expression = compileExpression(source, attributes);
  if ('problem' in expression) throw new Error(`${source}: ${expression.problem}`);
  return expression.evaluate(from);
}

function problem(source: string): string | undefined {
  const expression = compileExpression(source, attributes);
  return 'problem' in expression ? expression.problem : undefined;
}

t.test('expressions of users give what the language says', async (t) => {
  const cases: [string, CelValue][] = [
    ['response.code >= 400', true],
    ['response.code == 503 && request.path.startsWith("/shop")', true],
    ["request.headers['x-a'] == 'one'", true],
    ["has(request.headers.cookie) && !has(request.headers['x-b'])", true],
    ["'x-a' in request.headers", true],
    ["request.headers['x-b'] == 'two' || response.code > 0", true],
    ["response.code > 0 || request.headers['x-b'] == 'two'", true],
    ["request.headers['x-b'] == 'two' && false", false],
    ['1 + 2 * 3 - 4', 3],
    ['7 / 2', 3],
    ['-7 / 2', -3],
    ['7 % 4', 3],
    ['-(1 + 2)', -3],
    ['!true', false],
    ['response.code in [500, 503]', true],
    ["true ? 'a' : 'b'", 'a'],
    ["false ? 'a' : false ? 'b' : 'c'", 'c'],
    ["request.duration > duration('100ms')", true],
    ["duration('1m') == duration('60s')", true],
    ["timestamp('2026-01-01T00:00:01Z') - timestamp('2026-01-01T00:00:00Z') == duration('1s')", true],
    ["'a' + string(1) + string(true)", 'a1true'],
    ['1 == 1.0', true],
    ["1 == '1'", false],
    ['[1, 2][1]', 2],
    ["request.path.matches('^/shop/[a-z]+')", true],
    ["'AbC'.lowerAscii()", 'abc'],
    ["size('äö')", 2],
    ["'a,b'.split(',')[1]", 'b'],
    ["int('42') + 1", 43],
    ["r'\\d' + \"\\t\" + '''x'''", '\\d\tx'],
    ["request.path.contains('cart') // why", true],
    ['0x10', 16],
    ["'a/b'.replace('/', '-')", 'a-b'],
  ];
  for (const [source, expected] of cases) t.same(value(source), expected, source);
  t.match(value('5.0 / 2.0'), new CelDouble(2.5));
});

t.test('what has no value is an error, and a filter lets only what is certainly true pass', async (t) => {
  for (const source of [
    "request.headers['x-b']",
    "request.headers['x-b'] == 'two'",
    "request.headers['x-b'] == 'two' || false",
    "1 + 'a'",
    '1 / 0',
    '1 % 0',
    '9007199254740991 + 1',
    '!1',
    '[1][4]',
    "'a' < 1",
    '1 ? 2 : 3',
    "int('nothing')",
    "duration('x')",
    "'abc'.substring(2, 9)",
  ]) {
    t.ok(value(source) instanceof CelError, source);
  }
  const filter = compileExpression("request.headers['x-b'] == 'two'", attributes);
  t.notOk('problem' in filter || holds(filter, facts));
  const noCode = { ...facts, code: undefined };
  t.ok(value('response.code == 1', noCode) instanceof CelError);
});

t.test('what cannot be meant is a problem when it is read, with its place', async (t) => {
  const cases: [string, RegExp][] = [
    ['requst.path == "/"', /requst\.path is not known/],
    ['request == 1', /request is not known/],
    ['response.code >=', /ends too early/],
    ['(1', /\) is missing/],
    ['"open', /unexpected/],
    ["'\\q'", /escape/],
    ['nothing(1)', /no nothing\(\)/],
    ["'a'.contains()", /does not take 0/],
    ['request.path.matches(request.path)', /written out/],
    ["request.path.matches('(')", /not a pattern/],
    ['has(1)', /has\(\)/],
    ['1 2', /unexpected 2/],
    ['a.', /must follow/],
    [`${'('.repeat(60)}1${')'.repeat(60)}`, /nested/],
    [`${'!'.repeat(60)}true`, /nested/],
    [Array(600).fill('1').join('+'), /more than 512 parts/],
    ['x'.repeat(5000), /longer than/],
    ['99999999999999999999', /too large/],
  ];
  for (const [source, expected] of cases) t.match(problem(source), expected, source.slice(0, 40));
  const at = compileExpression('1 +  $', attributes);
  t.equal('at' in at && at.at, 5);
});

t.test('no text is an exception, read or evaluated', async () => {
  const words = [
    'request',
    '.',
    'path',
    'headers',
    '[',
    ']',
    '(',
    ')',
    "'a'",
    '1',
    '+',
    '==',
    '&&',
    '||',
    '?',
    ':',
    '!',
    '-',
    'in',
    'has',
    'size',
    ',',
  ];
  const source = fc.array(fc.constantFrom(...words), { maxLength: 20 }).map((list) => list.join(' '));
  fc.assert(
    fc.property(fc.oneof(source, fc.string()), fc.string(), (text, path) => {
      const expression = compileExpression(text, attributes);
      if (!('problem' in expression)) expression.evaluate({ ...facts, path });
    }),
    { numRuns: 2000 },
  );
});
