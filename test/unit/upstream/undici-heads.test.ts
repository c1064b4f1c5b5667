/** Heads of responses from the buffers in which undici has them. */
import t from 'tap';
import { headerTexts } from '../../../src/upstream/undici-heads.ts';

const piece = Buffer.from('HTTP/1.1 200 OK\r\nServer: n\xe9\r\nX-Empty: \r\n\r\n', 'latin1');
const part = (text: string) => {
  const at = piece.indexOf(text, 0, 'latin1');
  return piece.subarray(at, at + text.length);
};

t.test('names and values of one piece, octet by octet', async (t) => {
  const parts = [part('Server'), part('n\xe9'), part('X-Empty'), piece.subarray(40, 40)];
  t.same(headerTexts(parts), ['Server', 'n\xe9', 'X-Empty', '']);
  t.same(headerTexts([]), []);
});

t.test('what came in several pieces, whatever memory they are in', async (t) => {
  const other = Buffer.from('elsewhere');
  t.same(headerTexts([part('Server'), other]), ['Server', 'elsewhere']);
  t.same(headerTexts([part('X-Empty'), part('n\xe9'), part('Server'), other]), [
    'X-Empty',
    'n\xe9',
    'Server',
    'elsewhere',
  ]);
  const long = Buffer.alloc(9000, 'v');
  t.same(headerTexts([long.subarray(0, 10), long.subarray(8990)]), ['v'.repeat(10), 'v'.repeat(10)]);
});
