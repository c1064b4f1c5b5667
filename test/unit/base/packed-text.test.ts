import fc from 'fast-check';
import t from 'tap';
import { ownText, PackedText } from '../../../src/base/packed-text.ts';

t.test('a text comes back as it was, whatever its length and characters', async (t) => {
  const words = fc.constantFrom('name: x\n', 'é', '\u{1f600}', '\ud800', '\udc00', '\r\n', '\ufeff', '\0', 'ключ');
  fc.assert(
    fc.property(fc.array(words, { maxLength: 40 }), fc.constantFrom(1, 64, 400, 20_000), (parts, times) => {
      const text = parts.join('').repeat(times);
      return new PackedText(text).text() === text;
    }),
    { numRuns: 100 },
  );
  t.pass();
});

t.test('a copy of a part reads the same', async (t) => {
  const whole = 'a: é \u{1f600} 0123456789 '.repeat(20);
  for (const [from, to] of [
    [0, 5],
    [0, 13],
    [7, 200],
  ] as const) {
    t.equal(ownText(whole.slice(from, to)), whole.slice(from, to));
  }
});
