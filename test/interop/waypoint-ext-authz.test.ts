/**
 * Envoy's own ext_authz filter and the waypoint ask the same service about the same requests: what each sends is compared
 * message by message, and what each makes of the same answers as the application sees it.
 */
import { createServer, type RequestListener } from 'node:http';
import { connect, createServer as createTcpServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import type { GrpcExtAuthz, HttpExtAuthz } from '../../src/route/mesh-config.ts';
import { emptyL7Model, type L7Policy } from '../../src/route/model.ts';
import { type Answer, http1, type RequestOptions } from '../integration/waypoint/client.ts';
import { createHarness, podIp, serviceKey } from '../integration/waypoint/harness.ts';
import { missingEnvoy, startEnvoy } from '../support/envoy.ts';
import { type Check, type CheckAnswer, createExtAuthz } from '../support/ext-authz.ts';
import { makeChange, makePort, makeService, makeWorkload } from '../support/mesh-records.ts';

const skip = await missingEnvoy();
t.setTimeout(60_000);

const authzHost = 'authz.default.svc.cluster.local';
const listener = 'entry';

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: string;
}

interface Pair {
  readonly envoy: () => Promise<Duplex>;
  readonly ours: () => Promise<Duplex>;
}

const common = {
  name: 'authz',
  target: { hostname: authzHost, namespace: undefined, port: 9080 },
  timeoutMs: 5_000,
  failOpen: false,
  statusOnError: 403,
  body: undefined,
  clearRouteCache: false,
} as const;

const everything: L7Policy = {
  source: { kind: 'AuthorizationPolicy', namespace: 'default', name: 'ask' },
  action: 'deny',
  dryRun: false,
  rules: [{ clauses: [] }],
};

const app: RequestListener = (request, response) => {
  void text(request).then(
    (body) => {
      const { method = '', url = '', headers } = request;
      response.setHeader('x-app', 'yes');
      response.setHeader('set-cookie', 'app=1');
      response.end(JSON.stringify({ method, url, headers, body } satisfies Seen));
    },
    () => {},
  );
};

async function makePair(
  t: Test,
  provider: GrpcExtAuthz | HttpExtAuthz,
  server: Parameters<typeof createHarness>[1]['servers'],
  filter: object,
  appProtocol: 'http11' | 'tcp' = 'http11',
): Promise<Pair> {
  const http = provider.kind === 'ext-authz-http';
  const harness = await createHarness(t, { pods: [app, () => {}], servers: server ?? [], appProtocol });
  harness.mesh.apply(
    makeChange({
      services: [
        makeService({
          name: 'authz',
          ports: new Map([[9080, makePort(9080, 0, { appProtocol: http ? 'http11' : 'grpc' })]]),
        }),
      ],
      workloads: [
        makeWorkload({
          name: 'productpage-1',
          serviceAccount: 'bookinfo-productpage',
          addresses: [podIp(1)],
          services: new Map([[`default/${authzHost}`, new Map([[9080, harness.podPort]])]]),
          tunnelProtocol: 'hbone',
        }),
      ],
    }),
  );
  const authorization = { providerName: provider.name, provider, policies: [everything] };
  harness.model = {
    ...emptyL7Model,
    customAuthorizations: { services: new Map([[serviceKey, [authorization]]]), gateways: new Map() },
  };
  const envoy = await startEnvoy(t, envoyWith(filter, harness.podPort, !http, appProtocol === 'tcp'));
  const { ip, port } = envoy.listener(listener);
  return {
    ours: () => harness.tunnel(),
    envoy: async () => {
      const socket = connect(port, ip);
      t.teardown(() => socket.destroy());
      socket.on('error', () => {});
      return socket;
    },
  };
}

function envoyWith(filter: object, port: number, grpc: boolean, tcp: boolean) {
  const h2 = {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
      explicit_http_config: { http2_protocol_options: {} },
    },
  };
  const cluster = (name: string, ip: string, options: object = {}) => ({
    name,
    type: 'STATIC',
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: ip, port_value: port } } } }] }],
    },
    ...options,
  });
  const manager = {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    stat_prefix: 'entry',
    normalize_path: true,
    route_config: {
      virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'app' } }] }],
    },
    http_filters: [
      {
        name: 'ext_authz',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz',
          transport_api_version: 'V3',
          ...filter,
        },
      },
      {
        name: 'router',
        typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
      },
    ],
  };
  const proxy = {
    name: 'tcp',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
      stat_prefix: 'app',
      cluster: 'app',
    },
  };
  return {
    static_resources: {
      listeners: [
        {
          name: listener,
          address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
          filter_chains: [{ filters: tcp ? [filter, proxy] : [{ name: 'http', typed_config: manager }] }],
        },
      ],
      clusters: [
        cluster('app', podIp(0)),
        cluster('authz', podIp(1), grpc ? { typed_extension_protocol_options: h2 } : {}),
      ],
    },
  };
}

const grpcFilter = { grpc_service: { envoy_grpc: { cluster_name: 'authz' }, timeout: '5s' } };
const grpcProvider: GrpcExtAuthz = { kind: 'ext-authz-grpc', ...common };

/** Names of the fields of a message that are set, and of those that our definition does not know. */
function unknownFields(message: unknown): readonly number[] {
  if (typeof message !== 'object' || message === null || message instanceof Uint8Array) return [];
  const own = (message as { readonly $unknown?: readonly { readonly no: number }[] }).$unknown ?? [];
  return [...own.map(({ no }) => no), ...Object.values(message).flatMap((value) => unknownFields(value))];
}

/** What both can agree about: not ids, addresses, identities and the proxies' own headers. */
function comparable(check: Check | undefined) {
  const http = check?.attributes?.request?.http;
  const { headers: all = {}, body, rawBody, method, path, host, scheme, size, protocol } = http ?? {};
  const headers = Object.fromEntries(
    Object.entries(all)
      .filter(([name]) => name !== 'x-request-id')
      .sort(),
  );
  const { metadataContext, routeMetadataContext, contextExtensions } = check?.attributes ?? {};
  return {
    headers,
    body,
    rawBody: Buffer.from(rawBody ?? []).toString(),
    method,
    path,
    host,
    scheme,
    size,
    protocol,
    contextExtensions,
    metadata: [metadataContext !== undefined, routeMetadataContext !== undefined],
    time: check?.attributes?.request?.time !== undefined,
  };
}

async function askBoth(
  pair: Pair,
  options: RequestOptions,
): Promise<{ readonly envoy: Answer; readonly ours: Answer }> {
  const envoy = await http1(await pair.envoy(), options);
  const ours = await http1(await pair.ours(), options);
  return { envoy, ours };
}

t.test('gRPC: the questions are the same', { skip }, async (t) => {
  const authz = createExtAuthz(t, () => ({ status: { code: 0 } }));
  const pair = await makePair(t, grpcProvider, [createServer(app), authz.server], grpcFilter);
  const requests: RequestOptions[] = [
    { path: '/' },
    { method: 'POST', path: '/a/../b%20c?q=1&r=%2F', headers: { 'X-A': '1', 'x-b': ['2', '3'] }, body: 'hello' },
    { method: 'PUT', path: '/x', headers: { 'x-request-id': 'mine', cookie: 'a=b; c=d', 'x-utf': 'caf\u00c3\u00a9' } },
  ];
  for (const options of requests) {
    await askBoth(pair, options);
    const [envoy, ours] = authz.checks.splice(0);
    t.same(unknownFields(envoy), [], 'no field of Envoy’s is unknown here');
    // Envoy tells how much of the body has come by then, not the size of the request.
    const size = options.body === undefined ? {} : { size: BigInt(options.body.length) };
    t.same(comparable(ours), { ...comparable(envoy), ...size }, `${options.method ?? 'GET'} ${options.path}`);
  }
});

for (const asBytes of [false, true]) {
  t.test(`gRPC: bodies are shown alike, as ${asBytes ? 'bytes' : 'text'}`, { skip }, async (t) => {
    const authz = createExtAuthz(t, () => ({ status: { code: 0 } }));
    const pair = await makePair(
      t,
      { ...grpcProvider, body: { maxBytes: 100, allowPartial: true, asBytes } },
      [createServer(app), authz.server],
      {
        ...grpcFilter,
        with_request_body: { max_request_bytes: 100, allow_partial_message: true, pack_as_bytes: asBytes },
      },
    );
    for (const body of ['short', 'x'.repeat(1000)]) {
      const { envoy, ours } = await askBoth(pair, { method: 'POST', body });
      const [first, second] = authz.checks.splice(0);
      t.same(comparable(second), comparable(first), `${body.length} bytes`);
      t.equal((JSON.parse(ours.body) as Seen).body, body);
      t.equal((JSON.parse(envoy.body) as Seen).body, body);
    }
  });
}

type Ok = NonNullable<
  Extract<NonNullable<Exclude<CheckAnswer, string>['httpResponse']>, { readonly case: 'okResponse' }>['value']
>;
const header = (key: string, value: string, more: object = {}) => ({ header: { key, value }, ...more });

/** But for actions that depend on whether the client sent the header: this Envoy does not look at them. */
const answers: Readonly<Record<string, Ok>> = {
  nothing: {},
  'a header, with neither append nor action': { headers: [header('x-user', 'alice'), header('x-new', 'n')] },
  'append: true': {
    headers: [
      header('x-user', 'alice', { append: { value: true } }),
      header('x-new', 'n', { append: { value: true } }),
    ],
  },
  'append: false': {
    headers: [
      header('x-user', 'alice', { append: { value: false } }),
      header('x-new', 'n', { append: { value: false } }),
    ],
  },
  'overwrite or add': {
    headers: [header('x-user', 'alice', { appendAction: 2 }), header('x-new', 'n', { appendAction: 2 })],
  },
  'removal, but not of what addresses the request': { headersToRemove: ['x-user', 'host', ':path'] },
  'the query': {
    queryParametersToSet: [{ key: 'b', value: '2' }],
    queryParametersToRemove: ['a'],
  },
  'response headers': { responseHeadersToAdd: [header('x-app', 'new'), header('x-more', 'm')] },
};

t.test('gRPC: the same answers mean the same', { skip }, async (t) => {
  const authz = createExtAuthz(t, () => ({ status: { code: 0 } }));
  const pair = await makePair(t, grpcProvider, [createServer(app), authz.server], grpcFilter);
  for (const [name, value] of Object.entries(answers)) {
    authz.answer = () => ({ status: { code: 0 }, httpResponse: { case: 'okResponse', value } });
    const { envoy, ours } = await askBoth(pair, { path: '/p?a=1&c=3', headers: { 'x-user': 'client' } });
    const seen = (answer: Answer) => {
      const { url, headers } = JSON.parse(answer.body) as Seen;
      const { 'x-user': user, 'x-new': fresh, host } = headers;
      const { 'x-app': app, 'x-more': more } = answer.headers;
      return { url: [...new URL(url, 'http://h').searchParams].sort(), user, fresh, host, app, more };
    };
    t.same(seen(ours), seen(envoy), name);
  }
});

t.test('gRPC: denials are answered alike', { skip }, async (t) => {
  const authz = createExtAuthz(t, () => ({ status: { code: 7 } }));
  const pair = await makePair(t, grpcProvider, [createServer(app), authz.server], grpcFilter);
  const denied: Readonly<Record<string, CheckAnswer>> = {
    plain: { status: { code: 7 } },
    'with a status and a body': {
      status: { code: 16 },
      httpResponse: {
        case: 'deniedResponse',
        value: {
          status: { code: 401 },
          headers: [header('www-authenticate', 'Basic'), header('content-type', 'application/json')],
          body: '{"no":1}',
        },
      },
    },
    unavailable: 'unavailable',
  };
  for (const [name, answer] of Object.entries(denied)) {
    authz.answer = () => answer;
    const { envoy, ours } = await askBoth(pair, {});
    const seen = ({ status, headers, body }: Answer) => ({
      status,
      body,
      type: body === '' ? undefined : headers['content-type'],
      challenge: headers['www-authenticate'],
    });
    t.same(seen(ours), seen(envoy), name);
  }
});

t.test('TCP: the questions are the same', { skip }, async (t) => {
  const authz = createExtAuthz(t, () => ({ status: { code: 0 } }));
  const echo = (socket: Socket) => void socket.on('error', () => {}).pipe(socket);
  const servers = [createTcpServer(echo), authz.server];
  const network = {
    name: 'ext_authz',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.network.ext_authz.v3.ExtAuthz',
      transport_api_version: 'V3',
      stat_prefix: 'authz',
      ...grpcFilter,
    },
  };
  const pair = await makePair(t, grpcProvider, servers, network, 'tcp');
  const answer = async (open: () => Promise<Duplex>) => {
    const stream = await open();
    stream.on('error', () => {});
    stream.write('hello');
    return await new Promise<string>((resolve) => {
      stream.once('data', (chunk: Buffer) => resolve(chunk.toString()));
      stream.once('close', () => resolve('closed'));
    });
  };
  t.equal(await answer(pair.envoy), 'hello');
  t.equal(await answer(pair.ours), 'hello');
  const [envoy, ours] = authz.checks.splice(0);
  t.same(unknownFields(envoy), []);
  const set = (check: Check | undefined) =>
    Object.entries(check?.attributes ?? {})
      .filter(([name, value]) => !name.startsWith('$') && value !== undefined)
      .map(([name]) => name)
      .sort();
  t.same(set(ours), set(envoy), 'the same parts are there');
  authz.answer = () => ({ status: { code: 7 } });
  t.equal(await answer(pair.envoy), 'closed');
  t.equal(await answer(pair.ours), 'closed');
});

t.test('HTTP: questions and answers are the same', { skip }, async (t) => {
  const asked: Seen[] = [];
  let status = 200;
  const provider: RequestListener = (request, response) => {
    void text(request).then(
      (body) => {
        const { method = '', url = '', headers } = request;
        asked.push({ method, url, headers, body });
        response.writeHead(status, { 'x-user': 'alice', 'x-ok': 'ok', 'x-why': 'why', 'content-type': 'text/html' });
        response.end('told');
      },
      () => {},
    );
  };
  const patterns = (...list: object[]) => ({ patterns: list });
  const pair = await makePair(
    t,
    {
      kind: 'ext-authz-http',
      ...common,
      pathPrefix: '/check',
      body: { maxBytes: 100, allowPartial: false, asBytes: false },
      includeRequestHeaders: [{ kind: 'prefix', value: 'x-a' }],
      additionalHeaders: [['x-from', 'proxy']],
      headersToUpstreamOnAllow: [{ kind: 'exact', value: 'x-user' }],
      headersToDownstreamOnDeny: [{ kind: 'exact', value: 'x-why' }],
      headersToDownstreamOnAllow: [{ kind: 'exact', value: 'x-ok' }],
    },
    [createServer(app), createServer(provider)],
    {
      with_request_body: { max_request_bytes: 100 },
      http_service: {
        server_uri: { uri: 'http://authz', cluster: 'authz', timeout: '5s' },
        path_prefix: '/check',
        authorization_request: {
          allowed_headers: patterns({ prefix: 'x-a', ignore_case: true }),
          headers_to_add: [{ key: 'x-from', value: 'proxy' }],
        },
        authorization_response: {
          allowed_upstream_headers: patterns({ exact: 'x-user' }),
          allowed_client_headers: patterns({ exact: 'x-why' }),
          allowed_client_headers_on_success: patterns({ exact: 'x-ok' }),
        },
      },
    },
  );
  const headers = { authorization: 'Bearer t', 'x-a': '1', 'x-b': '2', 'x-user': 'client', 'x-from': 'client' };
  for (const options of [
    { path: '/p?q=1', headers },
    { method: 'POST', path: '/p', headers, body: 'hello' },
    { method: 'POST', path: '/long', headers, body: 'x'.repeat(1000) },
  ]) {
    for (status of [200, 401, 500]) {
      const { envoy, ours } = await askBoth(pair, options);
      const [first, second] = asked.splice(0);
      const question = (seen: Seen | undefined) => {
        const { host, authorization, 'x-a': a, 'x-b': b, 'x-from': from, 'x-user': user } = seen?.headers ?? {};
        return { method: seen?.method, url: seen?.url, body: seen?.body, host, authorization, a, b, from, user };
      };
      const what = `${options.method ?? 'GET'} ${options.path} ${status}`;
      t.same(question(second), question(first), `${what}: question`);
      const answer = ({ status, headers, body }: Answer) => {
        const seen = status === 200 ? (JSON.parse(body) as Seen) : undefined;
        const { 'x-why': why, 'x-ok': ok } = headers;
        const told = status === 200 || status === 413 ? undefined : body;
        return {
          status,
          why,
          ok,
          told,
          user: seen?.headers['x-user'],
          body: seen?.body,
          from: seen?.headers['x-from'],
        };
      };
      t.same(answer(ours), answer(envoy), `${what}: answer`);
    }
  }
});
