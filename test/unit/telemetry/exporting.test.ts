/** What collectors are sent: OTLP in JSON and protobuf, Zipkin's JSON, and B3 headers. */
import fc from 'fast-check';
import t from 'tap';
import { formatB3, parseB3, parseB3Headers } from '../../../src/telemetry/tracing/b3.ts';
import type { LogRecord } from '../../../src/telemetry/tracing/log-record.ts';
import { otlpJson } from '../../../src/telemetry/tracing/otlp-json.ts';
import { otlpLogsMessage, otlpTraceMessage } from '../../../src/telemetry/tracing/otlp-protobuf.ts';
import type { FinishedSpan } from '../../../src/telemetry/tracing/span.ts';
import { zipkinJson } from '../../../src/telemetry/tracing/zipkin-json.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const spanId = '00f067aa0ba902b7';
const resource = { attributes: [['service.name', 'waypoint'] as const, ['a', 1] as const], version: '1' };
const slices = { clock: new FakeClock() };

function span(fields: Partial<FinishedSpan> = {}): FinishedSpan {
  return {
    name: 'x',
    kind: 'server',
    context: { traceId, spanId, sampled: true },
    parentSpanId: undefined,
    startMicros: 1_767_608_430_123_456,
    endMicros: 1_767_608_430_223_456,
    attributes: [
      ['text', 'ä'],
      ['whole', -5],
      ['part', 1.5],
      ['flag', false],
      ['none', undefined],
    ],
    error: undefined,
    ...fields,
  };
}

const record: LogRecord = {
  timeMicros: 1_767_608_430_123_456,
  body: 'GET / 200',
  attributes: [['code', 200]],
  context: { traceId, spanId },
};

/** A message read without its schema: values by field number, in order. */
function fields(bytes: Buffer): Map<number, (bigint | Buffer)[]> {
  const found = new Map<number, (bigint | Buffer)[]>();
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++] as number;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const wire = key & 7;
    const length = wire === 2 ? Number(varint()) : wire === 1 ? 8 : 4;
    const value = wire === 0 ? varint() : bytes.subarray(at, at + length);
    if (wire !== 0) at += length;
    found.getOrInsertComputed(key >> 3, () => []).push(value);
  }
  return found;
}

const sub = (message: Map<number, (bigint | Buffer)[]>, field: number, index = 0) =>
  fields(message.get(field)?.[index] as Buffer);
const bytesOf = (message: Map<number, (bigint | Buffer)[]>, field: number) => {
  const [value] = message.get(field) ?? [];
  if (typeof value !== 'object') throw new Error(`field ${field} is missing`);
  return value;
};
const text = (message: Map<number, (bigint | Buffer)[]>, field: number) => String(message.get(field)?.[0]);

t.test('spans go with the service they are of, and link to other traces', async (t) => {
  const other = span({
    service: 'reviews.shop',
    links: [{ traceId: 'f'.repeat(32), spanId: 'e'.repeat(16), sampled: true }],
  });
  const { resourceSpans } = JSON.parse([...otlpJson(resource, [span(), other, span()])].join(''));
  t.equal(resourceSpans.length, 2);
  t.same(resourceSpans[0].resource.attributes[0], { key: 'service.name', value: { stringValue: 'waypoint' } });
  t.equal(resourceSpans[0].scopeSpans[0].spans.length, 2);
  t.same(resourceSpans[1].resource.attributes, [
    { key: 'service.name', value: { stringValue: 'reviews.shop' } },
    { key: 'a', value: { intValue: '1' } },
  ]);
  t.same(resourceSpans[1].scopeSpans[0].spans[0].links, [{ traceId: 'f'.repeat(32), spanId: 'e'.repeat(16) }]);
});

t.test('the same in protobuf', async (t) => {
  const failed = span({
    parentSpanId: '1'.repeat(16),
    error: 'it broke',
    service: 'reviews.shop',
    links: [{ traceId: 'f'.repeat(32), spanId: 'e'.repeat(16), sampled: true }],
  });
  const request = fields(await otlpTraceMessage(resource, [span(), failed], slices));
  t.equal(request.get(1)?.length, 2);
  const own = sub(request, 1, 1);
  t.equal(text(sub(sub(own, 1), 1), 1), 'service.name');
  t.equal(text(sub(sub(sub(own, 1), 1), 2), 1), 'reviews.shop');
  const scope = sub(own, 2);
  t.equal(text(sub(scope, 1), 1), 'ambit');
  const written = sub(scope, 2);
  t.equal(bytesOf(written, 1).toString('hex'), traceId);
  t.equal(bytesOf(written, 2).toString('hex'), spanId);
  t.equal(bytesOf(written, 4).toString('hex'), '1'.repeat(16));
  t.equal(text(written, 5), 'x');
  t.equal(written.get(6)?.[0], 2n);
  t.equal(bytesOf(written, 7).readBigUInt64LE(), 1_767_608_430_123_456_000n);
  t.equal(written.get(9)?.length, 4, 'attributes without a value are left out');
  t.equal(text(sub(sub(written, 9, 0), 2), 1), 'ä');
  t.equal(BigInt.asIntN(64, sub(sub(written, 9, 1), 2).get(3)?.[0] as bigint), -5n);
  t.equal(bytesOf(sub(sub(written, 9, 2), 2), 4).readDoubleLE(), 1.5);
  t.equal(sub(sub(written, 9, 3), 2).get(2)?.[0], 0n);
  t.equal(bytesOf(sub(written, 13), 1).toString('hex'), 'f'.repeat(32));
  t.equal(text(sub(written, 15), 2), 'it broke');
  t.equal(sub(written, 15).get(3)?.[0], 2n);
});

t.test('log records in protobuf', async (t) => {
  const logs = sub(sub(fields(await otlpLogsMessage(resource, [record, record], slices)), 1), 2);
  t.equal(logs.get(2)?.length, 2);
  const written = sub(logs, 2);
  t.equal(text(sub(written, 5), 1), 'GET / 200');
  t.equal(bytesOf(written, 9).toString('hex'), traceId);
});

t.test("Zipkin's form", async (t) => {
  const options = { service: 'waypoint', shortTraceIds: false };
  const [one, two] = JSON.parse(
    [...zipkinJson(options, [span(), span({ service: 'reviews.shop', error: 'it broke', parentSpanId: spanId })])].join(
      '',
    ),
  );
  t.match(one, { traceId, id: spanId, kind: 'SERVER', duration: 100_000, localEndpoint: { serviceName: 'waypoint' } });
  t.same(one.tags, { text: 'ä', whole: '-5', part: '1.5', flag: 'false' });
  t.match(two, { parentId: spanId, localEndpoint: { serviceName: 'reviews.shop' }, tags: { error: 'it broke' } });
  const [short] = JSON.parse([...zipkinJson({ ...options, shortTraceIds: true }, [span()])].join(''));
  t.equal(short.traceId, traceId.slice(16));
});

t.test('B3 in one header and in several', async (t) => {
  const context = { traceId, spanId, sampled: true };
  t.same(parseB3(`${traceId}-${spanId}-1`), { context, sampled: true });
  t.same(parseB3(`${traceId}-${spanId}-d-${'1'.repeat(16)}`), { context, sampled: true });
  t.same(parseB3(`${traceId}-${spanId}`), { context: { ...context, sampled: false }, sampled: undefined });
  t.same(parseB3('0'), { context: undefined, sampled: false });
  t.equal(parseB3(`${traceId.slice(16)}-${spanId}-0`).context?.traceId, `${'0'.repeat(16)}${traceId.slice(16)}`);
  for (const wrong of [
    undefined,
    '',
    'x',
    `${traceId}-${spanId}-2`,
    `${'0'.repeat(32)}-${spanId}-1`,
    `${traceId}-`,
    'a'.repeat(999),
  ]) {
    t.equal(parseB3(wrong).context, undefined, String(wrong).slice(0, 40));
  }
  const headers = { traceId: traceId.toUpperCase(), spanId, sampled: '1', flags: undefined };
  t.same(parseB3Headers(headers), { context, sampled: true });
  t.same(parseB3Headers({ ...headers, sampled: undefined, flags: '1' }).sampled, true);
  t.same(parseB3Headers({ ...headers, traceId: 'x', sampled: '0' }), { context: undefined, sampled: false });
  t.equal(formatB3(context, undefined), `${traceId}-${spanId}-1`);
  t.same(parseB3(formatB3({ ...context, sampled: false }, '1'.repeat(16))), {
    context: { ...context, sampled: false },
    sampled: false,
  });
});

t.test('no header is an exception', async () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      parseB3(a);
      parseB3Headers({ traceId: a, spanId: b, sampled: a, flags: b });
    }),
  );
});
