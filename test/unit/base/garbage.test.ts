/** What V8's collector is told takes effect. */
import { getHeapSpaceStatistics } from 'node:v8';
import t from 'tap';
import { collectGarbage, holdYoungGeneration } from '../../../src/base/garbage.ts';

const youngBytes = () => getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')?.space_size ?? 0;

/** Makes V8 want a larger young generation: nearly all of what is made stays alive. The most it was. */
function survive(): number {
  const kept: object[] = [];
  let most = 0;
  for (let i = 0; i < 600_000; i++) {
    kept.push({ i });
    if (i % 10_000 === 0) most = Math.max(most, youngBytes());
  }
  return kept.length > 0 ? most : 0;
}

t.test('the young generation stays small while it is held, and grows again after', async (t) => {
  collectGarbage({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  const release = holdYoungGeneration();
  const held = survive();
  release();
  const free = survive();
  t.ok(free >= 2 * held, `held ${held}, free ${free}`);
});
