/** A body that is looked at before it goes on: the same bytes, whatever their pieces and whoever is slow. */
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import fc from 'fast-check';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { PeekedBody } from '../../../src/http/peeked-body.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const far = { clock: systemClock, atMs: systemClock.nowMs() + 60_000 };

t.test('what goes on is what came, and what is shown is its beginning', async () => {
  const pieces = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(pieces, fc.array(fc.nat(60), { maxLength: 3 }), async (chunks, peeks) => {
      const all = Buffer.concat(chunks);
      const body = new PeekedBody(
        Readable.from(
          chunks.map((chunk) => Buffer.from(chunk)),
          { objectMode: false },
        ),
      );
      for (const maxBytes of peeks) {
        const peek = await body.peek(maxBytes, far);
        if (peek.kind !== 'bytes') return false;
        if (!peek.bytes.equals(all.subarray(0, maxBytes))) return false;
        if (peek.complete !== all.length <= maxBytes) return false;
      }
      return (await buffer(body.stream())).equals(all);
    }),
    { numRuns: 200 },
  );
});

t.test('no more is read than was asked for, until somebody reads', async (t) => {
  let read = 0;
  const source = new Readable({
    highWaterMark: 1024,
    read() {
      read += 1024;
      this.push(read > 1024 * 1024 ? null : Buffer.alloc(1024));
    },
  });
  const body = new PeekedBody(source);
  const peek = await body.peek(2048, far);
  t.match(peek, { kind: 'bytes', complete: false });
  await new Promise((resolve) => setImmediate(resolve));
  t.ok(body.heldBytes <= 4096, `${body.heldBytes} held`);
  t.ok(read <= 8192, `${read} read`);
  t.equal((await buffer(body.stream())).length, 1024 * 1024);
  t.equal(body.heldBytes, 0);
});

t.test('a body that breaks off is broken, before and after', async (t) => {
  const early = new Readable({ read() {} });
  const waiting = new PeekedBody(early).peek(100, far);
  early.push(Buffer.from('abc'));
  early.destroy(new Error('reset'));
  t.match(await waiting, { kind: 'broken', error: { message: 'reset' } });
  const late = new Readable({ read() {} });
  const body = new PeekedBody(late);
  late.push(Buffer.from('abc'));
  const shown = await body.peek(2, far);
  t.match(shown, { kind: 'bytes', complete: false });
  const rest = buffer(body.stream());
  late.destroy(new Error('reset'));
  await t.rejects(rest);
});

t.test('a body that does not come is late, once for all that wait for it, and no timer is left', async (t) => {
  const clock = new FakeClock();
  const deadline = { clock, atMs: 1000 };
  const source = new Readable({ read() {} });
  const body = new PeekedBody(source);
  source.push(Buffer.from('abc'));
  t.match(await body.peek(2, deadline), { kind: 'bytes', complete: false }, 'what is there in time is not');
  t.equal(clock.pending, 0);
  clock.advance(999);
  const waiting = body.peek(100, deadline);
  source.push(Buffer.from('d'));
  clock.advance(1);
  t.same(await waiting, { kind: 'late' });
  t.equal(clock.pending, 0);
  t.ok(source.isPaused(), 'nothing more is taken from the client');
  const next = body.peek(100, deadline);
  clock.advance(0);
  t.same(await next, { kind: 'late' });
});
