/** The joiner over ends that record what is done to them. */
import t from 'tap';
import { AmbitError } from '../../../src/base/errors.ts';
import type { ByteEnd, ByteEndHandler } from '../../../src/net/byte-end.ts';
import { type JoinResult, join } from '../../../src/net/join.ts';

class RecordedEnd implements ByteEnd {
  readonly heldBytes = 0;
  readonly calls: string[] = [];
  handler: ByteEndHandler | undefined;
  hasRoom = true;

  start(handler: ByteEndHandler): void {
    this.handler = handler;
  }
  write(chunk: Uint8Array, lent = false): boolean {
    this.calls.push(`write ${chunk.length}${lent ? ' lent' : ''}`);
    return this.hasRoom;
  }
  end(): void {
    this.calls.push('end');
  }
  pause(): void {
    this.calls.push('pause');
  }
  resume(): void {
    this.calls.push('resume');
  }
  reset(): void {
    this.calls.push('reset');
  }
  destroyWhenFinished(): void {
    this.calls.push('destroyWhenFinished');
  }
}

const error = new AmbitError('cut', { code: 'TEST', origin: 'local' });

function joined() {
  const down = new RecordedEnd();
  const up = new RecordedEnd();
  const counts = { toUpstream: 0, toDownstream: 0 };
  const results: JoinResult[] = [];
  const { stop } = join(down, up, counts, (result) => results.push(result));
  if (down.handler === undefined || up.handler === undefined) throw new Error('not started');
  return { down, up, counts, results, stop, fromDown: down.handler, fromUp: up.handler };
}

t.test('bytes are written to the other side and counted while they flow', async (t) => {
  const { down, up, counts, fromDown, fromUp } = joined();
  fromDown.data(Buffer.alloc(3), false);
  fromUp.data(Buffer.alloc(5), false);
  t.same(up.calls, ['write 3']);
  t.same(down.calls, ['write 5']);
  t.same(counts, { toUpstream: 3, toDownstream: 5 });
});

t.test('what is lent is lent on', async (t) => {
  const { up, fromDown } = joined();
  fromDown.data(Buffer.alloc(2), true);
  t.same(up.calls, ['write 2 lent']);
});

t.test('a full side pauses the reading of the other until it drains', async (t) => {
  const { down, up, fromDown, fromUp } = joined();
  up.hasRoom = false;
  fromDown.data(Buffer.alloc(1), false);
  t.same(down.calls, ['pause']);
  fromUp.drain();
  t.same(down.calls, ['pause', 'resume']);
});

t.test('each direction ends for itself; closed is told when both sides are closed', async (t) => {
  const { down, up, results, fromDown, fromUp } = joined();
  fromUp.end();
  t.same([down.calls, up.calls], [['end'], []]);
  fromDown.end();
  fromDown.closed();
  t.same(results, []);
  fromUp.closed();
  t.same(results, [{ kind: 'closed', by: 'upstream', error: undefined }]);
});

t.test('a break cuts the other side at once, unless all it had to say was said', async (t) => {
  for (const whole of [false, true]) {
    const { down, up, results, fromUp, fromDown } = joined();
    fromUp.broken(error, whole);
    t.same(down.calls, [whole ? 'destroyWhenFinished' : 'reset']);
    t.same(results, [{ kind: 'reset', by: 'upstream', error }]);
    fromDown.data(Buffer.alloc(1), false);
    fromDown.broken(error, false);
    fromDown.end();
    t.same(up.calls, [], 'nothing more is done');
    t.equal(results.length, 1);
  }
});

t.test('stop cuts both sides once', async (t) => {
  const { down, up, results, stop } = joined();
  stop(error);
  stop(error);
  t.same([down.calls, up.calls], [['reset'], ['reset']]);
  t.same(results, [{ kind: 'stopped', by: 'local', error }]);
});
