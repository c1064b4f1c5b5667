/** A short soak: what `npm run test:soak` does for ten minutes. */
import t from 'tap';
import { problemsOf, shortLaw, table } from '../../soak/report.ts';
import { runSoak } from '../../soak/soak.ts';
import { insideLab } from '../lab/inside.ts';

const seconds = 45;

t.setTimeout(180_000);

if (await insideLab()) {
  t.test('under load with pods, policies and certificates changing nothing fails and nothing grows', async (t) => {
    const record = await runSoak({ seconds, directory: t.testdir(), onProgress: (text) => t.comment(text) });
    t.comment(table(record));
    t.same(problemsOf(record, shortLaw), []);
  });
}
