import process from 'node:process';
import { setImmediate } from 'node:timers/promises';
import { getHeapStatistics } from 'node:v8';
import t from 'tap';
import { keepMemorySmall } from '../../../src/app/memory.ts';
import { collectGarbage } from '../../../src/base/garbage.ts';
import { leaveHoles, noHoles } from '../../support/allocator-holes.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const beatMs = 5000;
const heldBytes = () => getHeapStatistics().total_heap_size;

/** Old by the time it is let go: no collection of the young generation finds it. */
function load(): void {
  const records: object[] = [];
  for (let i = 0; i < 500_000; i++) records.push({ i, text: [i] });
  t.equal(records.length, 500_000);
}

t.test('what a load held is given back once it is quiet, and not before', async (t) => {
  const clock = new FakeClock();
  keepMemorySmall(clock);
  const before = heldBytes();
  load();
  // A quick machine loads in less than what is quiet.
  workLongerThanQuiet();
  const loaded = heldBytes();
  t.ok(loaded > before + 20e6, `${loaded} bytes are held after the load`);
  clock.advance(beatMs);
  t.ok(heldBytes() > loaded - 5e6, 'the beat in which the work was done is not quiet');
  clock.advance(beatMs);
  // Pages of a busy machine's heap are swept late: most of it must be back, not all.
  t.ok(heldBytes() < before + (loaded - before) / 2, `${heldBytes()} bytes are held, ${before} before the load`);
});

t.test('while it is busy the allocator gives back as well', { skip: noHoles }, async (t) => {
  const clock = new FakeClock();
  keepMemorySmall(clock);
  const { burstBytes, kept } = leaveHoles();
  workLongerThanQuiet();
  const before = process.memoryUsage.rss();
  clock.advance(beatMs);
  const given = before - process.memoryUsage.rss();
  t.ok(given > burstBytes / 2, `${given} bytes, with ${kept.length} blocks in use`);
});

t.test(
  'who has worked and is quiet keeps some MiB for five minutes: a whole collection costs optimised code',
  async (t) => {
    const clock = new FakeClock();
    workUntil(2);
    keepMemorySmall(clock);
    clock.advance(beatMs);
    const garbage = oldGarbage();
    // What a WeakRef was made for, or asked for, is alive until the end of this job.
    await setImmediate();
    for (let beats = 0; beats < 50; beats++) clock.advance(beatMs);
    t.ok(garbage.deref() !== undefined, 'a small growth is left alone');
    await setImmediate();
    for (let beats = 0; beats < 20; beats++) clock.advance(beatMs);
    t.equal(garbage.deref(), undefined, 'after five minutes it is collected');
  },
);

/** Of CPU, since the process began. */
function workedSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** More than a beat may hold that counts as quiet. */
function workLongerThanQuiet(): void {
  workUntil(workedSeconds() + (0.1 * beatMs) / 1000);
}

function workUntil(seconds: number): void {
  let worked: number;
  do worked = workedSeconds();
  while (worked < seconds);
}

/** Some 8 MiB that two young collections have taken for old, and nobody holds any more. */
function oldGarbage(): WeakRef<object> {
  const garbage = Array.from({ length: 100_000 }, (_, i) => ({ i, text: [i] }));
  collectGarbage({ type: 'minor' });
  collectGarbage({ type: 'minor' });
  return new WeakRef(garbage);
}
