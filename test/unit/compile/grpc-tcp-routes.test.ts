/** GRPCRoute (GEP-1016) and TCPRoute, by the words of the standard. */
import t from 'tap';
import { matchRoute } from '../../../src/route/match-route.ts';
import { codesOf, compileText, documents, serviceText } from '../../support/compile-text.ts';

const services = documents(
  serviceText('web', '10.96.0.1'),
  serviceText('v1', '10.96.0.2'),
  serviceText('v2', '10.96.0.3'),
);
const key = (name: string) => `default/${name}.default.svc.cluster.local`;

const route = (kind: string, rules: string, name = 'r') => `
apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: {name: ${name}, namespace: default}
spec:
  parentRefs: [{group: "", kind: Service, name: web}]
  rules: ${rules}
`;
const to = (name: string, weight = 1) => `backendRefs: [{name: ${name}, port: 80, weight: ${weight}}]`;

function portOf(...texts: readonly string[]) {
  return compileText(documents(services, ...texts)).l7.ports.get(`${key('web')}:80`);
}

function codes(...texts: readonly string[]): readonly string[] {
  const all = codesOf(compileText(documents(services, ...texts))).map((code) => code.split(' ')[0] ?? '');
  return all.filter((code) => code !== 'ROUTE_WITHOUT_WAYPOINT');
}

function matched(rules: string, path: string, headers: readonly string[] = []): string | undefined {
  const request = { method: 'POST', scheme: 'http', authority: 'web', path, query: '', headers };
  return matchRoute(portOf(route('GRPCRoute', rules))?.routes ?? [], request)?.name;
}

t.test('a method match is exact in service and method; what is not named may be anything', async (t) => {
  const rules = `[{matches: [{method: {service: a.B, method: Get}}], ${to('v1')}},
    {matches: [{method: {service: a.B}}], ${to('v1')}}, {matches: [{method: {method: Ping}}], ${to('v1')}}]`;
  t.equal(matched(rules, '/a.B/Get'), 'default/r/0/0');
  t.equal(matched(rules, '/a.B/Put'), 'default/r/1/0');
  t.equal(matched(rules, '/x.Y/Ping'), 'default/r/2/0');
  for (const path of ['/a.Bc/Get', '/a.b/Get', '/x.Y/Pinged', '/x/y/Ping', '/']) {
    t.equal(matched(rules, path), 'no-route-matched', path);
  }
});

t.test('a pattern stays within its segment and matches it whole', async (t) => {
  const rules = `[{matches: [{method: {type: RegularExpression, service: "a|b", method: "Get.*"}}], ${to('v1')}}]`;
  t.equal(matched(rules, '/a/GetIt'), 'default/r/0/0');
  t.equal(matched(rules, '/b/Get'), 'default/r/0/0');
  for (const path of ['/ab/Get', '/a/xGet', '/a']) t.equal(matched(rules, path), 'no-route-matched', path);
});

t.test('longest service first, then longest method, then most headers, then the place in the list', async (t) => {
  const rules = `[{matches: [{}, {method: {method: VeryLongMethod}}, {method: {service: s}}, {method: {service: s, method: M}},
    {method: {service: longer}}, {method: {service: s}, headers: [{name: X, value: "1"}]}], ${to('v1')}}]`;
  t.same(
    portOf(route('GRPCRoute', rules))?.routes.map(({ name }) => name.split('/').at(-1)),
    ['4', '3', '5', '2', '1', '0'],
  );
  t.equal(matched(rules, '/s/Q', ['x', '1']), 'default/r/0/5');
});

t.test('what cannot be a gRPC match, or is no filter of GRPCRoute, is refused', async (t) => {
  for (const method of ['{service: a/b}', '{method: "M/x"}', '{}', '{type: RegularExpression, method: "(?=x)"}']) {
    t.same(
      codes(route('GRPCRoute', `[{matches: [{method: ${method}}], ${to('v1')}}]`)),
      ['ROUTE_MATCH_INVALID'],
      method,
    );
  }
  const rewrite = route('GRPCRoute', `[{filters: [{type: URLRewrite, urlRewrite: {}}], ${to('v1')}}]`);
  t.same(codes(rewrite), ['ROUTE_RULE_INVALID']);
  t.match(portOf(rewrite)?.routes[0]?.action, { kind: 'respond', status: 500, grpcStatus: 14 });
  t.same(codes(route('GRPCRoute', `[{timeouts: {request: 1s}, ${to('v1')}}]`)), ['ROUTE_FIELD_UNSUPPORTED']);
});

t.test('a GRPCRoute leaves no room for an HTTPRoute on the same port', async (t) => {
  const both = [route('HTTPRoute', `[{${to('v1')}}]`, 'h'), route('GRPCRoute', `[{${to('v2')}}]`, 'g')];
  t.same(codes(...both), ['ROUTE_SHADOWED']);
  t.same(
    portOf(...both)?.routes.map(({ source }) => source?.kind),
    ['GRPCRoute'],
  );
});

const plainPort = (text: string) => text.replace('name: http', 'name: tcp');

t.test('a TCPRoute shares connections by weight; no backend refuses, and HTTP ports have none', async (t) => {
  const rules = '[{backendRefs: [{name: v1, port: 80, weight: 3}, {name: nobody, port: 80}]}]';
  const onTcp = (...texts: readonly string[]) => {
    const compilation = compileText(
      documents(plainPort(serviceText('web', '10.96.0.1')), serviceText('v1', '10.96.0.2'), ...texts),
    );
    return compilation.l7.ports.get(`${key('web')}:80`);
  };
  const port = onTcp(route('TCPRoute', rules));
  t.match(port?.streams[0]?.backends, [
    { service: key('v1'), port: 80, weight: 3 },
    { service: undefined, weight: 1 },
  ]);
  t.same(port?.routes, [], 'nothing for HTTP');
  t.match(onTcp(route('TCPRoute', '[]'))?.streams[0]?.backends, [{ service: undefined }]);
  t.match(onTcp(route('TCPRoute', rules, 'a'), route('TCPRoute', '[]', 'b'))?.streams, [
    { name: 'default/a/0/0', backends: [{ weight: 3 }, {}] },
  ]);
});

t.test('a TCPRoute for a port that speaks HTTP is reported', async (t) => {
  const http = serviceText('web', '10.96.0.1').replace('port: 80', 'port: 80, appProtocol: http');
  const compilation = compileText(
    documents(http, serviceText('v1', '10.96.0.2'), route('TCPRoute', `[{${to('v1')}}]`)),
  );
  t.ok(codesOf(compilation).some((code) => code.startsWith('ROUTE_PROTOCOL')));
  t.notOk(compilation.l7.ports.has(`${key('web')}:80`));
});

t.test('tcp routes of a VirtualService: the first with the port, and a TCPRoute goes before them', async (t) => {
  const virtual = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: default}
spec:
  hosts: [web]
  tcp:
    - {match: [{port: 81}], route: [{destination: {host: v1}}]}
    - {match: [{sourceThings: {a: b}}], route: [{destination: {host: v1}}]}
    - {match: [{port: 80}], route: [{destination: {host: v2}, weight: 20}, {destination: {host: v1}, weight: 80}]}
`;
  const tcpServices = documents(
    plainPort(serviceText('web', '10.96.0.1')),
    serviceText('v1', '10.96.0.2'),
    serviceText('v2', '10.96.0.3'),
  );
  const compiled = (...texts: readonly string[]) => compileText(documents(tcpServices, virtual, ...texts));
  const port = compiled().l7.ports.get(`${key('web')}:80`);
  t.match(port?.streams[0]?.backends, [
    { service: key('v2'), port: 80, weight: 20 },
    { service: key('v1'), weight: 80 },
  ]);
  t.same(port?.routes, [], 'no http routes: nothing said about requests');
  t.ok(
    codesOf(compiled()).some((code) => code.startsWith('ROUTE_MATCH_INVALID')),
    'a match that cannot be decided',
  );
  const both = compiled(route('TCPRoute', `[{${to('v1')}}]`)).l7.ports.get(`${key('web')}:80`);
  t.match(both?.streams, [{ backends: [{ service: key('v1'), weight: 1 }] }]);
  t.equal(both?.streams.length, 1);
  const onHttp = compileText(documents(services, virtual)).l7.ports;
  t.notOk(onHttp.has(`${key('web')}:80`), 'nor anything about a port that speaks HTTP');
});
