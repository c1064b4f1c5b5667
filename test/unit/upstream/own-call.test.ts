/** Calls of the waypoint's own: how often they are tried. */
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { callOwn } from '../../../src/upstream/own-call.ts';
import type { TryHandler, UpstreamPools } from '../../../src/upstream/pools.ts';
import { makeWorkload } from '../../support/mesh-records.ts';

t.test('an endpoint that is alone and cannot be reached is tried three times, not until the deadline', async (t) => {
  let sent = 0;
  const send = (_endpoint: unknown, _protocol: unknown, _request: unknown, handler: TryHandler) => {
    sent++;
    setImmediate(() => handler.failed({ kind: 'connect-failure' }, new Error('refused')));
    return { abort: () => {}, resume: () => {} };
  };
  const pools = { send } as unknown as UpstreamPools;
  const endpoint = { workload: makeWorkload({ name: 'alone' }), address: { ip: '127.0.0.1', port: 1 } };
  const outcome = await callOwn(
    {
      nextTry: () => ({ kind: 'endpoint', endpoint: endpoint as never, protocol: 'h1' }),
      ...{ method: 'GET', path: '/', authority: 'alone', headers: [], body: undefined, timeoutMs: 2_000, maxBytes: 1 },
    },
    { pools, clock: systemClock },
  );
  t.match(outcome, { kind: 'failed', reason: 'refused' });
  t.equal(sent, 3);
});
