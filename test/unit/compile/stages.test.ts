/** CORS, faults and mirrors as HTTPRoute and VirtualService write them. */
import t from 'tap';
import { matchesText } from '../../../src/route/match-text.ts';
import type { Route } from '../../../src/route/model.ts';
import { codesOf, compileText, documents, serviceText } from '../../support/compile-text.ts';

const services = documents(
  serviceText('web', '10.96.0.1'),
  serviceText('v1', '10.96.0.2'),
  serviceText('v2', '10.96.0.3'),
);
const key = (name: string) => `default/${name}.default.svc.cluster.local`;

const httpRoute = (filters: string) => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: default}
spec:
  parentRefs: [{group: "", kind: Service, name: web}]
  rules: [{filters: ${filters}, backendRefs: [{name: v1, port: 80}]}]
`;

const virtualService = (fields: string) => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: default}
spec:
  hosts: [web]
  http: [{${fields}, route: [{destination: {host: v1}}]}]
`;

function routeOf(text: string): Route | undefined {
  return compileText(documents(services, text)).l7.ports.get(`${key('web')}:80`)?.routes[0];
}

function codes(text: string): readonly string[] {
  const all = codesOf(compileText(documents(services, text))).map((code) => code.split(' ')[0] ?? '');
  return all.filter((code) => code !== 'ROUTE_WITHOUT_WAYPOINT');
}

function allows(text: string, origin: string): boolean {
  return routeOf(text)?.stages?.cors?.allowOrigins.some((match) => matchesText(match, origin)) === true;
}

const mirrorTo = (share: string) => `{type: RequestMirror, requestMirror: {backendRef: {name: v2, port: 80}${share}}}`;

t.test('an HTTPRoute mirrors to several backends, by percent or fraction', async (t) => {
  const route = routeOf(
    httpRoute(`[${['', ', percent: 20', ', fraction: {numerator: 1, denominator: 8}'].map(mirrorTo).join()}]`),
  );
  t.match(route?.stages?.mirrors, [
    { backend: { service: key('v2'), port: 80 }, share: 1 },
    { backend: { service: key('v2') }, share: 0.2 },
    { backend: { service: key('v2') }, share: 0.125 },
  ]);
  t.match(route?.action, { kind: 'forward', backends: [{ service: key('v1') }] });
});

t.test('a mirror that does not exist is left out, and the requests go on', async (t) => {
  const text = httpRoute('[{type: RequestMirror, requestMirror: {backendRef: {name: nobody, port: 80}}}]');
  t.same(codes(text), ['ROUTE_UNKNOWN_MIRROR']);
  t.equal(routeOf(text)?.stages, undefined);
  t.match(routeOf(text)?.action, { kind: 'forward' });
});

t.test('percent and fraction exclude each other, and a fraction is at most one', async (t) => {
  for (const share of ['percent: 1, fraction: {numerator: 1}', 'fraction: {numerator: 3, denominator: 2}']) {
    const text = httpRoute(`[{type: RequestMirror, requestMirror: {backendRef: {name: v2, port: 80}, ${share}}}]`);
    t.same(codes(text), ['ROUTE_RULE_INVALID'], share);
    t.match(routeOf(text)?.action, { kind: 'respond', status: 500 }, share);
  }
});

t.test('the CORS filter has the defaults of Gateway API', async (t) => {
  t.match(
    routeOf(httpRoute('[{type: CORS, cors: {allowOrigins: ["https://foo.com"], allowMethods: ["*"]}}]'))?.stages,
    {
      cors: {
        allowMethods: ['*'],
        allowHeaders: [],
        allowCredentials: false,
        maxAgeSeconds: 5,
        answerUnmatched: true,
      },
    },
  );
});

t.test('an origin with a star stands for any depth, and for nothing else', async (t) => {
  const text = httpRoute('[{type: CORS, cors: {allowOrigins: ["https://*.bar.com", "http://foo.com:8080"]}}]');
  for (const origin of ['https://a.bar.com', 'https://a.b.bar.com', 'HTTPS://A.bar.com', 'http://foo.com:8080']) {
    t.ok(allows(text, origin), origin);
  }
  for (const origin of [
    'https://bar.com',
    'https://abar.com',
    'http://a.bar.com',
    'https://a.bar.com:8443',
    'https://a.bar.com.evil.com',
    'https://evil.com/a.bar.com',
    'https://axbarxcom',
    'http://foo.com',
    'null',
  ]) {
    t.notOk(allows(text, origin), origin);
  }
  t.ok(allows(httpRoute('[{type: CORS, cors: {allowOrigins: ["*"]}}]'), 'null'));
});

t.test('what cannot be a header or an origin is refused', async (t) => {
  for (const cors of ['allowOrigins: [foo.com]', 'allowMethods: ["G T"]', 'allowHeaders: ["a\\r\\nb"]']) {
    t.same(codes(httpRoute(`[{type: CORS, cors: {${cors}}}]`)), ['ROUTE_RULE_INVALID'], cors);
  }
});

t.test('a VirtualService has corsPolicy', async (t) => {
  const text = virtualService(
    'corsPolicy: {allowOrigins: [{exact: "https://a.com"}, {prefix: "https://b."}, {regex: "https://c[0-9]"}], allowMethods: [GET], maxAge: 24h, allowCredentials: true}',
  );
  t.same(codes(text), []);
  t.match(routeOf(text)?.stages?.cors, { maxAgeSeconds: 86_400, allowCredentials: true, answerUnmatched: false });
  t.ok(['https://a.com', 'https://b.com', 'https://c1'].every((origin) => allows(text, origin)));
  t.notOk(['https://a.com.evil', 'https://c12', 'b'].some((origin) => allows(text, origin)));
  t.ok(allows(virtualService('corsPolicy: {allowOrigin: ["*"]}'), 'https://x'), 'the older form');
  t.match(routeOf(virtualService('corsPolicy: {unmatchedPreflights: IGNORE}'))?.stages?.cors, {
    answerUnmatched: true,
  });
});

t.test('a VirtualService injects faults', async (t) => {
  const fault = (text: string) => routeOf(virtualService(`fault: ${text}`))?.stages?.fault;
  t.same(fault('{delay: {fixedDelay: 7s, percentage: {value: 0.1}}}'), {
    delay: { delayMs: 7000, share: 0.001 },
    abort: undefined,
  });
  t.match(fault('{delay: {fixedDelay: 1s, percent: 50}, abort: {httpStatus: 418, percentage: {value: 100}}}'), {
    delay: { share: 0.5 },
    abort: { answer: { kind: 'http', status: 418 }, share: 1 },
  });
  t.match(fault('{abort: {grpcStatus: UNAVAILABLE}}'), {
    abort: { answer: { kind: 'grpc', grpcStatus: 14 }, share: 0 },
  });
  for (const bad of ['{}', '{abort: {}}', '{abort: {grpcStatus: NO}}', '{delay: {}}', '{abort: {httpStatus: 99}}']) {
    t.same(codes(virtualService(`fault: ${bad}`)), ['ROUTE_RULE_INVALID'], bad);
  }
});

t.test('a VirtualService mirrors to one or several', async (t) => {
  const mirrors = (text: string) => routeOf(virtualService(text))?.stages?.mirrors;
  t.match(mirrors('mirror: {host: v2}'), [{ backend: { service: key('v2'), port: 80 }, share: 1 }]);
  t.match(mirrors('mirror: {host: v2}, mirrorPercentage: {value: 12.5}'), [{ share: 0.125 }]);
  t.match(mirrors('mirrors: [{destination: {host: v2}, percentage: {value: 50}}, {destination: {host: v1}}]'), [
    { backend: { service: key('v2') }, share: 0.5 },
    { backend: { service: key('v1') }, share: 1 },
  ]);
  t.same(codes(virtualService('mirror: {host: v2}, mirrors: [{destination: {host: v1}}]')), ['ROUTE_RULE_INVALID']);
  t.same(codes(virtualService('mirror: {host: nobody}')), ['ROUTE_UNKNOWN_MIRROR']);
});
