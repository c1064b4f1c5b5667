import t from 'tap';
import type { Compilation } from '../../../src/compile/compile.ts';
import { matchRoute } from '../../../src/route/match-route.ts';
import type { Route } from '../../../src/route/model.ts';
import { codesOf, compileText, documents, podText, serviceText } from '../../support/compile-text.ts';

const gateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: w, namespace: default}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;
const services = documents(
  gateway,
  podText('wp', '10.0.0.9', { labels: 'gateway.networking.k8s.io/gateway-name: w' }),
  serviceText('web', '10.96.0.1', 'istio.io/use-waypoint: w'),
  serviceText('v1', '10.96.0.2'),
  serviceText('v2', '10.96.0.3'),
);

const httpRoute = (rules: string, name = 'r', namespace = 'default') => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ${name}, namespace: ${namespace}}
spec:
  parentRefs: [{group: "", kind: Service, name: web, namespace: default}]
  rules: ${rules}
`;

const virtualService = (http: string, hosts = '[web]', namespace = 'default') => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: ${namespace}}
spec:
  hosts: ${hosts}
  http: ${http}
`;

const to = (name: string, weight = 1) => `backendRefs: [{name: ${name}, port: 80, weight: ${weight}}]`;
const key = (name: string) => `default/${name}.default.svc.cluster.local`;

function compileRoutes(...texts: readonly string[]): Compilation {
  return compileText(documents(services, ...texts));
}

function routesOf(...texts: readonly string[]): readonly Route[] {
  return compileRoutes(...texts).l7.ports.get(`${key('web')}:80`)?.routes ?? [];
}

function codes(...texts: readonly string[]): readonly string[] {
  return codesOf(compileRoutes(...texts)).map((code) => code.split(' ')[0] ?? '');
}

t.test('a port without routes has no entry, so that it is forwarded plainly', async (t) => {
  t.equal(compileRoutes().l7.ports.size, 0);
});

t.test('routes of all HTTPRoutes are in order of precedence', async (t) => {
  const a = httpRoute(
    `[{name: x, matches: [{path: {type: RegularExpression, value: "/.*"}}, {path: {value: /a}}, {path: {value: /a/bc}}], ${to('v1')}},
      {matches: [{path: {value: /a}, method: GET}, {path: {value: /a}, headers: [{name: X, value: y}]}], ${to('v1')}}]`,
    'a',
  );
  const b = httpRoute(
    `[{matches: [{path: {type: Exact, value: /a}}, {path: {value: /a}, queryParams: [{name: q, value: y}]}, {}], ${to('v2')}}]`,
    'b',
  );
  t.same(
    routesOf(a, b).map(({ name }) => name),
    [
      'default/b/0/0',
      'default/a/0/2',
      'default/a/1/0',
      'default/a/1/1',
      'default/b/0/1',
      'default/a/0/1',
      'default/b/0/2',
      'default/a/0/0',
    ],
  );
});

t.test('where routes exist and none matches all, the last answer is 404', async (t) => {
  const routes = routesOf(httpRoute(`[{matches: [{path: {value: /a}}], ${to('v1')}}]`));
  t.match(routes.at(-1), { match: undefined, action: { kind: 'respond', status: 404 } });
  t.equal(routesOf(httpRoute(`[{${to('v1')}}]`)).length, 1);
});

t.test('weights, headers, rewrites, timeouts and retries are read', async (t) => {
  const [route] = routesOf(
    httpRoute(`
    - matches: [{path: {value: /old/}}]
      filters:
        - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-A, value: "1"}], add: [{name: b, value: "2"}], remove: [C]}}
        - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: d, value: "3"}]}}
        - {type: URLRewrite, urlRewrite: {hostname: new.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}
      timeouts: {request: 1m30s, backendRequest: 500ms}
      retry: {attempts: 3, codes: [503], backoff: 100ms}
      backendRefs:
        - {name: v1, port: 80, weight: 90}
        - {name: v2, port: 80, weight: 10, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: e, value: "4"}]}}]}
`),
  );
  t.match(route, {
    match: { path: { kind: 'path-prefix', value: '/old' } },
    requestHeaders: { set: [['x-a', '1']], add: [['b', '2']], remove: ['c'] },
    responseHeaders: { set: [['d', '3']] },
    rewriteHost: 'new.example',
    rewritePath: { kind: 'prefix', value: '/new' },
    timeoutMs: 90_000,
    retry: { attempts: 3, perTryTimeoutMs: 500, backoffMs: 100, onConnectFailure: true, statusCodes: new Set([503]) },
    action: {
      kind: 'forward',
      backends: [
        { service: key('v1'), port: 80, weight: 90 },
        { service: key('v2'), port: 80, weight: 10, requestHeaders: { set: [['e', '4']] } },
      ],
    },
  });
});

t.test('a timeout of one try bounds the request when there are no retries, and zero is none', async (t) => {
  const timeout = (fields: string) => routesOf(httpRoute(`[{timeouts: {${fields}}, ${to('v1')}}]`))[0]?.timeoutMs;
  t.equal(timeout('backendRequest: 2s'), 2000);
  t.equal(timeout('request: 0s'), undefined);
});

t.test('a redirect has the defaults of Gateway API', async (t) => {
  const [route] = routesOf(httpRoute('[{filters: [{type: RequestRedirect, requestRedirect: {hostname: x.example}}]}]'));
  t.same(route?.action, {
    kind: 'redirect',
    redirect: { scheme: undefined, host: 'x.example', port: undefined, path: undefined, status: 302 },
  });
});

t.test('a rule that cannot be followed is answered with 500, not skipped', async (t) => {
  const broken = [
    `{filters: [{type: ExtensionRef, extensionRef: {group: x, kind: y, name: z}}], ${to('v1')}}`,
    `{filters: [{type: RequestRedirect, requestRedirect: {}}, {type: URLRewrite, urlRewrite: {}}]}`,
    `{matches: [{path: {type: Exact, value: /x}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}], ${to('v1')}}`,
    `{timeouts: {request: soon}, ${to('v1')}}`,
    `{backendRefs: [{name: v1, port: 80, filters: [{type: URLRewrite, urlRewrite: {}}]}]}`,
    // What HTTP cannot carry as it is written: Node throws, and U+010A cut to a byte is a line break.
    ...['"\\u20ac"', '"\\u010ax: y"', '"\\u0001"', '"a\\nb"'].map(
      (value) =>
        `{filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x, value: ${value}}]}}], ${to('v1')}}`,
    ),
    `{filters: [{type: RequestRedirect, requestRedirect: {hostname: "x\\u20ac"}}]}`,
    `{filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: "/\\u20ac"}}}]}`,
    `{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: "/a b"}}}], ${to('v1')}}`,
  ];
  for (const rule of broken) {
    t.match(routesOf(httpRoute(`[${rule}]`))[0]?.action, { kind: 'respond', status: 500 }, rule);
    t.same(codes(httpRoute(`[${rule}]`)), ['ROUTE_RULE_INVALID'], rule);
  }
  t.match(routesOf(httpRoute('[{}]'))[0]?.action, { kind: 'respond', status: 500 }, 'no backend');
  for (const rule of [
    '{redirect: {uri: "/\\u20ac"}}',
    '{redirect: {authority: "a\\u010a"}}',
    '{rewrite: {uri: "/a b"}, route: [{destination: {host: v1}}]}',
    '{directResponse: {status: 200}, headers: {response: {set: {x: "\\u20ac"}}}}',
  ]) {
    t.same(codes(virtualService(`[${rule}]`)), ['ROUTE_RULE_INVALID'], rule);
  }
});

t.test('a backend that does not exist keeps its share, without a service', async (t) => {
  const route = httpRoute(
    '[{backendRefs: [{name: v1, port: 80}, {name: nobody, port: 80}, {name: v2, port: 81}, {kind: Odd, name: v1, port: 80}]}]',
  );
  const [found] = routesOf(route);
  t.match(found?.action, {
    backends: [{ service: key('v1') }, { service: undefined }, { service: undefined }, { service: undefined }],
  });
  t.same(codes(route), ['ROUTE_UNKNOWN_BACKEND', 'ROUTE_UNKNOWN_BACKEND', 'ROUTE_UNKNOWN_BACKEND']);
});

t.test('a match that cannot be decided never matches', async (t) => {
  const route = httpRoute(
    `[{matches: [{path: {type: RegularExpression, value: "(?=x)"}}, {path: {value: /ok}}], ${to('v1')}}]`,
  );
  t.same(codes(route), ['ROUTE_MATCH_INVALID']);
  t.same(
    routesOf(route).map(({ name }) => name),
    ['default/r/0/1', 'no-route-matched'],
  );
});

t.test('a route says when nothing will apply it', async (t) => {
  const elsewhere = (text: string) => text.replace('name: web, namespace: default}]', 'name: v1, namespace: default}]');
  t.same(codes(elsewhere(httpRoute(`[{${to('v2')}}]`))), ['ROUTE_WITHOUT_WAYPOINT']);
  t.same(
    codes(
      virtualService(
        '[{route: [{destination: {host: v1.default.svc.cluster.local}}]}]',
        '[web.default.svc.cluster.local]',
        'other',
      ),
    ),
    ['ROUTE_NAMESPACE'],
  );
  t.same(codes(httpRoute('[]').replace('name: web', 'name: nobody')), ['ROUTE_UNKNOWN_PARENT']);
  t.same(codes(httpRoute('[]').replace('group: "", kind: Service', 'kind: Gateway')), ['ROUTE_PARENT_IGNORED']);
  t.same(codes(httpRoute(`[{sessionPersistance: {}, ${to('v1')}}]`)), ['ROUTE_FIELD_UNSUPPORTED']);
});

t.test('VirtualService routes stay in written order and forward by host', async (t) => {
  const routes = routesOf(
    virtualService(
      `
    - match: [{uri: {prefix: /a}, headers: {X-User: {exact: jason}}, withoutHeaders: {x-not: {}}}]
      route: [{destination: {host: v2.default.svc.cluster.local, port: {number: 80}}, weight: 0}]
      timeout: 0.5s
      retries: {attempts: 2, perTryTimeout: 1s, retryOn: "5xx,reset,418"}
    - match: [{uri: {regex: "/b.*"}, ignoreUriCase: true, port: 80}, {method: {exact: GET}, port: 81}]
      rewrite: {uri: /c, authority: other}
      route: [{destination: {host: v1}, weight: 90}, {destination: {host: v2}, weight: 10, headers: {response: {remove: [x]}}}]
    - redirect: {uri: /d, redirectCode: 308}
    - directResponse: {status: 418, body: {string: teapot}}
`,
    ),
  );
  t.same(
    routes.map(({ name }) => name),
    ['default/v/0/0', 'default/v/1/0', 'default/v/2/0', 'default/v/3/0'],
  );
  t.match(routes[0], {
    match: {
      path: { kind: 'text-prefix', value: '/a' },
      headers: [
        { name: 'x-user', match: { kind: 'exact', value: 'jason' }, negate: false },
        { name: 'x-not', match: { kind: 'presence' }, negate: true },
      ],
    },
    action: { backends: [{ service: key('v2'), port: 80, weight: 1 }] },
    timeoutMs: 500,
    retry: {
      attempts: 2,
      perTryTimeoutMs: 1000,
      on5xx: true,
      onReset: true,
      onConnectFailure: false,
      statusCodes: new Set([418]),
    },
  });
  t.match(routes[1], {
    rewritePath: { kind: 'full', value: '/c' },
    rewriteHost: 'other',
    action: { backends: [{ weight: 90 }, { weight: 10, responseHeaders: { remove: ['x'] } }] },
  });
  t.match(routes[2]?.action, { redirect: { path: { kind: 'full', value: '/d' }, status: 308 } });
  t.match(routes[3]?.action, { kind: 'respond', status: 418, body: 'teapot' });
});

t.test('a rewrite without a match on the path replaces the first slash, as in Istio', async (t) => {
  const [route] = routesOf(virtualService('[{rewrite: {uri: /x/}, route: [{destination: {host: v1}}]}]'));
  t.match(route, {
    match: { path: { kind: 'text-prefix', value: '/' } },
    rewritePath: { kind: 'prefix', value: '/x/' },
  });
});

t.test('hosts may be short, full or begin with a star', async (t) => {
  const rule = '[{route: [{destination: {host: v1}}]}]';
  for (const hosts of ['[web]', '[web.default.svc.cluster.local]']) {
    t.equal(routesOf(virtualService(rule, hosts)).length, 1, hosts);
  }
  const all = compileRoutes(virtualService(rule, '["*.default.svc.cluster.local"]'));
  t.ok(all.l7.ports.has(`${key('web')}:80`) && all.l7.ports.has(`${key('v2')}:80`));
  t.same(codes(virtualService(rule, '[web.default]')), ['ROUTE_UNKNOWN_PARENT']);
  t.equal(routesOf(virtualService(rule).replace('spec:', 'spec:\n  gateways: [ingress]')).length, 0);
});

t.test('a VirtualService matches the namespace of the client', async (t) => {
  const routes = routesOf(virtualService('[{match: [{sourceNamespace: shop}], route: [{destination: {host: v1}}]}]'));
  const request = { method: 'GET', scheme: 'http', authority: 'web', path: '/', query: '', headers: [] };
  const from = (clientNamespace: string | undefined) => matchRoute(routes, { ...request, clientNamespace })?.name;
  t.equal(from('shop'), 'default/v/0/0');
  t.equal(from('shopping'), 'no-route-matched');
  t.equal(from(undefined), 'no-route-matched');
});

t.test('what a VirtualService asks for in vain is said', async (t) => {
  const code = (rule: string) => codes(virtualService(`[${rule}]`))[0];
  t.equal(code('{route: [{destination: {host: v1, subset: a}}]}'), 'ROUTE_UNKNOWN_SUBSET');
  t.equal(code('{route: [{destination: {host: nobody}}]}'), 'ROUTE_UNKNOWN_BACKEND');
  t.equal(code('{mirrorAll: {}, route: [{destination: {host: v1}}]}'), 'ROUTE_FIELD_UNSUPPORTED');
  t.equal(code('{match: [{sourceThings: {a: b}}], route: [{destination: {host: v1}}]}'), 'ROUTE_MATCH_INVALID');
  t.equal(code('{}'), 'ROUTE_RULE_INVALID');
  t.match(routesOf(virtualService('[{route: [{destination: {host: v1, subset: a}}]}]'))[0]?.action, {
    backends: [{ service: 'default/v1.default.svc.cluster.local', subset: 'a' }],
  });
});

t.test('an HTTPRoute is used instead of a VirtualService for the same port', async (t) => {
  const both = [httpRoute(`[{${to('v1')}}]`), virtualService('[{route: [{destination: {host: v2}}]}]')];
  t.same(codes(...both), ['ROUTE_SHADOWED']);
  t.same(
    routesOf(...both).map(({ source }) => source?.kind),
    ['HTTPRoute'],
  );
});
