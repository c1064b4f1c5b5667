/** The text of metrics: ztunnel's names, labels and their order, escaping, and made in slices. */
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import type { Clock } from '../../../src/base/clock.ts';
import { slicedText } from '../../../src/base/sliced-text.ts';
import { CellRegistry } from '../../../src/telemetry/metrics.ts';
import { type TrafficLabels, unknownWorkload } from '../../../src/telemetry/traffic-labels.ts';
import { createTrafficMetrics } from '../../../src/telemetry/traffic-metrics.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function labels(source: Partial<TrafficLabels['source']>): TrafficLabels {
  return {
    reporter: 'destination',
    source: { ...unknownWorkload, ...source },
    destination: unknownWorkload,
    destinationService: 'unknown',
    destinationServiceName: 'unknown',
    destinationServiceNamespace: 'unknown',
    connectionSecurityPolicy: 'unknown',
  };
}

async function rendered(registry: CellRegistry, openMetrics = false): Promise<string> {
  let text = '';
  for await (const chunk of registry.render(openMetrics).body) text += chunk;
  return text;
}

const common = [
  'reporter',
  ...['workload', 'canonical_service', 'canonical_revision', 'workload_namespace'].map((name) => `source_${name}`),
  ...['principal', 'app', 'version', 'cluster'].map((name) => `source_${name}`),
  ...['destination_service', 'destination_service_namespace', 'destination_service_name'],
  ...['workload', 'canonical_service', 'canonical_revision', 'workload_namespace'].map((name) => `destination_${name}`),
  ...['principal', 'app', 'version', 'cluster'].map((name) => `destination_${name}`),
  ...['request_protocol', 'response_flags', 'connection_security_policy'],
];
const locality = ['source_region', 'source_zone', 'destination_region', 'destination_zone'];

t.test('labels stand in ztunnel’s order; locality only when either workload is known', async (t) => {
  const registry = new CellRegistry();
  const traffic = createTrafficMetrics(registry);
  traffic.connection(labels({})).opened();
  traffic.connection(labels({ workload: 'web', cluster: 'Kubernetes', region: 'r1' })).opened();
  const [unknown = '', known = ''] = (await rendered(registry))
    .split('\n')
    .filter((line) => line.startsWith('istio_tcp_connections_opened_total{'));
  const names = (line: string) => [...line.matchAll(/([a-z_]+)="/g)].map(([, name]) => name);
  t.strictSame(names(unknown), common);
  t.strictSame(names(known), [...common, ...locality]);
  t.match(known, 'source_region="r1",source_zone="unknown",destination_region="unknown"');
});

t.test('families say what they are in both forms; OpenMetrics leaves _total to the samples', async (t) => {
  const registry = new CellRegistry();
  createTrafficMetrics(registry).connection(labels({})).opened();
  t.match(
    await rendered(registry),
    '# HELP istio_tcp_connections_opened_total The total number of TCP connections opened.\n' +
      '# TYPE istio_tcp_connections_opened_total counter\nistio_tcp_connections_opened_total{',
  );
  const open = await rendered(registry, true);
  t.match(
    open,
    '# HELP istio_tcp_connections_opened The total number of TCP connections opened.\n' +
      '# TYPE istio_tcp_connections_opened counter\nistio_tcp_connections_opened_total{',
  );
  t.match(open, /# EOF\n$/);
});

t.test('label values from the mesh cannot end their quotes or the line', async (t) => {
  const registry = new CellRegistry();
  registry.counter('x_total', 'Line\none\\.', { hostile: 'a"} 1\nistio_fake{b="\\' }).value = 1;
  t.equal(
    await rendered(registry),
    '# HELP x_total Line\\none\\\\.\n# TYPE x_total counter\nx_total{hostile="a\\"} 1\\nistio_fake{b=\\"\\\\"} 1\n',
  );
});

t.test('a scrape of 5000 series is made in slices, between which the loop turns', async (t) => {
  const registry = new CellRegistry(undefined, steps(0.01));
  const traffic = createTrafficMetrics(registry);
  for (let i = 0; i < 1700; i++) traffic.connection(labels({ workload: `web-${i}` })).opened();
  let turns = 0;
  let counting = true;
  const counted = (async () => {
    while (counting) {
      await turn();
      turns++;
    }
  })();
  const text = await rendered(registry);
  counting = false;
  await counted;
  t.equal(text.match(/^istio_tcp_/gm)?.length, 5100);
  // 10 µs a look at the clock make 1 ms of some 100 series.
  t.ok(turns >= 20, `${turns} turns`);
});

t.test('a piece ends a slice when its time is over, and chunks are handed on at once then', async (t) => {
  const clock = new FakeClock();
  let made = 0;
  function* pieces() {
    for (; made < 6; made++) {
      clock.advance(1);
      yield `${made}`;
    }
  }
  const chunks: string[] = [];
  for await (const chunk of slicedText(pieces(), { clock, sliceMs: 2 })) chunks.push(chunk);
  t.same(chunks, ['01', '23', '45']);
});

t.test('whoever stops reading stops the making', async (t) => {
  let ended = false;
  function* endless() {
    try {
      for (;;) yield 'x'.repeat(1000);
    } finally {
      ended = true;
    }
  }
  for await (const chunk of slicedText(endless(), { clock: new FakeClock() })) {
    t.ok(chunk.length < 64 * 1024);
    break;
  }
  t.ok(ended);
});

/** A clock that goes on by so much whenever somebody looks. */
function steps(byMs: number): Clock {
  const clock = new FakeClock();
  return {
    wallMs: () => clock.wallMs(),
    nowMs: () => {
      clock.advance(byMs);
      return clock.nowMs();
    },
    after: (delayMs, callback) => clock.after(delayMs, callback),
  };
}
