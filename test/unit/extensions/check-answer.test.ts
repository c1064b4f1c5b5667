/** What a hook may answer: I1 and I2 of check-answer.ts. */
import fc from 'fast-check';
import t from 'tap';
import { checkAnswer, maxReplaceBytes } from '../../../src/extensions/check-answer.ts';
import { hookNames } from '../../../src/extensions/extension.ts';

t.test('nothing said is nothing changed', async (t) => {
  for (const hook of hookNames) t.match(checkAnswer(hook, undefined), { respond: undefined, headers: undefined });
});

t.test('header changes come out as records', async (t) => {
  const answer = checkAnswer('requestHeaders', {
    headers: { set: { 'x-a': '1' }, add: [['X-B', 'é']], remove: ['X-Gone'] },
    body: 'hold',
  });
  t.match(answer, { headers: { set: [['x-a', '1']], add: [['X-B', 'é']], remove: ['x-gone'] }, body: 'hold' });
});

t.test('a header can neither end a line, nor frame or address a message, nor speak for the proxy', async (t) => {
  const bad = [
    ['x-a', 'b\r\nx-c: d'],
    ['x-a', 'b\nc'],
    ['x-a', 'b\0'],
    ['x-a', '\u0100'],
    ['x a', 'b'],
    ['', 'b'],
    [':path', '/'],
    ['Host', 'b'],
    ['content-length', '1'],
    ['Transfer-Encoding', 'chunked'],
    ['connection', 'x'],
    ['TE', 'trailers'],
    ['Proxy-Authorization', 'x'],
    ['x-forwarded-client-cert', 'x'],
    ['X-Envoy-Retry-On', '5xx'],
    ['x-istio-source', 'x'],
    ['x-a', 'b'.repeat(9000)],
  ] as const;
  for (const [name, value] of bad) {
    t.type(checkAnswer('requestHeaders', { headers: { set: { [name]: value } } }), 'string', `set ${name}`);
    t.type(checkAnswer('responseHeaders', { headers: { add: [[name, value]] } }), 'string', `add ${name}`);
    const respond = { status: 200, headers: [[name, value]] };
    t.type(checkAnswer('requestHeaders', { respond }), 'string', `respond ${name}`);
  }
  t.type(checkAnswer('requestHeaders', { headers: { remove: ['host'] } }), 'string');
});

t.test('what is not understood is refused as a whole', async (t) => {
  const bad: readonly (readonly [(typeof hookNames)[number], unknown])[] = [
    ['requestHeaders', 'no'],
    ['requestHeaders', []],
    ['requestHeaders', { header: {} }],
    ['requestHeaders', { status: 200 }],
    ['requestHeaders', { replace: 'x' }],
    ['requestHeaders', { body: 'all' }],
    ['requestHeaders', { headers: { set: [] } }],
    ['requestHeaders', { headers: { put: {} } }],
    ['requestHeaders', { headers: { add: [['x', 'y', 'z']] } }],
    ['requestHeaders', { headers: { add: [['x', 1]] } }],
    ['requestHeaders', { headers: { remove: [1] } }],
    ['requestHeaders', { headers: { remove: Array.from({ length: 101 }, () => 'x') } }],
    ['requestHeaders', { respond: { status: 200 }, body: 'skip' }],
    ['requestHeaders', { respond: { status: 199 } }],
    ['requestHeaders', { respond: { status: '200' } }],
    ['requestHeaders', { respond: { status: 200, body: 1 } }],
    ['requestHeaders', { respond: { status: 204, body: 'x' } }],
    ['requestHeaders', { respond: { status: 200, body: 'x'.repeat(70_000) } }],
    ['responseHeaders', { status: 304 }],
    ['responseHeaders', { status: 101 }],
    ['responseBody', { headers: {} }],
    ['responseBody', { replace: 5 }],
    ['responseBody', { replace: new Uint8Array(maxReplaceBytes + 1) }],
    ['connection', { close: true }],
    ['connection', { respond: { status: 200 } }],
  ];
  for (const [hook, answer] of bad)
    t.type(checkAnswer(hook, answer), 'string', `${hook} ${JSON.stringify(answer).slice(0, 80)}`);
});

t.test('whatever comes is judged, and what passes has no header that a parser could split', async () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...hookNames),
      fc.anything({ withNullPrototype: true, maxDepth: 2, maxKeys: 4 }),
      (hook, answer) => {
        checkAnswer(hook, answer);
      },
    ),
  );
  const pair = fc.tuple(fc.string({ maxLength: 30 }), fc.string({ unit: 'binary', maxLength: 30 }));
  fc.assert(
    fc.property(fc.array(pair, { maxLength: 5 }), (add) => {
      const checked = checkAnswer('responseHeaders', { headers: { add } });
      if (typeof checked === 'string') return;
      for (const [name, value] of checked.headers?.add ?? []) {
        if (/[^!#$%&'*+.^_`|~0-9A-Za-z-]/.test(name) || /[\r\n\0]/.test(value)) throw new Error(`${name}: ${value}`);
      }
    }),
  );
});
