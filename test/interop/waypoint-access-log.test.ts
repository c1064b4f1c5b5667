/**
 * Envoy and the waypoint log the same requests in the same formats: the lines are compared, text and JSON, but for what
 * cannot be the same (times, addresses, names of clusters).
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { createServer as createHttp2Server, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Duplex } from 'node:stream';
import t, { type Test } from 'tap';
import { emptyL7Model, type L7Model, type Route } from '../../src/route/model.ts';
import { jsonFormat, type LabelTree } from '../../src/route/telemetry/json-format.ts';
import { textFormat } from '../../src/route/telemetry/log-format.ts';
import type { AccessLogRule } from '../../src/route/telemetry/rules.ts';
import { http1, http2, type RequestOptions } from '../integration/waypoint/client.ts';
import { createHarness, serviceKey } from '../integration/waypoint/harness.ts';
import { missingEnvoy, startEnvoy } from '../support/envoy.ts';
import { eventually } from '../support/eventually.ts';

const skip = await missingEnvoy();
t.setTimeout(60_000);

/** One command a line of the text, one label of the JSON. */
const commands = [
  '%REQ(:METHOD)%',
  '%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%',
  '%REQ(:PATH)%',
  '%REQ_WITHOUT_QUERY(:PATH)%',
  '%PROTOCOL%',
  '%RESPONSE_CODE%',
  '%RESPONSE_CODE_DETAILS%',
  '%RESPONSE_FLAGS%',
  '%RESPONSE_FLAGS_LONG%',
  '%CONNECTION_TERMINATION_DETAILS%',
  '%BYTES_RECEIVED%',
  '%BYTES_SENT%',
  '%REQ(X-FORWARDED-FOR)%',
  '%REQ(USER-AGENT)%',
  '%REQ(USER-AGENT):4%',
  '%REQ(NONE?USER-AGENT)%',
  '%REQ(NONE)%',
  '%REQ(X-TWICE)%',
  '%REQ(X-REQUEST-ID)%',
  '%REQ(:AUTHORITY)%',
  '%RESP(X-APP)%',
  '%RESP(NONE)%',
  '%TRAILER(GRPC-STATUS)%',
  '%GRPC_STATUS%',
  '%GRPC_STATUS(SNAKE_STRING)%',
  '%GRPC_STATUS_NUMBER%',
  '%UPSTREAM_PROTOCOL%',
  '%UPSTREAM_REQUEST_ATTEMPT_COUNT%',
  '%REQUESTED_SERVER_NAME%',
  '%ROUTE_NAME%',
  '%START_TIME(%%)%',
  'a %PROTOCOL% 100%% %REQ(NONE)% z',
];
const textSource = `${commands.join('\n')}\n--\n`;
const labels: LabelTree = Object.fromEntries(commands.map((command, i) => [`c${String(i).padStart(2, '0')}`, command]));

const app: RequestListener = (request, response) => {
  response.statusCode = Number(new URL(request.url ?? '/', 'http://x').searchParams.get('status') ?? 200);
  response.setHeader('x-app', 'yes');
  request.resume().on('end', () => response.end('hello'));
};

const grpcApp = (request: Http2ServerRequest, response: Http2ServerResponse) => {
  if (request.url === '/s/fail') {
    response.stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '5' },
      { endStream: true },
    );
    return;
  }
  response.setHeader('content-type', 'application/grpc');
  response.addTrailers({ 'grpc-status': '0' });
  request.pipe(response);
};

function route(name: string, prefix: string, fields: Partial<Route>): Route {
  return {
    name,
    source: undefined,
    match: {
      path: { kind: 'path-prefix', value: prefix },
      method: undefined,
      authority: undefined,
      scheme: undefined,
      headers: [],
      queryParams: [],
    },
    action: {
      kind: 'forward',
      backends: [{ service: serviceKey, port: 9080, weight: 1, requestHeaders: undefined, responseHeaders: undefined }],
    },
    requestHeaders: undefined,
    responseHeaders: undefined,
    rewritePath: undefined,
    rewriteHost: undefined,
    timeoutMs: undefined,
    retry: undefined,
    ...fields,
  };
}

function modelWith(logs: readonly AccessLogRule[]): L7Model {
  const routes = [
    route('rewritten', '/old', { rewritePath: { kind: 'prefix', value: '/new' }, rewriteHost: 'other' }),
    route('answered', '/answer', { action: { kind: 'respond', status: 418, body: 'no' } }),
    route('plain', '/a', {}),
    route('grpc', '/s', {}),
  ];
  const port = { service: serviceKey, port: 9080, appProtocol: 'http11', routes, streams: [] } as const;
  const rules = { accessLogs: logs, metrics: undefined, tracing: undefined };
  return {
    ...emptyL7Model,
    ports: new Map([[`${serviceKey}:9080`, port]]),
    telemetry: { gateways: new Map([['default/productpage', rules]]), services: new Map() },
  };
}

/** istiod adds it to every format that needs it. */
const formatters = [
  {
    name: 'envoy.formatter.req_without_query',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery',
    },
  },
];

function envoyConfig(text: string, json: string, port: number, grpc: boolean) {
  const file = '/envoy.extensions.access_loggers.file.v3.FileAccessLog';
  const to = { cluster: 'app' };
  return {
    static_resources: {
      listeners: [
        {
          name: 'entry',
          address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
          filter_chains: [
            {
              filters: [
                {
                  name: 'http',
                  typed_config: {
                    '@type':
                      'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
                    stat_prefix: 'entry',
                    normalize_path: true,
                    access_log: [
                      {
                        name: 'text',
                        typed_config: {
                          '@type': `type.googleapis.com${file}`,
                          path: text,
                          log_format: { text_format_source: { inline_string: textSource }, formatters },
                        },
                      },
                      {
                        name: 'json',
                        typed_config: {
                          '@type': `type.googleapis.com${file}`,
                          path: json,
                          log_format: { json_format: labels, formatters },
                        },
                      },
                    ],
                    route_config: {
                      virtual_hosts: [
                        {
                          name: 'all',
                          domains: ['*'],
                          include_request_attempt_count: false,
                          routes: [
                            {
                              name: 'rewritten',
                              match: { prefix: '/old' },
                              route: { ...to, prefix_rewrite: '/new', host_rewrite_literal: 'other' },
                            },
                            {
                              name: 'answered',
                              match: { prefix: '/answer' },
                              direct_response: { status: 418, body: { inline_string: 'no' } },
                            },
                            { name: 'plain', match: { prefix: '/a' }, route: to },
                            { name: 'grpc', match: { prefix: '/s' }, route: to },
                          ],
                        },
                      ],
                    },
                    http_filters: [
                      {
                        name: 'router',
                        typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
                      },
                    ],
                  },
                },
              ],
            },
          ],
        },
      ],
      clusters: [
        {
          name: 'app',
          type: 'STATIC',
          load_assignment: {
            cluster_name: 'app',
            endpoints: [
              {
                lb_endpoints: [
                  { endpoint: { address: { socket_address: { address: '127.0.0.2', port_value: port } } } },
                ],
              },
            ],
          },
          ...(grpc
            ? {
                typed_extension_protocol_options: {
                  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
                    '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
                    explicit_http_config: { http2_protocol_options: {} },
                  },
                },
              }
            : {}),
        },
      ],
    },
  };
}

async function makePair(t: Test, grpc: boolean) {
  const [text, json] = [textFormat(textSource), jsonFormat(labels)];
  if ('problem' in text || 'problem' in json) throw new Error('a format is no format');
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-access-log-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const lines = new Map<string, string[]>();
  const write = (name: string, line: string) => void lines.getOrInsertComputed(name, () => []).push(line);
  const server = createHttp2Server(grpcApp);
  server.on('session', (session) => session.on('error', () => {}));
  const harness = await createHarness(t, {
    pods: [app],
    outputs: { lines: { write } },
    ...(grpc ? { appProtocol: 'grpc' as const, servers: [server as never] } : {}),
  });
  harness.model = modelWith(
    [text, json].map((format) => ({
      provider: { kind: 'file', name: format.kind, path: format.kind, format },
      filter: undefined,
    })),
  );
  const files = { text: path.join(folder, 'text'), json: path.join(folder, 'json') };
  const envoy = await startEnvoy(t, envoyConfig(files.text, files.json, harness.podPort, grpc));
  const { ip, port } = envoy.listener('entry');
  const toEnvoy = async (): Promise<Duplex> => {
    const socket = connect(port, ip);
    t.teardown(() => socket.destroy());
    socket.on('error', () => {});
    return socket;
  };
  const read = (file: string) => readFileSync(file, 'utf8');
  const envoys = {
    text: () => read(files.text).split('--\n').slice(0, -1),
    json: () => read(files.json).split('\n').slice(0, -1),
  };
  return { lines, envoys, toEnvoy, toUs: () => harness.tunnel() };
}

type Pair = Awaited<ReturnType<typeof makePair>>;

async function compare(t: Test, pair: Pair, count: number) {
  for (const kind of ['text', 'json'] as const) {
    await eventually(`our ${kind} lines`, () => pair.lines.get(kind)?.length === count);
    await eventually(`Envoy's ${kind} lines`, () => pair.envoys[kind]().length === count, 15_000);
  }
  const values = (line: string) => new Map(line.split('\n').map((value, i) => [commands[i] ?? '', value]));
  for (const [i, line] of pair.envoys.text().entries()) {
    const ours = values(pair.lines.get('text')?.[i]?.replace('--\n', '') ?? '');
    const theirs = values(line);
    for (const command of commands) t.equal(ours.get(command), theirs.get(command), `request ${i}: ${command}`);
  }
  for (const [i, line] of pair.envoys.json().entries()) {
    const ours = JSON.parse(pair.lines.get('json')?.[i] ?? '{}');
    const theirs = JSON.parse(line);
    for (const [at, key] of Object.keys(labels).entries())
      t.same(ours[key], theirs[key], `request ${i}: JSON ${commands[at]}`);
  }
}

t.test('requests of HTTP/1.1', { skip }, async (t) => {
  const pair = await makePair(t, false);
  const requests: RequestOptions[] = [
    {
      path: '/a/b?x=1',
      headers: {
        'user-agent': 'curl/8.1',
        'x-forwarded-for': '10.0.0.9',
        'x-request-id': 'id-1',
        'x-twice': ['a', 'b'],
      },
    },
    { method: 'POST', path: '/a?status=503', body: 'abcde', headers: { 'x-request-id': 'id-2' } },
    { path: '/old/x?y=1', headers: { 'x-request-id': 'id-3' } },
    { path: '/answer', headers: { 'x-request-id': 'id-4' } },
    { path: '/nowhere', headers: { 'x-request-id': 'id-5' } },
    { method: 'HEAD', path: '/a', headers: { 'x-request-id': 'id-6' } },
  ];
  for (const options of requests) {
    await http1(await pair.toUs(), options);
    await http1(await pair.toEnvoy(), options);
  }
  await compare(t, pair, requests.length);
});

t.test('requests of gRPC', { skip }, async (t) => {
  const pair = await makePair(t, true);
  for (const [i, name] of ['/s/echo', '/s/fail'].entries()) {
    const headers = { ':path': name, 'content-type': 'application/grpc', te: 'trailers', 'x-request-id': `id-${i}` };
    await http2(await pair.toUs(), headers, 'message');
    await http2(await pair.toEnvoy(), headers, 'message');
  }
  await compare(t, pair, 2);
});
