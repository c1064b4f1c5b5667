/** The bench's loads on a plain path between two pods: what they count. */
import t from 'tap';
import type { LoadResult } from '../../../bench/model.ts';
import { startOrigin } from '../../../bench/origin.ts';
import { createLab } from '../../../src/lab/lab.ts';
import { canRunLoads, idleConnections, plainTopology, plainTurn, ratePerSecond, smallLoads } from './loads-lab.ts';

t.setTimeout(120_000);

if (await canRunLoads()) {
  const lab = await createLab({ topology: plainTopology(), apps: false });
  t.teardown(() => lab.close());
  await startOrigin(lab, 'origin');

  for (const load of smallLoads) {
    t.test(`${load.key}: counts what goes through`, async (t) => {
      let samples = 0;
      const result = await load.run(plainTurn(lab, 'origin', () => samples++));
      t.same(result.causes, undefined);
      t.equal(result.errors, 0);
      t.ok(result.units > 0 && result.perSecond > 0, `${result.units} units, ${result.perSecond} per second`);
      if (load.unit !== 'GB') t.ok(isOrdered(result), `percentiles are ordered: ${JSON.stringify(result.latency)}`);
      if (load.fixedRate) t.equal(result.units, ratePerSecond, 'no more and no fewer than due');
      if (load.key === 'idle') t.equal(result.units, idleConnections);
      t.equal(samples, load.key === 'idle' ? 1 : 0, 'only what holds something open takes figures by itself');
    });
  }
}

function isOrdered({ latency }: LoadResult): boolean {
  if (latency === undefined) return false;
  const { p50Ms, p90Ms, p99Ms, p999Ms } = latency;
  return 0 < p50Ms && p50Ms <= p90Ms && p90Ms <= p99Ms && p99Ms <= p999Ms;
}
