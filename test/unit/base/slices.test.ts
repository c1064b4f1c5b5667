/** Long work leaves the event loop free between slices. */
import t from 'tap';
import { inSlices } from '../../../src/base/slices.ts';
import { FakeClock } from '../../support/fake-clock.ts';

t.test('a slice ends when its time is over, and others get their turn', async (t) => {
  const clock = new FakeClock();
  const turns: number[] = [];
  let done = 0;
  let watching = true;
  const watch = () => {
    if (!watching) return;
    turns.push(done);
    setImmediate(watch);
  };
  setImmediate(watch);
  function* steps() {
    for (; done < 10; done++) {
      yield;
      clock.advance(1);
    }
  }
  await inSlices(steps(), { clock, sliceMs: 3 });
  watching = false;
  t.equal(done, 10);
  t.ok(turns.length >= 3, `${turns}`);
  for (const [i, at] of turns.entries()) t.ok(at - (turns[i - 1] ?? 0) <= 4, `${turns}`);
});

t.test('work that takes no time waits for nobody', async (t) => {
  let others = 0;
  setImmediate(() => others++);
  const work = Array.from({ length: 1000 }, (_, i) => i);
  await inSlices(work, { clock: new FakeClock() });
  t.equal(others, 0);
});

t.test('what a step throws rejects, and the steps are ended', async (t) => {
  let ended = false;
  function* steps() {
    try {
      yield;
      throw new Error('no more');
    } finally {
      ended = true;
    }
  }
  await t.rejects(inSlices(steps(), { clock: new FakeClock() }), { message: 'no more' });
  t.equal(ended, true);
});
