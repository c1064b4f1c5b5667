/** Trace context, sampling, and the exporter: bounded, patient with its collector, and never in the way. */
import t from 'tap';
import { readTracing, tracingShape } from '../../../src/app/tracing-settings.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { readEnvironment } from '../../../src/config/environment.ts';
import { CellRegistry } from '../../../src/telemetry/metrics.ts';
import { SpanExporter } from '../../../src/telemetry/tracing/exporter.ts';
import type { PostOutcome } from '../../../src/telemetry/tracing/post.ts';
import { createSampler } from '../../../src/telemetry/tracing/sampler.ts';
import type { FinishedSpan } from '../../../src/telemetry/tracing/span.ts';
import { formatTraceparent, parseTraceparent } from '../../../src/telemetry/tracing/trace-context.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const spanId = '00f067aa0ba902b7';

t.test('traceparent is read strictly and written back', async (t) => {
  const text = `00-${traceId}-${spanId}-01`;
  t.strictSame(parseTraceparent(text), { traceId, spanId, sampled: true });
  t.equal(formatTraceparent({ traceId, spanId, sampled: true }), text);
  t.match(parseTraceparent(`00-${traceId}-${spanId}-fe`), { sampled: false });
  t.match(parseTraceparent(`01-${traceId}-${spanId}-01-more`), { traceId });
  for (const wrong of [
    undefined,
    '',
    text.toUpperCase(),
    `00-${traceId}-${spanId}`,
    `00-${traceId}-${spanId}-01-more`,
    `ff-${traceId}-${spanId}-01`,
    `00-${'0'.repeat(32)}-${spanId}-01`,
    `00-${traceId}-${'0'.repeat(16)}-01`,
    `00-${traceId}-${spanId}-01${' '.repeat(300)}`,
  ]) {
    t.equal(parseTraceparent(wrong), undefined, JSON.stringify(wrong));
  }
});

t.test('samplers have OpenTelemetry’s names and answers', async (t) => {
  t.equal(createSampler('always_on', 0).samples(traceId, false), true);
  t.equal(createSampler('always_off', 1).samples(traceId, true), false);
  t.equal(createSampler('parentbased_always_on', 0).samples(traceId, undefined), true);
  t.equal(createSampler('parentbased_always_on', 0).samples(traceId, false), false);
  t.equal(createSampler('parentbased_always_off', 0).samples(traceId, undefined), false);
  t.equal(createSampler('parentbased_always_off', 0).samples(traceId, true), true);
  const quarter = createSampler('parentbased_traceidratio', 0.25);
  const ids = Array.from(
    { length: 256 },
    (_, i) => `${'a'.repeat(19)}${i.toString(16).padStart(2, '0')}${'0'.repeat(11)}`,
  );
  t.equal(ids.filter((id) => quarter.samples(id, undefined)).length, 64);
  t.equal(createSampler('traceidratio', 0).samples('f'.repeat(19) + '0'.repeat(13), true), false);
  t.equal(createSampler('traceidratio', 1).samples('f'.repeat(32), false), true);
});

function span(name = 'x'): FinishedSpan {
  const context = { traceId, spanId, sampled: true };
  return {
    name,
    kind: 'client',
    context,
    parentSpanId: undefined,
    startMicros: 1_000_000,
    endMicros: 1_500_000,
    attributes: [
      ['a', 1],
      ['b', 'text'],
      ['c', 1.5],
      ['d', true],
      ['e', undefined],
    ],
    error: undefined,
  };
}

function setup(answers: PostOutcome[] = []) {
  const clock = new FakeClock();
  const metrics = new CellRegistry();
  const bodies: string[] = [];
  const waiting: ((outcome: PostOutcome) => void)[] = [];
  const exporter = new SpanExporter({
    post(body) {
      bodies.push(body);
      const answer = answers.shift();
      return answer === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(answer);
    },
    resource: { attributes: [['service.name', 'ztunnel']], version: '1' },
    clock,
    random: { next: () => 0.5 },
    metrics,
    logger: silentLogger,
  });
  const count = (result: string) => metrics.counter('ambit_spans_total', '', { result }).value;
  return { clock, exporter, bodies, waiting, count };
}

const ok: PostOutcome = { kind: 'answered', status: 200 };
const away: PostOutcome = { kind: 'failed', reason: 'connect ECONNREFUSED' };

t.test('spans go together after a while, as OTLP in JSON', async (t) => {
  const { clock, exporter, bodies, count } = setup([ok]);
  exporter.add(span('one'));
  exporter.add({ ...span('two'), kind: 'server', parentSpanId: spanId, error: 'it broke' });
  await clock.advanceAsync(4999);
  t.equal(bodies.length, 0);
  await clock.advanceAsync(1);
  t.equal(count('exported'), 2);
  const [{ resource, scopeSpans }] = JSON.parse(bodies[0] ?? '').resourceSpans;
  t.strictSame(resource.attributes, [{ key: 'service.name', value: { stringValue: 'ztunnel' } }]);
  const [one, two] = scopeSpans[0].spans;
  t.strictSame(one, {
    traceId,
    spanId,
    flags: 1,
    name: 'one',
    kind: 3,
    startTimeUnixNano: '1000000000',
    endTimeUnixNano: '1500000000',
    attributes: [
      { key: 'a', value: { intValue: '1' } },
      { key: 'b', value: { stringValue: 'text' } },
      { key: 'c', value: { doubleValue: 1.5 } },
      { key: 'd', value: { boolValue: true } },
    ],
    status: {},
  });
  t.match(two, { kind: 2, parentSpanId: spanId, status: { code: 2, message: 'it broke' } });
});

t.test('a full batch goes at once; what has no room is dropped and counted', async (t) => {
  const { clock, exporter, bodies, waiting, count } = setup();
  for (let i = 0; i < 512; i++) exporter.add(span());
  await clock.advanceAsync(0);
  t.equal(bodies.length, 1);
  // The collector does not answer: 2048 wait, the rest has no room.
  for (let i = 0; i < 2050; i++) exporter.add(span());
  t.equal(count('dropped'), 2);
  waiting.shift()?.(ok);
  for (let sent = 2; sent <= 5; sent++) {
    while (bodies.length < sent) await clock.advanceAsync(0);
    waiting.shift()?.(ok);
  }
  await clock.advanceAsync(0);
  t.equal(count('exported'), 512 + 2048);
});

t.test('a collector that is away is tried again, then the batch is given up and the next one tried', async (t) => {
  const { clock, exporter, bodies, count } = setup([away, { kind: 'answered', status: 503 }, away, ok]);
  exporter.add(span());
  await clock.advanceAsync(5000);
  t.equal(bodies.length, 1);
  await clock.advanceAsync(1000);
  await clock.advanceAsync(2000);
  t.equal(bodies.length, 3);
  t.equal(count('failed'), 1);
  exporter.add(span());
  await clock.advanceAsync(5000);
  t.equal(count('exported'), 1);
});

t.test('what a collector rejects for good is not sent again', async (t) => {
  const { clock, exporter, bodies, count } = setup([{ kind: 'answered', status: 400 }]);
  exporter.add(span());
  await clock.advanceAsync(60_000);
  t.equal(bodies.length, 1);
  t.equal(count('failed'), 1);
});

t.test('at the end what is left is sent once, and nothing more is taken', async (t) => {
  const { clock, exporter, count } = setup([away]);
  exporter.add(span());
  await exporter.close();
  t.equal(count('failed'), 1);
  exporter.add(span());
  t.equal(count('dropped'), 1);
  t.equal(clock.pending, 0);
});

function settings(environment: Readonly<Record<string, string>>) {
  const read = readEnvironment(tracingShape, environment);
  if (read.kind === 'problems') return { problems: read.problems, tracing: undefined };
  const problems: string[] = [];
  return { tracing: readTracing(read.settings, { name: 'ztunnel', version: '1' }, problems), problems };
}

t.test('nothing is traced unless an endpoint is named; OpenTelemetry’s variables are followed', async (t) => {
  t.equal(settings({}).tracing, undefined);
  const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318/' };
  t.equal(settings({ ...endpoint, OTEL_SDK_DISABLED: 'true' }).tracing, undefined);
  const { tracing } = settings({
    ...endpoint,
    OTEL_EXPORTER_OTLP_HEADERS: 'api-key=a%20b, x=1',
    OTEL_RESOURCE_ATTRIBUTES: 'k8s.node.name=n1,service.name=from-resource',
    OTEL_TRACES_SAMPLER: 'traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0.1',
  });
  t.equal(tracing?.endpoint.href, 'http://collector:4318/v1/traces');
  t.match(tracing, { headers: { 'api-key': 'a b', x: '1' }, sampler: 'traceidratio', ratio: 0.1 });
  t.strictSame(tracing?.resource, [
    ['service.name', 'from-resource'],
    ['service.version', '1'],
    ['k8s.node.name', 'n1'],
  ]);
  const own = settings({ ...endpoint, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://other/x', OTEL_SERVICE_NAME: 'z' });
  t.equal(own.tracing?.endpoint.href, 'https://other/x');
  t.match(own.tracing?.resource, [['service.name', 'z']]);
});

t.test('what cannot be followed is told, without the values of headers', async (t) => {
  const { problems } = settings({
    OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4317',
    OTEL_TRACES_SAMPLER: 'traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '2',
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=%zz-secret',
  });
  t.match(problems, [/OTLP_ENDPOINT="collector:4317"/, /SAMPLER_ARG="2"/, /OTLP_HEADERS: "authorization"/]);
  t.notMatch(problems.join(), /secret/);
  t.match(settings({ OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }).problems, [/http\/json/]);
  t.match(settings({ OTEL_TRACES_SAMPLER: 'sometimes' }).problems, [/parentbased_always_on/]);
});
