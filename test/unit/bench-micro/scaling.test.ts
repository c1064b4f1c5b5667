/**
 * How the cost of decisions grows, measured briefly by CPU time: what grew with the number would be some hundred times
 * dearer, so the limits leave room for caches and noisy machines. The best of three counts.
 */
import t from 'tap';
import { brief, measure } from '../../../bench/micro/measure.ts';
import { microCases } from '../../../bench/micro/run.ts';

const laws = [
  { group: 'endpoint-choice', from: 10, to: 10_000, atMost: 50 },
  { group: 'endpoint-nearest', from: 10, to: 10_000, atMost: 50 },
  { group: 'least-request', from: 10, to: 10_000, atMost: 50 },
  { group: 'round-robin', from: 10, to: 10_000, atMost: 50 },
  { group: 'ring-hash', from: 10, to: 1000, atMost: 10 },
  { group: 'maglev', from: 10, to: 1000, atMost: 10 },
  { group: 'waypoint-decision', from: 1, to: 1000, atMost: 8 },
  { group: 'matcher', from: 100, to: 10_000, atMost: 25 },
  { group: 'l4-policy', from: 1, to: 1000, atMost: 20 },
  { group: 'l7-policy', from: 1, to: 1000, atMost: 20 },
  { group: 'route-match', from: 1, to: 1000, atMost: 100 },
] as const;

for (const { group, from, to, atMost } of laws) {
  t.test(`${group}: ${to} in place of ${from} cost at most ${atMost} times as much`, async (t) => {
    let best = Number.POSITIVE_INFINITY;
    for (let attempt = 0; attempt < 3 && best > atMost; attempt++) {
      best = Math.min(best, costOf(group, to) / costOf(group, from));
    }
    t.ok(best <= atMost, `${best.toFixed(1)} times`);
  });
}

function costOf(group: string, size: number): number {
  const found = microCases.find((one) => one.group === group && one.size === size);
  if (found === undefined) throw new Error(`no case ${group} ${size}`);
  return measure(found.prepare(), brief).nsPerCall;
}
