/** Who may route what: consumer routes, grants, delegates, TLS routes, and the status that says what became of each. */
import t from 'tap';
import type { ParentStatus } from '../../../src/compile/route-status.ts';
import { routeStatuses } from '../../../src/compile/route-statuses.ts';
import { matchRoute, routesFor } from '../../../src/route/match-route.ts';
import { matchStream } from '../../../src/route/match-stream.ts';
import { codesOf, compileText, documents, podText, serviceText } from '../../support/compile-text.ts';

const gateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: w, namespace: default}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;
const inNamespace = (text: string, namespace: string) => text.replace('namespace: default', `namespace: ${namespace}`);
const services = documents(
  gateway,
  podText('wp', '10.0.0.9', { labels: 'gateway.networking.k8s.io/gateway-name: w' }),
  serviceText('web', '10.96.0.1', 'istio.io/use-waypoint: w'),
  serviceText('v1', '10.96.0.2'),
  inNamespace(serviceText('mine', '10.96.0.3'), 'shop'),
  inNamespace(serviceText('theirs', '10.96.0.4'), 'third'),
);
const key = (name: string, namespace = 'default') => `${namespace}/${name}.${namespace}.svc.cluster.local`;
const portKey = `${key('web')}:80`;

const route = (name: string, namespace: string, rules: string, kind = 'HTTPRoute', extra = '') => `
apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: {name: ${name}, namespace: ${namespace}}
spec:
  parentRefs: [{group: "", kind: Service, name: web, namespace: default}]
  ${extra}
  rules: ${rules}
`;
const to = (name: string, namespace = 'default') => `backendRefs: [{name: ${name}, namespace: ${namespace}, port: 80}]`;
const request = { method: 'GET', scheme: 'http', authority: 'web', path: '/a', query: '', headers: [] };

function compiled(...texts: readonly string[]) {
  return compileText(documents(services, ...texts));
}

function routeFor(namespace: string | undefined, ...texts: readonly string[]) {
  const ports = compiled(...texts).l7.ports.get(portKey);
  if (ports === undefined) return 'plain';
  const { routes } = routesFor(ports, namespace);
  return routes.length === 0 ? 'plain' : matchRoute(routes, { ...request, clientNamespace: namespace })?.name;
}

function codes(...texts: readonly string[]): readonly string[] {
  return codesOf(compiled(...texts)).map((code) => code.split(' ')[0] ?? '');
}

function statusOf(object: string, ...texts: readonly string[]): readonly ParentStatus[] | undefined {
  const statuses = routeStatuses(compiled(...texts).routes);
  return statuses.find(({ object: { kind, namespace, name } }) => `${kind} ${namespace}/${name}` === object)?.parents;
}

/** `Accepted True Accepted, …` of the only parent. */
function conditions(object: string, ...texts: readonly string[]): string {
  const [parent] = statusOf(object, ...texts) ?? [];
  return parent?.conditions.map(({ type, status, reason }) => `${type} ${status} ${reason}`).join(', ') ?? 'none';
}

t.test('a consumer route is for clients of its namespace, in place of the producers’ routes', async (t) => {
  const producer = route('p', 'default', `[{${to('v1')}}]`);
  const consumer = route('c', 'shop', `[{matches: [{path: {value: /b}}], ${to('web')}}]`);
  t.equal(routeFor('default', producer, consumer), 'default/p/0/0');
  t.equal(routeFor('third', producer, consumer), 'default/p/0/0');
  t.equal(routeFor(undefined, producer, consumer), 'default/p/0/0', 'a client whose namespace is not known');
  t.equal(
    routeFor('shop', producer, consumer),
    'no-route-matched',
    'they are not merged with the producers’ (GEP-1426)',
  );
  t.equal(routeFor('default', consumer), 'plain', 'alone it leaves others as they are');
  t.same(codes(producer, consumer), []);
  t.equal(conditions('HTTPRoute shop/c', producer, consumer), 'Accepted True Accepted, ResolvedRefs True ResolvedRefs');
});

t.test('a consumer route reaches its parent, its own namespace and what is granted to it', async (t) => {
  const backends = (name: string, namespace: string, ...texts: readonly string[]) => {
    const consumer = route('c', 'shop', `[{${to(name, namespace)}}]`);
    const ports = compiled(consumer, ...texts).l7.ports.get(portKey);
    const action = ports?.consumers?.get('shop')?.routes[0]?.action;
    return action?.kind === 'forward' ? action.backends.map(({ service }) => service) : undefined;
  };
  t.same(backends('web', 'default'), [key('web')]);
  t.same(backends('mine', 'shop'), [key('mine', 'shop')]);
  t.same(backends('v1', 'default'), [undefined], 'another Service of the parent’s namespace is somebody else’s');
  t.same(backends('theirs', 'third'), [undefined]);
  const grant = (from: string, name: string) => `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: third}
spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: ${from}}], to: [{group: "", kind: Service, name: ${name}}]}
`;
  t.same(backends('theirs', 'third', grant('shop', 'theirs')), [key('theirs', 'third')]);
  t.same(backends('theirs', 'third', grant('other', 'theirs')), [undefined]);
  t.same(backends('theirs', 'third', grant('shop', 'else')), [undefined]);
  const denied = route('c', 'shop', `[{${to('theirs', 'third')}}]`);
  t.same(codes(denied), ['ROUTE_REFERENCE_DENIED']);
  t.equal(conditions('HTTPRoute shop/c', denied), 'Accepted True Accepted, ResolvedRefs False RefNotPermitted');
  t.same(codes(route('p', 'default', `[{${to('theirs', 'third')}}]`)), [], 'a producer needs no grant in a mesh');
});

t.test(
  'a consumer route does not change what was judged before it: requests to its parent go on as they came',
  async (t) => {
    const set = 'set: [{name: x-user, value: admin}]';
    const filters = [
      'type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /admin}}',
      'type: URLRewrite, urlRewrite: {hostname: other.example}',
      `type: RequestHeaderModifier, requestHeaderModifier: {${set}}`,
    ];
    const grant = `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: default}
spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}], to: [{group: "", kind: Service, name: web}]}
`;
    const services = (rule: string, ...texts: readonly string[]) => {
      const group = compiled(route('c', 'shop', `[{${rule}}]`), ...texts)
        .l7.ports.get(portKey)
        ?.consumers?.get('shop');
      const { action, stages } = group?.routes[0] ?? {};
      const backends = action?.kind === 'forward' ? action.backends : [];
      return [...backends, ...(stages?.mirrors ?? []).map(({ backend }) => backend)].map(({ service }) => service);
    };
    for (const filter of filters) {
      const changing = `filters: [{${filter}}]`;
      const rule = `${changing}, ${to('web')}`;
      t.same(services(rule), [undefined], filter);
      t.same(codes(route('c', 'shop', `[{${rule}}]`)), ['ROUTE_REFERENCE_DENIED'], filter);
      t.same(services(rule, grant), [key('web')], 'its owner may allow it');
      t.same(services(`${changing}, ${to('mine', 'shop')}`), [key('mine', 'shop')], 'to its own Services it may');
      t.same(codes(route('p', 'default', `[{${rule}}]`)), [], 'a producer may');
    }
    const ofBackend = `{name: web, namespace: default, port: 80, filters: [{${filters[2]}}]}`;
    t.same(services(`backendRefs: [{name: mine, port: 80}, ${ofBackend}]`), [key('mine', 'shop'), undefined]);
    const mirror = 'type: RequestMirror, requestMirror: {backendRef: {name: web, namespace: default, port: 80}}';
    t.same(services(`filters: [{${mirror}}], ${to('mine', 'shop')}`), [key('mine', 'shop'), key('web')]);
    t.same(services(`filters: [{${filters[0]}}, {${mirror}}], ${to('mine', 'shop')}`), [key('mine', 'shop')]);
    const answer = `filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {${set}}}], ${to('web')}`;
    t.same(services(answer), [key('web')], 'what its own clients are answered is theirs');
  },
);

t.test('one kind of route follows one port, the most specific; the others are in conflict', async (t) => {
  const [http, grpc] = [
    route('h', 'default', `[{${to('v1')}}]`),
    route('g', 'default', `[{${to('v1')}}]`, 'GRPCRoute'),
  ];
  const [tls, tcp] = [
    route('s', 'default', `[{${to('v1')}}]`, 'TLSRoute', 'hostnames: [a.example]'),
    route('t', 'default', `[{${to('v1')}}]`, 'TCPRoute'),
  ];
  const undeclared = services.replace('ports: [{name: http,', 'ports: [{name: any,');
  const ports = (...texts: readonly string[]) => compileText(documents(undeclared, ...texts)).l7.ports.get(portKey);
  t.match(ports(http, grpc, tls, tcp), { routes: [{ name: 'default/g/0/0' }], streams: [] });
  t.match(ports(http, tls, tcp), { routes: [{ name: 'default/h/0/0' }], streams: [] });
  t.match(ports(tls, tcp), { routes: [], streams: [{ name: 'default/s/0/0' }] });
  const statuses = routeStatuses(compileText(documents(undeclared, http, grpc)).routes);
  t.match(statuses.find(({ object }) => object.kind === 'HTTPRoute')?.parents, [
    { parent: 'default/web', conditions: [{ type: 'Accepted', status: 'False', reason: 'Conflicted' }, {}] },
  ]);
});

t.test('a TLSRoute routes by server name, the most specific first; no name of it is a refusal', async (t) => {
  const tlsPort = services.replace('ports: [{name: http,', 'ports: [{name: tls-web,');
  const wide = route('a', 'default', `[{${to('v1')}}]`, 'TLSRoute', 'hostnames: ["*.example.com"]');
  const exact = route(
    'b',
    'default',
    `[{${to('web')}}]`,
    'TLSRoute',
    'hostnames: [api.example.com, "*.sub.example.com"]',
  );
  const { l7, diagnostics } = compileText(documents(tlsPort, wide, exact));
  t.same(diagnostics, []);
  const streams = l7.ports.get(portKey)?.streams ?? [];
  const facts = { clientNamespace: 'default', clientLabels: undefined, destinationIp: '10.96.0.1' };
  const named = (serverName: string | undefined) => matchStream(streams, { ...facts, serverName })?.name;
  t.equal(named('api.example.com'), 'default/b/0/0');
  t.equal(named('www.example.com'), 'default/a/0/0');
  t.equal(named('x.sub.example.com'), 'default/b/0/1');
  for (const name of ['example.com', 'notexample.com', 'api.example.com.evil', undefined]) {
    t.equal(named(name), undefined, String(name));
  }
  t.same(
    codesOf(compileText(documents(services.replace('name: http,', 'name: http, appProtocol: http,'), wide))).map(
      (c) => c.split(' ')[0],
    ),
    ['ROUTE_PROTOCOL'],
  );
  const bad = route('c', 'default', '[]', 'TLSRoute', 'hostnames: [10.0.0.1, "a.*.b", UPPER.example]');
  t.same(
    codesOf(compileText(documents(tlsPort, bad))).map((c) => c.split(' ')[0]),
    ['OBJECT_INVALID', 'OBJECT_INVALID'],
  );
});

const virtual = (name: string, spec: string, namespace = 'default') => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ${name}, namespace: ${namespace}}
spec: ${spec}
`;

t.test('tls and tcp rules of a VirtualService: server name, source and subnet, in written order', async (t) => {
  const tlsPort = services.replace('ports: [{name: http,', 'ports: [{name: any,');
  const text = virtual(
    'v',
    `
  hosts: [web]
  tcp:
    - {match: [{sourceLabels: {app: old}, port: 80}], route: [{destination: {host: v1}}]}
    - {match: [{destinationSubnets: [10.96.0.0/16], sourceNamespace: shop}], route: [{destination: {host: web}}]}
  tls:
    - {match: [{sniHosts: ["*.Example.com", other.com]}], route: [{destination: {host: v1}}]}
    - {match: [{port: 80}], route: [{destination: {host: v1}}]}
`,
  );
  const compilation = compileText(documents(tlsPort, text));
  t.same(
    codesOf(compilation).map((code) => code.split(' ')[0]),
    ['ROUTE_MATCH_INVALID'],
    'tls without sniHosts',
  );
  const streams = compilation.l7.ports.get(portKey)?.streams ?? [];
  const chosen = (facts: { serverName?: string; namespace?: string; labels?: Record<string, string>; ip?: string }) =>
    matchStream(streams, {
      serverName: facts.serverName,
      clientNamespace: facts.namespace,
      clientLabels: facts.labels,
      destinationIp: facts.ip ?? '10.96.0.1',
    })?.name;
  t.equal(chosen({ serverName: 'a.example.com', labels: { app: 'old' } }), 'default/v/tls.0/0', 'tls goes first');
  t.equal(chosen({ labels: { app: 'old', x: 'y' } }), 'default/v/tcp.0/0');
  t.equal(chosen({ labels: { app: 'new' }, namespace: 'shop' }), 'default/v/tcp.1/0');
  t.equal(chosen({ namespace: 'shop', ip: '10.97.0.1' }), undefined);
  t.equal(chosen({ namespace: 'default' }), undefined);
});

t.test('a VirtualService matches labels of the client, all of them', async (t) => {
  const text = virtual(
    'v',
    '{hosts: [web], http: [{match: [{sourceLabels: {app: a, tier: x}}], route: [{destination: {host: v1}}]}]}',
  );
  const routes = compiled(text).l7.ports.get(portKey)?.routes ?? [];
  const from = (clientLabels: Record<string, string> | undefined) =>
    matchRoute(routes, { ...request, clientLabels })?.name;
  t.equal(from({ app: 'a', tier: 'x', more: 'y' }), 'default/v/0/0');
  for (const labels of [{ app: 'a' }, { app: 'a', tier: 'y' }, {}, undefined])
    t.equal(from(labels), 'no-route-matched');
});

t.test('a delegate’s rules stand where the root delegates, and both matches hold', async (t) => {
  const root = virtual(
    'root',
    `
  hosts: [web]
  http:
    - {name: r, match: [{uri: {prefix: /a}, headers: {x: {exact: "1"}}}], timeout: 3s, delegate: {name: leaf, namespace: shop}}
    - {route: [{destination: {host: v1}}]}
`,
  );
  const leaf = virtual(
    'leaf',
    `
  http:
    - {match: [{uri: {prefix: /a/deep}}, {uri: {exact: /b}}], timeout: 1s, route: [{destination: {host: mine}}]}
    - {name: plain, route: [{destination: {host: mine}}]}
    - {match: [{uri: {prefix: /b}}], route: [{destination: {host: mine}}]}
`,
    'shop',
  );
  const compilation = compiled(root, leaf);
  t.same(
    codesOf(compilation).map((code) => code.split(' ')[0]),
    ['ROUTE_DELEGATE'],
    'a rule that no request can meet together with the root’s',
  );
  const routes = compilation.l7.ports.get(portKey)?.routes ?? [];
  t.match(routes, [
    { name: 'shop/leaf/0/root.0.0.0', timeoutMs: 1000, match: { path: { value: '/a/deep' } }, ruleName: 'r' },
    { name: 'shop/leaf/1/root.0.0.0', timeoutMs: 3000, match: { path: { value: '/a' } }, ruleName: 'r-plain' },
    { name: 'default/root/1/0' },
  ]);
  const at = (path: string, headers: readonly string[]) => matchRoute(routes, { ...request, path, headers })?.name;
  t.equal(at('/a/deep/x', ['x', '1']), 'shop/leaf/0/root.0.0.0');
  t.equal(at('/a/deep/x', ['x', '2']), 'default/root/1/0');
  t.same(routes[0]?.action, {
    kind: 'forward',
    backends: [
      { service: key('mine', 'shop'), port: 80, weight: 1, requestHeaders: undefined, responseHeaders: undefined },
    ],
  });
  t.same(codes(root), ['ROUTE_DELEGATE'], 'a delegate that is missing');
  t.match(statusOf('VirtualService default/root', root), [
    {
      conditions: [
        { type: 'Accepted', status: 'True' },
        { type: 'ResolvedRefs', status: 'False' },
      ],
    },
  ]);
  const hidden = leaf.replace('spec:', 'spec:\n  exportTo: ["."]');
  t.same(codes(root, hidden), ['ROUTE_DELEGATE'], 'or not exported to the root');
});

t.test('exportTo keeps a VirtualService from waypoints of other namespaces', async (t) => {
  const text = (exportTo: string) =>
    virtual('v', `{hosts: [web], exportTo: [${exportTo}], http: [{route: [{destination: {host: v1}}]}]}`);
  for (const exportTo of ['"*"', '"."', 'default', 'shop, default'])
    t.equal(routeFor('x', text(exportTo)), 'default/v/0/0');
  t.equal(routeFor('x', text('shop')), 'plain');
  t.same(codes(text('shop')), ['ROUTE_NAMESPACE']);
});

t.test('fields that are not in the API are named where they stand', async (t) => {
  const text = virtual(
    'v',
    `
  hosts: [web]
  colour: blue
  http:
    - route: [{destination: {host: v1, prot: {number: 80}}, wieght: 3}]
      retries: {attempts: 2, retryOnn: 5xx, retryRemoteLocalities: true, retryIgnorePreviousHosts: false}
      timeuot: 3s
`,
  );
  const messages = compiled(text).diagnostics.map(({ code, message }) => `${code} ${message}`);
  t.same(messages, [
    'ROUTE_FIELD_UNSUPPORTED spec.colour has no effect',
    'ROUTE_FIELD_UNSUPPORTED route.0.destination.prot has no effect',
    'ROUTE_FIELD_UNSUPPORTED route.0.wieght has no effect',
    'ROUTE_FIELD_UNSUPPORTED retries.retryOnn has no effect',
    'ROUTE_FIELD_UNSUPPORTED timeuot has no effect',
  ]);
  t.match(compiled(text).l7.ports.get(portKey)?.routes[0], { retry: { attempts: 2, mayRepeatHosts: true } });
});

t.test('the status of a route tells what is invalid, unresolved or applied by nobody', async (t) => {
  const one = (rules: string) => conditions('HTTPRoute default/r', route('r', 'default', rules));
  t.equal(one(`[{${to('v1')}}]`), 'Accepted True Accepted, ResolvedRefs True ResolvedRefs');
  t.equal(one(`[{${to('nobody')}}]`), 'Accepted True Accepted, ResolvedRefs False BackendNotFound');
  t.equal(
    one(`[{backendRefs: [{kind: Odd, name: x, port: 80}]}]`),
    'Accepted True Accepted, ResolvedRefs False InvalidKind',
  );
  t.equal(
    one(`[{${to('v1')}}, {filters: [{type: Odd}], ${to('v1')}}]`),
    'Accepted True Accepted, ResolvedRefs True ResolvedRefs, PartiallyInvalid True UnsupportedValue',
  );
  t.equal(
    one(`[{filters: [{type: Odd}], ${to('v1')}}]`),
    'Accepted False UnsupportedValue, ResolvedRefs True ResolvedRefs',
  );
  const elsewhere = (name: string) => route('r', 'default', `[{${to('v1')}}]`).replace('name: web,', `name: ${name},`);
  t.match(conditions('HTTPRoute default/r', elsewhere('nobody')), /^Accepted False NoMatchingParent/);
  t.match(conditions('HTTPRoute default/r', elsewhere('v1')), /^Accepted False Pending/);
});
