/** How long a reply of our own waits for a request that nobody reads. */
import { Readable } from 'node:stream';
import t from 'tap';
import type { Exchange } from '../../../src/http/exchange.ts';
import { letGo } from '../../../src/waypoint/let-go.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function exchange(version: '1.1' | '2', body: Readable | undefined) {
  let resets = 0;
  let close = () => {};
  const fake = {
    request: { version, body },
    reset: () => {
      resets++;
      close();
    },
    onClosed: (listener: () => void) => {
      close = listener;
    },
  } as unknown as Exchange;
  return { fake, close: () => close(), resets: () => resets };
}

t.test('a client of HTTP/2 that goes on sending is let go after a while, once', async (t) => {
  const clock = new FakeClock();
  const slow = exchange('2', new Readable({ read() {} }));
  letGo(slow.fake, clock);
  clock.advance(4_999);
  t.equal(slow.resets(), 0, 'it may end by itself');
  clock.advance(1);
  t.equal(slow.resets(), 1);
  t.equal(clock.pending, 0);
});

t.test('who ends by itself, has sent all, or speaks HTTP/1.1 is left alone', async (t) => {
  const clock = new FakeClock();
  const ends = exchange('2', new Readable({ read() {} }));
  letGo(ends.fake, clock);
  ends.close();
  t.equal(clock.pending, 0);
  letGo(exchange('2', undefined).fake, clock);
  letGo(exchange('1.1', new Readable({ read() {} })).fake, clock);
  t.equal(clock.pending, 0);
});
