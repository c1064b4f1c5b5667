/** HPACK's encoder: the bytes that it makes, and what it does not write. */
import t from 'tap';
import { encodeFields } from '../../../../src/hbone/http2/hpack-encoder.ts';
import { indexed, literal } from '../../../support/hpack-blocks.ts';

t.test(
  'fields of the static table are an index; names of it are; the rest are literals that nobody keeps',
  async (t) => {
    t.same(encodeFields([':status', '200', ':method', 'GET']), Buffer.concat([indexed(8), indexed(2)]));
    t.same(encodeFields([':method', 'CONNECT']), literal('without', 2, 'CONNECT'));
    t.same(encodeFields([':status', '503']), literal('without', 8, '503'));
    t.same(encodeFields([':authority', 'a:1']), literal('without', 1, 'a:1'));
    t.same(encodeFields(['via', 'a']), literal('without', 60, 'a'));
    t.same(
      encodeFields(['forwarded', 'for=a', 'x', '']),
      Buffer.concat([literal('without', 'forwarded', 'for=a'), literal('without', 'x', '')]),
    );
    t.same(encodeFields([]), Buffer.alloc(0));
  },
);

t.test('secrets are never indexed, empty ones neither', async (t) => {
  for (const [name, index] of [
    ['authorization', 23],
    ['cookie', 32],
    ['proxy-authorization', 49],
  ] as const) {
    t.same(encodeFields([name, 'secret']), literal('never', index, 'secret'));
    t.same(encodeFields([name, '']), literal('never', index, ''));
  }
});

t.test('lengths on both sides of each boundary', async (t) => {
  for (const length of [0, 1, 23, 24, 126, 127, 128, 254, 255, 16_510, 16_511, 70_000]) {
    const [name, value] = [`n${'a'.repeat(length)}`, 'é'.repeat(length)];
    t.same(encodeFields([name, value]), literal('without', name, value), `${length}`);
  }
});

t.test('what would break a message apart is not written', async (t) => {
  for (const bad of ['\0', '\r', '\n', 'a\r\nb: c', '\u010a', '\u0100', '\u{1f600}', `${'a'.repeat(100)}\n`]) {
    t.throws(() => encodeFields([':method', 'CONNECT', 'a', bad]), TypeError, JSON.stringify(bad));
    t.throws(() => encodeFields([bad, 'a']), TypeError);
    t.throws(() => encodeFields(['cookie', bad]), TypeError);
  }
  t.throws(() => encodeFields(['', 'a']), TypeError);
  t.throws(() => encodeFields(['a']), TypeError);
});
