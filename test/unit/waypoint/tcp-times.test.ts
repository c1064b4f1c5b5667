/** How long a TCP connection may stand, and be silent. */
import t from 'tap';
import type { ConnectionPoolPolicy } from '../../../src/route/destination.ts';
import { watchTimes } from '../../../src/waypoint/tcp-times.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function watched(fields: Partial<ConnectionPoolPolicy>) {
  const clock = new FakeClock();
  const counts = { toUpstream: 0, toDownstream: 0 };
  const ended: string[] = [];
  const stop = watchTimes(fields as ConnectionPoolPolicy, counts, clock, (_error, details) => void ended.push(details));
  return { clock, counts, ended, stop };
}

t.test('a silent connection is ended, one with bytes either way is not', async (t) => {
  const { clock, counts, ended } = watched({ tcpIdleTimeoutMs: 1000 });
  for (let i = 0; i < 5; i++) {
    clock.advance(900);
    if (i % 2 === 0) counts.toUpstream++;
    else counts.toDownstream++;
  }
  t.same(ended, []);
  clock.advance(2000);
  t.same(ended, ['tcp_session_idle_timeout']);
  t.equal(clock.pending, 0);
});

t.test('one that has stood for too long is ended, bytes or not; 0 is no time at all', async (t) => {
  const { clock, counts, ended } = watched({ maxConnectionDurationMs: 5000, tcpIdleTimeoutMs: 0 });
  for (let i = 0; i < 5; i++) {
    counts.toUpstream++;
    t.same(ended, []);
    clock.advance(1000);
  }
  t.same(ended, ['max_connection_duration']);
});

t.test('nothing is left when the connection is over, or when nothing was asked for', async (t) => {
  const { clock, ended, stop } = watched({ maxConnectionDurationMs: 5000, tcpIdleTimeoutMs: 100 });
  stop();
  t.equal(clock.pending, 0);
  clock.advance(10_000);
  t.same(ended, []);
  t.equal(watched({}).clock.pending, 0);
});
