/** A hop's access line, whole, in both forms: order of fields, what is left out, and text from elsewhere (ztunnel.md §8.2). */
import t from 'tap';
import { AmbitError } from '../../../src/base/errors.ts';
import type { End } from '../../../src/hbone/seam.ts';
import { createAccessLog } from '../../../src/telemetry/access-log.ts';
import { LogLevels } from '../../../src/telemetry/levels.ts';
import type { LogFormat } from '../../../src/telemetry/log-format.ts';
import { CellRegistry } from '../../../src/telemetry/metrics.ts';
import { createTrafficMetrics } from '../../../src/telemetry/traffic-metrics.ts';
import { Hop, logDenied } from '../../../src/ztunnel/hop.ts';
import type { HopFacts } from '../../../src/ztunnel/hop-facts.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { makeService, makeWorkload } from '../../support/mesh-records.ts';

const web = makeWorkload({ name: 'web-1', namespace: 'shop', serviceAccount: 'web' });
const cart = makeWorkload({ name: 'cart-1', namespace: 'shop', serviceAccount: 'cart' });
const tunnel: HopFacts = {
  direction: 'outbound',
  source: { address: { ip: '10.9.0.2', port: 51544 }, workload: web, identity: web.identity },
  destination: { address: { ip: '10.9.0.7', port: 15008 }, workload: cart, identity: cart.identity },
  authority: '10.9.0.7:8080',
  service: makeService({ name: 'cart', namespace: 'shop' }),
  traceparent: undefined,
  hop: undefined,
};
const end: End = {
  kind: 'closed',
  by: 'downstream',
  status: 200,
  error: undefined,
  established: undefined,
  counts: { toUpstream: 84, toDownstream: 175 },
};

function setup(format: LogFormat, level = 'info') {
  const lines: string[] = [];
  const levels = new LogLevels();
  levels.set(level, true);
  const clock = new FakeClock(Date.UTC(2026, 0, 5, 10, 20, 30, 123));
  const accessLog = createAccessLog({ levels, format, clock, sink: { write: (line) => lines.push(line) } });
  const traffic = createTrafficMetrics(new CellRegistry());
  const hop = (facts: HopFacts) => new Hop(facts, { traffic, accessLog, clock, random: { next: () => 0.5 } });
  return { lines, accessLog, hop, clock };
}

t.test('a tunnel’s line has ztunnel’s fields in ztunnel’s order', async (t) => {
  const { lines, hop, clock } = setup('plain');
  const one = hop(tunnel);
  clock.advance(3);
  one.ended(end);
  t.strictSame(lines, [
    '2026-01-05T10:20:30.126000Z\tinfo\taccess\tconnection complete\tsrc.addr=10.9.0.2:51544 src.workload="web-1" ' +
      'src.namespace="shop" src.identity="spiffe://cluster.local/ns/shop/sa/web" src.cluster="Kubernetes" ' +
      'dst.addr=10.9.0.7:15008 dst.hbone_addr=10.9.0.7:8080 dst.service="cart.shop.svc.cluster.local" ' +
      'dst.workload="cart-1" dst.namespace="shop" dst.identity="spiffe://cluster.local/ns/shop/sa/cart" ' +
      'dst.cluster="Kubernetes" direction="outbound" bytes_sent=84 bytes_recv=175 duration="3ms"\n',
  ]);
});

t.test('the same as JSON: level, time, scope, message, then the fields', async (t) => {
  const { lines, hop } = setup('json');
  hop(tunnel).ended(end);
  const line = JSON.parse(lines[0] ?? '');
  t.strictSame(Object.keys(line), [
    ...[
      'level',
      'time',
      'scope',
      'message',
      'src.addr',
      'src.workload',
      'src.namespace',
      'src.identity',
      'src.cluster',
    ],
    ...['dst.addr', 'dst.hbone_addr', 'dst.service', 'dst.workload', 'dst.namespace', 'dst.identity', 'dst.cluster'],
    ...['direction', 'bytes_sent', 'bytes_recv', 'duration'],
  ]);
  t.match(line, { level: 'info', scope: 'access', message: 'connection complete', bytes_sent: 84, duration: '0ms' });
});

t.test('what is not known is left out; bytes are seen from this end; a failure is an error', async (t) => {
  const { lines, hop } = setup('plain');
  const nobody = { workload: undefined, identity: undefined };
  hop({
    ...tunnel,
    direction: 'inbound',
    source: { address: { ip: 'fd00::2', port: 1 }, ...nobody },
    destination: { address: { ip: 'fd00::7', port: 8080 }, ...nobody },
    authority: undefined,
    service: undefined,
  }).ended({
    ...end,
    kind: 'failed',
    error: new AmbitError('no answer\n\x1b[31m', { code: 'NET_CONNECT_TIMEOUT', origin: 'upstream', flag: 'CONNECT' }),
  });
  t.strictSame(
    lines.map((line) => line.slice(28)),
    [
      'error\taccess\tconnection complete\tsrc.addr=[fd00::2]:1 dst.addr=[fd00::7]:8080 direction="inbound" ' +
        'bytes_sent=175 bytes_recv=84 duration="0ms" error="no answer\\n\\u001b[31m"\n',
    ],
  );
});

t.test('opened at debug; what never became a connection is a warning with four fields', async (t) => {
  const { lines, hop, accessLog } = setup('plain', 'debug');
  hop(tunnel);
  logDenied(accessLog, 'outbound', tunnel.source.address, tunnel.destination.address, 'unknown source');
  t.match(lines[0], /\tdebug\taccess\tconnection opened\tsrc\.addr=.* bytes_sent=0 bytes_recv=0 duration="0ms"\n$/);
  t.equal(
    lines[1]?.slice(28),
    'warn\taccess\tconnection failed\tsrc.addr=10.9.0.2:51544 dst.addr=10.9.0.7:15008 direction="outbound" error="unknown source"\n',
  );
});
