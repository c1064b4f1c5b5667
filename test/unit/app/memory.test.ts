import process from 'node:process';
import { getHeapStatistics } from 'node:v8';
import t from 'tap';
import { keepMemorySmall } from '../../../src/app/memory.ts';
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
  const busy = process.cpuUsage();
  let used = 0;
  while (used < 0.1 * beatMs * 1000) {
    const { user, system } = process.cpuUsage(busy);
    used = user + system;
  }
  const before = process.memoryUsage.rss();
  clock.advance(beatMs);
  const given = before - process.memoryUsage.rss();
  t.ok(given > burstBytes / 2, `${given} bytes, with ${kept.length} blocks in use`);
});
