/** Limits of one of several processes: all together let through what was asked. */
import t from 'tap';
import { shareProtections } from '../../../src/route/protection-share.ts';
import type { TrafficProtection } from '../../../src/route/traffic-protection.ts';

t.test('each process has its part, the same object as long as the policy stands', async (t) => {
  const protection = {
    local: [{ name: 'l', tokens: 10, intervalMs: 1000, burst: 15 }],
    concurrency: [{ name: 'c', maxRequests: 9, maxQueued: 0 }],
    global: [{ name: 'g' }],
  } as unknown as TrafficProtection;
  const lists = {
    services: new Map([['s', [protection]]]),
    gateways: new Map([['g', [protection]]]),
    routes: new Map(),
  };
  const shared = shareProtections(lists, 4);
  const part = shared.services.get('s')?.[0];
  t.match(part, {
    local: [{ tokens: 10, intervalMs: 4000, burst: 4 }],
    concurrency: [{ maxRequests: 3, maxQueued: 0 }],
    global: [{ name: 'g' }],
  });
  t.equal(shared.gateways.get('g')?.[0], part);
  t.equal(shareProtections(lists, 4).services.get('s')?.[0], part, 'counts are kept by it');
});
