/** Telemetry of a waypoint's traffic, through real tunnels: configured logs, traces and their parents, messages, metrics. */

import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect, createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { emptyL7Model, type L7Model } from '../../../src/route/model.ts';
import type { FinishedSpan, SpanStart, Tracing } from '../../../src/telemetry/tracing/span.ts';
import { telemetryLines, telemetryViews } from '../../../src/waypoint/telemetry/telemetry-view.ts';
import type { TelemetryOutputs } from '../../../src/waypoint/telemetry/waypoint-telemetry.ts';
import { ambientDefault, compileText, documents, serviceText } from '../../support/compile-text.ts';
import { eventually, within } from '../../support/eventually.ts';
import { http1, http2 } from './client.ts';
import { createHarness, host, serviceKey, sleepId, vip } from './harness.ts';

const gateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: productpage, namespace: default}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;

/** What a user writes, as the model of the harness' waypoint. */
function modelOf(telemetry: unknown, mesh: unknown = {}): L7Model {
  const text = documents(
    ambientDefault,
    gateway,
    serviceText('productpage', '10.1.0.1', 'istio.io/use-waypoint: productpage'),
    `
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: t, namespace: default}
spec: ${JSON.stringify(telemetry)}
`,
    `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: '${JSON.stringify(mesh)}'}
`,
  );
  const { l7, diagnostics } = compileText(text);
  const errors = diagnostics.filter(({ severity }) => severity === 'error');
  if (errors.length > 0) throw new Error(errors.map(({ message }) => message).join('; '));
  return { ...emptyL7Model, telemetry: l7.telemetry };
}

function lineOutputs() {
  const lines: (readonly [path: string, line: string])[] = [];
  const outputs: TelemetryOutputs = { lines: { write: (path, line) => void lines.push([path, line]) } };
  return { lines, outputs };
}

interface Recorded extends SpanStart {
  readonly attributes: ReadonlyMap<string, FinishedSpan['attributes'][number][1]>;
  readonly error: string | undefined;
}

/** A tracer that keeps what it is given. */
function recordingTracing(samples = true) {
  const spans: Recorded[] = [];
  const tracing: Tracing = {
    sampler: { samples: (_traceId, parent) => parent ?? samples },
    start: (start) => ({
      end: (attributes, error) => void spans.push({ ...start, attributes: new Map(attributes), error }),
    }),
  };
  const of = (kind: 'server' | 'client') => {
    const span = spans.find((each) => each.kind === kind);
    if (span === undefined) throw new Error(`no ${kind} span`);
    return span;
  };
  return { spans, of, outputs: { tracing } satisfies TelemetryOutputs };
}

const echo = (request: IncomingMessage, response: ServerResponse) => {
  response.statusCode = Number(new URL(request.url ?? '/', 'http://x').searchParams.get('status') ?? 200);
  response.setHeader('x-seen', JSON.stringify(request.headers));
  request.resume().on('end', () => response.end('hello'));
};
const seen = ({ headers }: { headers: Record<string, unknown> }): Record<string, string> =>
  JSON.parse(String(headers['x-seen']));

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const spanId = '00f067aa0ba902b7';

t.test('a configured log takes the place of the own one, with its filter and format', async (t) => {
  const { lines, outputs } = lineOutputs();
  const harness = await createHarness(t, { pods: [echo], outputs });
  harness.model = modelOf(
    {
      accessLogging: [
        { providers: [{ name: 'text' }, { name: 'json' }], filter: { expression: 'response.code >= 400' } },
      ],
    },
    {
      extensionProviders: [
        { name: 'text', envoyFileAccessLog: { path: '/dev/stdout' } },
        {
          name: 'json',
          envoyFileAccessLog: {
            path: '/var/log/access',
            logFormat: {
              labels: { code: '%RESPONSE_CODE%', peer: '%DOWNSTREAM_PEER_URI_SAN%', agent: '%REQ(USER-AGENT)%' },
            },
          },
        },
      ],
    },
  );
  t.equal((await http1(await harness.tunnel(), { path: '/ok' })).status, 200);
  const hostile = { 'user-agent': 'x" 200 "\\' };
  t.equal(
    (await http1(await harness.tunnel(), { method: 'POST', path: '/a?status=503', body: 'abcde', headers: hostile }))
      .status,
    503,
  );
  await eventually('two lines', () => lines.length === 2);
  const [[path, line], [second, json]] = lines as [readonly [string, string], readonly [string, string]];
  t.equal(path, '/dev/stdout');
  t.match(
    line,
    /^\[\d{4}-\d\d-\d\dT[\d:.]+Z\] "POST \/a\?status=503 HTTP\/1\.1" 503 - via_upstream - "-" 5 5 \d+ \d+ "-" "x\\" 200 \\"\\\\" "[0-9a-f-]{36}" "productpage:9080" "envoy:\/\/inbound_CONNECT_originate\/127\.0\.0\.2:\d+" inbound-vip\|9080\|http\|productpage\.default\.svc\.cluster\.local 127\.0\.0\.1:\d+ 10\.96\.179\.71:9080 127\.0\.0\.1:\d+ - -\n$/,
  );
  t.equal(second, '/var/log/access');
  t.same(JSON.parse(json), { code: 503, peer: sleepId, agent: 'x" 200 "\\' });
  t.same(harness.lines, [], 'no line of its own');
  harness.model = modelOf({ accessLogging: [{ disabled: true }] });
  await http1(await harness.tunnel(), { path: '/a?status=500' });
  await eventually('the request to be counted', () => harness.requests.length === 3);
  t.equal(lines.length, 2);
  t.same(harness.lines, []);
});

t.test('what is no request is counted and logged, as at Envoy', async (t) => {
  const { lines, outputs } = lineOutputs();
  const harness = await createHarness(t, { pods: [echo], outputs });
  const garbage = async () => {
    const stream = await harness.tunnel();
    stream.end('GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n');
    t.match(await within('the refusal', text(stream)), /^HTTP\/1\.1 400 /);
  };
  await garbage();
  await eventually('it to be told', () => harness.requests.length === 1);
  t.match(harness.requests[0], {
    labels: { destinationService: host },
    request: { requestProtocol: 'http', responseCode: 400, responseFlags: 'DPE' },
  });
  t.match(harness.lines[0]?.get('protocol'), 'HTTP');
  harness.model = modelOf({ accessLogging: [{ providers: [{ name: 'envoy' }] }] });
  await garbage();
  await eventually('a line', () => lines.length === 1);
  t.match(
    lines[0]?.[1],
    /^\[[^\]]+\] "- - -" 400 DPE http_protocol_error\{\w+\} - "-" 0 0 \d+ - "-" "-" "-" "-" "-" inbound-vip\|9080\|http\|/,
  );
});

t.test('a TCP connection is in configured logs', async (t) => {
  const { lines, outputs } = lineOutputs();
  const pods = [(socket: Duplex) => void socket.pipe(socket)];
  const harness = await createHarness(t, { pods, podKind: 'tcp', appProtocol: 'tcp', outputs });
  harness.model = modelOf({ accessLogging: [{ providers: [{ name: 'envoy' }] }] });
  const stream = await harness.tunnel();
  stream.end('hello');
  t.equal(await text(stream), 'hello');
  await eventually('a line', () => lines.length === 1);
  t.match(
    lines[0]?.[1],
    /^\[[^\]]+\] "- - -" 0 - - - "-" 5 5 \d+ - "-" "-" "-" "-" "envoy:\/\/.*" inbound-vip\|9080\|tcp\|/,
  );
});

t.test('spans of a request have the right parents on both sides, and link to the tunnel', async (t) => {
  const { of, spans, outputs } = recordingTracing();
  const harness = await createHarness(t, { pods: [echo], outputs });
  const tunnel = await harness.tunnel(`${vip}:9080`, sleepId, [
    ['traceparent', `00-${'a'.repeat(32)}-${'b'.repeat(16)}-00`],
  ]);
  const answer = await http1(tunnel, { path: '/x?status=503', headers: { traceparent: `00-${traceId}-${spanId}-01` } });
  await eventually('both spans', () => spans.length === 2);
  const [server, client] = [of('server'), of('client')];
  t.equal(server.context.traceId, traceId);
  t.equal(server.parentSpanId, spanId, 'the client of the request is its parent');
  t.equal(client.parentSpanId, server.context.spanId);
  t.equal(
    seen(answer).traceparent,
    `00-${traceId}-${client.context.spanId}-01`,
    'the application is below the client span',
  );
  t.match(server.links, [{ traceId: 'a'.repeat(32), spanId: 'b'.repeat(16) }]);
  t.equal(server.service, 'productpage.default');
  t.equal(server.name, `${host}:9080/*`);
  t.match(Object.fromEntries(server.attributes), {
    component: 'proxy',
    'http.url': 'http://productpage:9080/x?status=503',
    'http.method': 'GET',
    'http.protocol': 'HTTP/1.1',
    'http.status_code': 503,
    response_flags: '-',
    'peer.address': '127.0.0.1',
    upstream_cluster: `inbound-vip|9080|http|${host}`,
    error: true,
    'istio.namespace': 'default',
    'istio.mesh_id': 'cluster.local',
    'istio.canonical_revision': 'latest',
  });
  t.equal(server.error, 'via_upstream');
});

t.test('B3 contexts are taken up and sent on in the form they came', async (t) => {
  const { of, spans, outputs } = recordingTracing();
  const harness = await createHarness(t, { pods: [echo], outputs });
  const single = await http1(await harness.tunnel(), { headers: { b3: `${traceId}-${spanId}-1` } });
  await eventually('both spans', () => spans.length === 2);
  const client = of('client');
  t.equal(seen(single).b3, `${traceId}-${client.context.spanId}-1-${client.parentSpanId}`);
  t.equal(of('server').parentSpanId, spanId);
  spans.length = 0;
  const headers = {
    'X-B3-TraceId': traceId,
    'X-B3-SpanId': spanId,
    'X-B3-Sampled': '1',
    'X-B3-ParentSpanId': '1'.repeat(16),
  };
  const several = seen(await http1(await harness.tunnel(), { headers }));
  await eventually('both spans', () => spans.length === 2);
  t.match(several, {
    'x-b3-traceid': traceId,
    'x-b3-spanid': of('client').context.spanId,
    'x-b3-parentspanid': of('server').context.spanId,
    'x-b3-sampled': '1',
  });
  spans.length = 0;
  const unsampled = seen(await http1(await harness.tunnel(), { headers: { b3: '0' } }));
  t.match(unsampled.b3, /-0-/);
  await eventually('the request to be counted', () => harness.requests.length === 3);
  t.same(spans, [], 'what the client does not want kept is not kept');
});

t.test('a Telemetry decides about sampling, tags, and whether anything is done', async (t) => {
  const { of, spans, outputs } = recordingTracing();
  const harness = await createHarness(t, {
    pods: [echo],
    outputs: { ...outputs, environment: (name) => (name === 'ZONE' ? 'z1' : undefined) },
  });
  const customTags = {
    who: { literal: { value: 'me' } },
    agent: { header: { name: 'user-agent', defaultValue: 'none' } },
    zone: { environment: { name: 'ZONE' } },
  };
  harness.model = modelOf({ tracing: [{ randomSamplingPercentage: 100, customTags, enableIstioTags: false }] });
  await http1(await harness.tunnel(), { headers: { 'user-agent': 'a' } });
  await eventually('both spans', () => spans.length === 2);
  const tags = of('server').attributes;
  t.match(Object.fromEntries(tags), { who: 'me', agent: 'a', zone: 'z1' });
  t.equal(tags.get('istio.namespace'), undefined);
  spans.length = 0;
  harness.model = modelOf({ tracing: [{ randomSamplingPercentage: 0 }] });
  const none = seen(await http1(await harness.tunnel()));
  t.match(none.traceparent, /-00$/, 'all who follow decide alike');
  harness.model = modelOf({ tracing: [{ disableSpanReporting: true }] });
  const given = `00-${traceId}-${spanId}-01`;
  t.equal(seen(await http1(await harness.tunnel(), { headers: { traceparent: given } })).traceparent, given);
  harness.model = modelOf({ tracing: [{ randomSamplingPercentage: 100, disableContextPropagation: true }] });
  t.equal(seen(await http1(await harness.tunnel())).traceparent, undefined);
  await eventually('both spans', () => spans.length === 2);
  // By Envoy's rule: 0x00000063 is 99, below 1 percent of 10 000; 0x00000064 is not.
  harness.model = modelOf({ tracing: [{ randomSamplingPercentage: 1 }] });
  for (const [id, kept] of [
    ['00000063-0000-4000-8000-000000000000', true],
    ['00000064-0000-4000-8000-000000000000', false],
  ] as const) {
    const answer = seen(await http1(await harness.tunnel(), { headers: { 'x-request-id': id } }));
    t.equal(answer.traceparent?.endsWith('-01'), kept, id);
  }
});

t.test('without any tracing trace headers pass as they are', async (t) => {
  const harness = await createHarness(t, { pods: [echo] });
  const given = { traceparent: `00-${traceId}-${spanId}-01`, tracestate: 'a=b', b3: '1' };
  t.match(seen(await http1(await harness.tunnel(), { headers: given })), given);
});

t.test('a TCP connection is part of its tunnel’s trace, and the next tunnel part of it', async (t) => {
  const { of, spans, outputs } = recordingTracing();
  const pods = [(socket: Duplex) => void socket.pipe(socket)];
  const harness = await createHarness(t, { pods, podKind: 'tcp', appProtocol: 'tcp', outputs });
  const stream = await harness.tunnel(`${vip}:9080`, sleepId, [['traceparent', `00-${traceId}-${spanId}-01`]]);
  stream.end('hello');
  await within('the echo', text(stream));
  await eventually('both spans', () => spans.length === 2);
  t.equal(of('server').parentSpanId, spanId);
  t.equal(harness.arrived[0]?.header('traceparent'), `00-${traceId}-${of('client').context.spanId}-01`);
  t.match(Object.fromEntries(of('server').attributes), { request_size: 5, response_size: 5 });
});

t.test('gRPC messages are counted while a stream runs, and what is left at its end', async (t) => {
  const server = createHttp2Server((request, response) => {
    response.setHeader('content-type', 'application/grpc');
    response.addTrailers({ 'grpc-status': '0' });
    request.pipe(response);
  });
  server.on('session', (session) => session.on('error', () => {}));
  const harness = await createHarness(t, { pods: [echo], servers: [server as never], appProtocol: 'grpc' });
  harness.model = modelOf({ metrics: [{ providers: [{ name: 'prometheus' }], reportingInterval: '5ms' }] });
  const tunnel = await harness.tunnel();
  const client = connect('http://productpage:9080', { createConnection: () => tunnel as never });
  t.teardown(() => client.destroy());
  const call = client.request({
    ':method': 'POST',
    ':path': '/s/chat',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  call.resume();
  const message = Buffer.from([0, 0, 0, 0, 3, 1, 2, 3]);
  call.write(message);
  await eventually(
    'the first message to be counted',
    () => harness.messages.received === 1 && harness.messages.sent === 1,
  );
  t.same(harness.requests, [], 'the stream still runs');
  call.write(Buffer.concat([message, message.subarray(0, 2)]));
  call.end(message.subarray(2));
  await once(call, 'close');
  await eventually('the request to be counted', () => harness.requests.length === 1);
  t.same(harness.messages, { received: 3, sent: 3 });
});

t.test('bytes of a TCP connection are counted while it is open', async (t) => {
  const pods = [(socket: Duplex) => void socket.pipe(socket)];
  const harness = await createHarness(t, { pods, podKind: 'tcp', appProtocol: 'tcp' });
  harness.model = modelOf({ metrics: [{ reportingInterval: '5ms' }] });
  const stream = await harness.tunnel();
  stream.resume();
  stream.write('hello');
  await eventually('the bytes to be counted', () => harness.tcp.received === 5 && harness.tcp.sent === 5);
  t.same(harness.tcp.closed, []);
  stream.end('!');
  await eventually('the end', () => harness.tcp.closed.length === 1);
  t.match(harness.tcp, { opened: 1, received: 6, sent: 6, closed: ['-'] });
});

t.test('labels are added from the request and taken away', async (t) => {
  const harness = await createHarness(t, { pods: [echo] });
  const tagOverrides = {
    request_host: { value: 'request.host' },
    kind: { value: "response.code >= 500 ? 'bad' : 'good'" },
    source_app: { operation: 'REMOVE' },
  };
  harness.model = modelOf({
    metrics: [
      {
        overrides: [
          { match: { metric: 'REQUEST_COUNT' }, tagOverrides },
          { match: { metric: 'REQUEST_SIZE' }, disabled: true },
        ],
      },
    ],
  });
  await http1(await harness.tunnel());
  await http1(await harness.tunnel(), { path: '/?status=500' });
  await eventually('two requests', () => harness.requests.length === 2);
  const changes = harness.requests.map(({ labels }) => labels.shape?.changes.get('istio_requests_total'));
  t.match(changes, [
    {
      remove: ['source_app'],
      set: [
        ['kind', 'good'],
        ['request_host', 'productpage:9080'],
      ],
    },
    {
      set: [
        ['kind', 'bad'],
        ['request_host', 'productpage:9080'],
      ],
    },
  ]);
  t.equal(harness.requests[0]?.labels.shape?.changes.get('istio_request_bytes')?.disabled, true);
});

/** Ends with its last argument's collector being sent what the first request left. */
async function collected(t: Test, telemetry: unknown, provider: unknown, appProtocol: 'http11' | 'grpc') {
  const calls: { readonly path: string; readonly type: string; readonly body: Buffer }[] = [];
  const take = (path: string, type: string, chunks: Buffer[]) =>
    calls.push({ path, type, body: Buffer.concat(chunks) });
  const h1 = (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    request
      .on('data', (chunk: Buffer) => chunks.push(chunk))
      .on('end', () => {
        if (request.method === 'POST') take(request.url ?? '', String(request.headers['content-type']), chunks);
        response.end('{}');
      });
  };
  const server = createHttp2Server();
  server.on('session', (session) => session.on('error', () => {}));
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on('error', () => {});
    stream
      .on('data', (chunk: Buffer) => chunks.push(chunk))
      .on('end', () => {
        if (headers[':method'] === 'POST') take(String(headers[':path']), String(headers['content-type']), chunks);
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
        stream.end(Buffer.from([0, 0, 0, 0, 0]));
      });
  });
  const harness = await createHarness(t, {
    pods: [h1],
    appProtocol,
    ...(appProtocol === 'grpc' ? { servers: [server as never] } : {}),
    outputs: { resource: { attributes: [['service.name', 'waypoint']], version: '1' } },
  });
  harness.model = modelOf(telemetry, { extensionProviders: [{ name: 'collector', ...(provider as object) }] });
  if (appProtocol === 'grpc') await http2(await harness.tunnel(), { ':method': 'GET' });
  else await http1(await harness.tunnel());
  await eventually('the request to be counted', () => harness.requests.length === 1);
  await harness.waypoint.services.telemetry.collectors.close();
  return { calls, requests: harness.requests };
}

const collector = { service: host, port: 9080 };
const traced = { tracing: [{ providers: [{ name: 'collector' }], randomSamplingPercentage: 100 }] };

t.test('spans reach a collector that is a service of the mesh, through its tunnel', async (t) => {
  const provider = { opentelemetry: { ...collector, http: { path: '/v1/traces' } } };
  const { calls, requests } = await collected(t, traced, provider, 'http11');
  t.match(calls, [{ path: '/v1/traces', type: 'application/json' }]);
  const { resourceSpans } = JSON.parse(String(calls[0]?.body));
  t.same(resourceSpans[0].resource.attributes[0].value, { stringValue: 'productpage.default' });
  t.equal(resourceSpans[0].scopeSpans[0].spans.length, 2);
  t.equal(requests.length, 1, 'what goes to a collector is no request of the mesh');
});

t.test('the same by gRPC and for Zipkin', async (t) => {
  const grpc = await collected(t, traced, { opentelemetry: collector }, 'grpc');
  t.match(grpc.calls, [
    { path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export', type: 'application/grpc' },
  ]);
  t.match(String(grpc.calls[0]?.body), 'productpage.default');
  const zipkin = await collected(t, traced, { zipkin: collector }, 'http11');
  t.match(zipkin.calls, [{ path: '/api/v2/spans' }]);
  t.equal(JSON.parse(String(zipkin.calls[0]?.body)).length, 2);
});

t.test('access logs reach a collector by gRPC', async (t) => {
  const logged = { accessLogging: [{ providers: [{ name: 'collector' }] }] };
  const { calls } = await collected(
    t,
    logged,
    { envoyOtelAls: { ...collector, logFormat: { text: 'line %RESPONSE_CODE%' } } },
    'grpc',
  );
  t.match(calls, [{ path: '/opentelemetry.proto.collector.logs.v1.LogsService/Export' }]);
  t.match(String(calls[0]?.body), 'line 200');
});

t.test('what came of all objects is shown', async (t) => {
  const harness = await createHarness(t, { pods: [echo] });
  const { services } = harness.waypoint;
  t.same(telemetryLines(telemetryViews(services, 10)), ['gateway', '  log ambit', '  trace nothing']);
  const { telemetry } = modelOf({
    accessLogging: [{ providers: [{ name: 'envoy' }], filter: { expression: 'response.code > 399' } }],
    metrics: [
      {
        reportingInterval: '10s',
        overrides: [{ tagOverrides: { a: { value: 'request.host' } }, match: { metric: 'REQUEST_COUNT' } }],
      },
    ],
    tracing: [{ randomSamplingPercentage: 7 }],
  });
  const rules = telemetry?.gateways.get('default/productpage');
  if (rules === undefined) throw new Error('no rules');
  const quiet = { ...rules, accessLogs: [], metrics: undefined, tracing: undefined };
  harness.model = {
    ...emptyL7Model,
    telemetry: {
      gateways: new Map([['default/productpage', quiet]]),
      services: new Map([['default/productpage', new Map([[serviceKey, rules]])]]),
    },
  };
  t.same(telemetryLines(telemetryViews(services, 10)), [
    'gateway',
    '  log nothing',
    '  trace nothing',
    `service ${serviceKey}`,
    '  log envoy /dev/stdout when response.code > 399',
    '  metric istio_requests_total a = request.host',
    '  metric every 10000 ms while it lasts',
    '  trace ambit 7 %',
  ]);
});
