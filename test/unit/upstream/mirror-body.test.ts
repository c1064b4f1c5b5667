import { text } from 'node:stream/consumers';
import t from 'tap';
import { MirrorBody } from '../../../src/upstream/mirror-body.ts';
import { eventually } from '../../support/eventually.ts';

function make(maxBytes = 100, maxTotalBytes = 1000) {
  const budget = { bytes: 0, maxBytes: maxTotalBytes };
  let overflows = 0;
  const body = new MirrorBody(budget, maxBytes, () => void overflows++);
  return { budget, body, overflows: () => overflows };
}

t.test('the copy has every byte in order, and gives its budget back', async (t) => {
  const { body, budget } = make();
  body.take(Buffer.from('one '));
  const read = text(body.stream);
  body.take(Buffer.from('two '));
  await eventually('what waited to be taken', () => budget.bytes === 0);
  body.take(Buffer.from('three'));
  body.end();
  t.equal(await read, 'one two three');
  t.equal(budget.bytes, 0);
});

t.test('a mirror that does not read is given up at the bound', async (t) => {
  const { body, budget, overflows } = make(10);
  body.take(Buffer.alloc(10));
  t.equal(overflows(), 0);
  body.take(Buffer.alloc(1));
  body.take(Buffer.alloc(1));
  t.equal(overflows(), 1, 'once');
  t.equal(budget.bytes, 0, 'nothing is kept of it');
  t.ok(body.stream.destroyed);
});

t.test('all bodies together have a bound', async (t) => {
  const { budget, body } = make(100, 50);
  budget.bytes = 45;
  body.take(Buffer.alloc(6));
  t.ok(body.stream.destroyed);
  t.equal(budget.bytes, 45);
});

t.test('a body that breaks off never looks whole', async (t) => {
  const { body, budget } = make();
  body.take(Buffer.from('half'));
  body.fail(new Error('the client left'));
  body.end();
  await t.rejects(text(body.stream), { message: /the client left|aborted|premature/i });
  t.equal(budget.bytes, 0);
});
