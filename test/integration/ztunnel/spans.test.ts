/** The two hops of a connection as spans of one trace, received by a real collector's HTTP endpoint. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { json, text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { modernPreset } from '../../../src/config/preset.ts';
import type { SamplerName } from '../../../src/telemetry/tracing/sampler.ts';
import { createTracing } from '../../../src/telemetry/tracing/tracer.ts';
import { eventually, within } from '../../support/eventually.ts';
import { makeMatch, makePolicy } from '../../support/mesh-records.ts';
import { makeTwoNodes, reviewsVip, vip } from './two-nodes.ts';

interface SpanRecord {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { readonly key: string; readonly value: Record<string, unknown> }[];
  readonly status: { readonly code?: number; readonly message?: string };
}

async function startCollector(t: Test, status = 200) {
  const spans: SpanRecord[] = [];
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url} ${request.headers['content-type']} ${request.headers['api-key']}`);
    json(request).then(
      (body) => {
        const { resourceSpans } = body as { resourceSpans: { scopeSpans: { spans: SpanRecord[] }[] }[] };
        for (const { scopeSpans } of resourceSpans) for (const scope of scopeSpans) spans.push(...scope.spans);
        response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
      },
      () => response.writeHead(400).end(),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { spans, requests, url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`) };
}

function tracingTo(endpoint: URL, sampler: SamplerName = 'parentbased_always_on') {
  return createTracing(
    {
      endpoint,
      headers: { 'api-key': 'k' },
      timeoutMs: 5000,
      sampler,
      ratio: 1,
      resource: [['service.name', 'ztunnel']],
      version: 'test',
    },
    { clock: systemClock, random: systemRandom, metrics: unscrapedMetrics, logger: silentLogger },
  );
}

async function exchange(socket: Socket, sent: string): Promise<string> {
  socket.end(sent);
  return await within('the echo', text(socket));
}

const attributeOf = (span: SpanRecord | undefined, key: string) =>
  Object.values(span?.attributes.find((attribute) => attribute.key === key)?.value ?? {})[0];

t.test('both hops are one trace, over the network and in process, and the inbound one is the child', async (t) => {
  const collector = await startCollector(t);
  const tracing = tracingTo(collector.url);
  const nodes = await makeTwoNodes(t, modernPreset, {}, { tracing });
  nodes.mesh.apply(nodes.records(false));
  for (const ip of [vip, reviewsVip]) t.equal(await exchange(await nodes.dial(ip), 'hello'), 'hello');
  await eventually('four lines', () => nodes.lines.filter((line) => line.event === 'complete').length === 4);
  await tracing.close();
  t.equal(collector.requests[0], 'POST /v1/traces application/json k');
  t.equal(collector.spans.length, 4);
  t.equal(new Set(collector.spans.map(({ traceId }) => traceId)).size, 2);
  for (const outbound of collector.spans.filter(({ name }) => name === 'hbone outbound')) {
    const inbound = collector.spans.find(({ parentSpanId }) => parentSpanId === outbound.spanId);
    t.match(outbound, { kind: 3, parentSpanId: undefined, status: {} });
    t.match(inbound, { name: 'hbone inbound', kind: 2, traceId: outbound.traceId, status: {} });
    t.ok(BigInt(outbound.endTimeUnixNano) >= BigInt(outbound.startTimeUnixNano));
    t.equal(attributeOf(outbound, 'mesh.source.principal'), nodes.sleep.identity);
    t.equal(attributeOf(outbound, 'mesh.bytes_received'), '5');
    t.equal(attributeOf(inbound, 'mesh.bytes_sent'), '5');
    t.equal(attributeOf(inbound, 'network.transport'), 'tcp');
  }
});

t.test('a refusal is an error on both spans', async (t) => {
  const collector = await startCollector(t);
  const tracing = tracingTo(collector.url);
  const nodes = await makeTwoNodes(t, modernPreset, {}, { tracing });
  const guard = makePolicy({
    name: 'guard',
    scope: 'namespace',
    action: 'deny',
    rules: [[[makeMatch({ principals: [{ kind: 'presence' }] })]]],
  });
  nodes.mesh.apply({ ...nodes.records(false), policies: [guard] });
  const socket = await nodes.dial(vip);
  socket.resume();
  await within('the end', new Promise<void>((resolve) => socket.once('close', () => resolve())));
  await eventually('two lines', () => nodes.lines.filter((line) => line.event === 'complete').length === 2);
  await tracing.close();
  const named = (name: string) => collector.spans.find((span) => span.name === name);
  t.match(named('hbone inbound'), { status: { code: 2, message: /explicitly denied by: default\/guard rule 0/ } });
  t.equal(attributeOf(named('hbone inbound'), 'error.type'), 'DENY');
  t.match(named('hbone outbound'), { status: { code: 2, message: /401/ } });
});

t.test('what is not sampled is not exported, and says so to the other end', async (t) => {
  const collector = await startCollector(t);
  const off = tracingTo(collector.url, 'parentbased_always_off');
  const nodes = await makeTwoNodes(t, modernPreset, {}, { tracing: off });
  nodes.mesh.apply(nodes.records(true));
  t.equal(await exchange(await nodes.dial(vip), 'hello'), 'hello');
  t.match(nodes.connects[0]?.header('traceparent'), /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  await off.close();
  t.equal(collector.requests.length, 0);
});

t.test('a collector that fails or is not there never touches traffic', async (t) => {
  const failing = await startCollector(t, 500);
  const gone = new URL('http://127.0.0.1:1/v1/traces');
  for (const url of [failing.url, gone]) {
    const tracing = tracingTo(url);
    const nodes = await makeTwoNodes(t, modernPreset, {}, { tracing });
    nodes.mesh.apply(nodes.records(false));
    t.equal(await exchange(await nodes.dial(vip), 'hello'), 'hello');
    await tracing.close();
  }
});

t.test('without tracing the header is there and unsampled', async (t) => {
  const nodes = await makeTwoNodes(t, modernPreset);
  nodes.mesh.apply(nodes.records(true));
  t.equal(await exchange(await nodes.dial(vip), 'hello'), 'hello');
  t.match(nodes.connects[0]?.header('traceparent'), /-00$/);
});
