/** Calls of the waypoint's own: how often they are tried. */
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { Circuit, noLimits } from '../../../src/upstream/circuit.ts';
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

t.test('a call counts against the limits of its destination, and one more than may be is not sent', async (t) => {
  const circuit = new Circuit({ ...noLimits, maxRequests: 1, maxRetries: 1 });
  const handlers: TryHandler[] = [];
  const send = (_endpoint: unknown, _protocol: unknown, _request: unknown, handler: TryHandler) => {
    handlers.push(handler);
    return { abort: () => {}, resume: () => {} };
  };
  const pools = { send } as unknown as UpstreamPools;
  const endpoint = { workload: makeWorkload({ name: 'authz' }), address: { ip: '127.0.0.1', port: 1 } };
  const ask = () =>
    callOwn(
      {
        nextTry: () => ({ kind: 'endpoint', endpoint: endpoint as never, protocol: 'h1', circuit }),
        ...{ method: 'GET', path: '/', authority: 'a', headers: [], body: undefined, timeoutMs: 2_000, maxBytes: 1 },
      },
      { pools, clock: systemClock },
    );
  const first = ask();
  t.match(await ask(), { kind: 'failed', reason: /as many requests are under way/ });
  t.match([handlers.length, circuit.requests], [1, 1], 'it was not sent, and is not counted');
  handlers[0]?.head(200, []);
  handlers[0]?.end([]);
  t.match(await first, { kind: 'answer', status: 200 });
  t.equal(circuit.requests, 0);
  const second = ask();
  handlers[1]?.failed({ kind: 'connect-failure' }, new Error('refused'));
  t.match([handlers.length, circuit.requests, circuit.retries], [3, 1, 1]);
  circuit.limits = { ...noLimits, maxRetries: 0 };
  handlers[2]?.failed({ kind: 'connect-failure' }, new Error('refused'));
  t.match(await second, { kind: 'failed', reason: 'refused' });
  t.match([handlers.length, circuit.requests, circuit.retries], [3, 0, 0]);
});
