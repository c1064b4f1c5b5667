/** When a change is told of: what is fresh after it has rested, what had rested before it was noticed at once. */
import { renameSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { turnOfTheLoop } from '../../../src/base/slices.ts';
import { PathWatch } from '../../../src/config/path-watch.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const debounceMs = 6;

/** Time stands still unless the test moves it. */
function watched(t: Test) {
  const root = t.testdir({ watched: {}, beside: {} });
  const clock = new FakeClock(Date.now());
  const looks: (readonly string[] | undefined)[] = [];
  const watch = new PathWatch({
    path: path.join(root, 'watched'),
    recursive: false,
    debounceMs,
    rescanMs: 3_600_000,
    clock,
    onLook: (changed) => looks.push(changed === undefined ? undefined : [...changed].sort()),
    onLost: (error) => t.fail(String(error)),
  });
  t.teardown(() => watch.close());
  const write = (name: string, agoMs: number) => {
    const draft = path.join(root, 'beside', name);
    writeFileSync(draft, 'a: 1\n');
    const atSeconds = (clock.wallMs() - agoMs) / 1000;
    utimesSync(draft, atSeconds, atSeconds);
    renameSync(draft, path.join(root, 'watched', name));
  };
  return { clock, looks, watch, write };
}

t.test('a file that has rested is told of without waiting', async (t) => {
  const { clock, looks, write } = watched(t);
  write('a.yaml', 1000);
  await eventually('the look', () => looks.length > 0);
  t.same(looks, [['a.yaml']]);
  t.equal(clock.pending, 1, 'of the look only the one that comes now and then is left');
});

t.test('a file that is fresh is told of when it has rested, with all that came meanwhile', async (t) => {
  const { clock, looks, write } = watched(t);
  write('old.yaml', 1000);
  write('new.yaml', 0);
  await eventually('the notice', () => clock.pending === 2);
  for (let turns = 0; turns < 10; turns++) await turnOfTheLoop();
  t.same(looks, []);
  clock.advance(debounceMs - 1);
  t.same(looks, []);
  clock.advance(1);
  t.same(looks, [['new.yaml', 'old.yaml']]);
});

t.test('after close nothing is told of', async (t) => {
  const { clock, looks, watch, write } = watched(t);
  write('new.yaml', 0);
  await eventually('the notice', () => clock.pending === 2);
  watch.close();
  for (let turns = 0; turns < 10; turns++) await turnOfTheLoop();
  clock.advance(debounceMs);
  t.same(looks, []);
  t.equal(clock.pending, 0);
});
