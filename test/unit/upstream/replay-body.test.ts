/** Request bodies that can be sent again, within a bound. */
import { PassThrough, Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { ReplayBody } from '../../../src/upstream/replay-body.ts';
import { eventually } from '../../support/eventually.ts';

t.test('a body is the same for every reader', async (t) => {
  const body = new ReplayBody(Readable.from([Buffer.from('one '), Buffer.from('two')]), 100);
  t.equal(await text(body.open()), 'one two');
  t.ok(body.resendable);
  t.equal(await text(body.open()), 'one two');
  t.equal(body.receivedBytes, 7);
});

t.test('a reader that takes over gets what came before and what comes after', async (t) => {
  const source = new PassThrough();
  const body = new ReplayBody(source, 100);
  const first = body.open();
  const head = new Promise((resolve) => first.once('data', resolve));
  source.write('head ');
  await head;
  const second = text(body.open());
  source.end('tail');
  t.equal(await second, 'head tail');
});

t.test('a body over the bound flows once', async (t) => {
  const body = new ReplayBody(Readable.from([Buffer.alloc(60), Buffer.alloc(60)]), 100);
  t.equal((await text(body.open())).length, 120);
  t.notOk(body.resendable);
});

t.test('a body of which nothing was read can always be sent again', async (t) => {
  const body = new ReplayBody(Readable.from([Buffer.from('x')]), 0);
  body.open();
  t.ok(body.resendable);
  t.equal(await text(body.open()), 'x');
  t.notOk(body.resendable);
});

t.test('a body that breaks breaks its reader, and every later one', async (t) => {
  const source = new PassThrough();
  const body = new ReplayBody(source, 100);
  const reader = body.open();
  source.write('part');
  reader.resume();
  source.destroy(new Error('the client left'));
  await t.rejects(text(body.open()), { message: 'the client left' });
});

t.test('a reader that does not read holds the client back', async (t) => {
  const source = new PassThrough({ highWaterMark: 1024 });
  const body = new ReplayBody(source, 0);
  body.open().read(0);
  let written = 0;
  while (written < 10_000_000 && source.write(Buffer.alloc(16_384))) {
    written += 16_384;
    await new Promise((resolve) => setImmediate(resolve));
  }
  await eventually('the source to be paused', () => source.isPaused());
  t.ok(body.receivedBytes < 1_000_000, `${body.receivedBytes}`);
});
