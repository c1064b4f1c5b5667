/** Fields of a VirtualService's http rule, as Istio's reference says what they do. */
import t from 'tap';
import type { Redirect, Route } from '../../../src/route/model.ts';
import { redirectLocation } from '../../../src/route/rewrite.ts';
import { codesOf, compileText, documents, serviceText } from '../../support/compile-text.ts';

const services = documents(serviceText('web', '10.96.0.1'), serviceText('v1', '10.96.0.2'));

function compiled(rule: string) {
  return compileText(
    documents(
      services,
      `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: default}
spec: {hosts: [web], http: [${rule}]}
`,
    ),
  );
}

function routeOf(rule: string): Route | undefined {
  return compiled(rule).l7.ports.get('default/web.default.svc.cluster.local:80')?.routes[0];
}

function codes(rule: string): readonly string[] {
  const all = codesOf(compiled(rule)).map((code) => code.split(' ')[0] ?? '');
  return all.filter((code) => code !== 'ROUTE_WITHOUT_WAYPOINT');
}

function locationOf(redirect: string, authority = 'web:8080'): string | undefined {
  const action = routeOf(`{redirect: ${redirect}}`)?.action;
  if (action?.kind !== 'redirect') return undefined;
  const request = { method: 'GET', scheme: 'http', authority, path: '/p', query: '?q=1', headers: [] };
  const { redirect: made }: { readonly redirect: Redirect } = action;
  return redirectLocation(made, request, 80, undefined);
}

t.test('a redirect keeps, gives or derives the port', async (t) => {
  t.equal(locationOf('{uri: /new}'), 'http://web:8080/new?q=1', 'the same host keeps its port');
  t.equal(locationOf('{authority: other}'), 'http://other/p?q=1', 'another host has its scheme’s');
  t.equal(locationOf('{authority: other, derivePort: FROM_REQUEST_PORT}'), 'http://other:8080/p?q=1');
  t.equal(locationOf('{authority: other, derivePort: FROM_REQUEST_PORT}', 'web'), 'http://other/p?q=1');
  t.equal(locationOf('{scheme: https, derivePort: FROM_PROTOCOL_DEFAULT}', 'web:80'), 'https://web/p?q=1');
  t.equal(locationOf('{authority: other, port: 9000}'), 'http://other:9000/p?q=1');
  t.same(codes('{redirect: {port: 80, derivePort: FROM_REQUEST_PORT}}'), ['ROUTE_RULE_INVALID']);
});

t.test('a direct response has its body as text or as bytes, and not without end', async (t) => {
  t.match(routeOf('{directResponse: {status: 503, body: {string: later}}}')?.action, { status: 503, body: 'later' });
  t.match(routeOf('{directResponse: {status: 200, body: {bytes: aGk=}}}')?.action, { body: 'hi' });
  t.match(routeOf('{directResponse: {status: 204}}')?.action, { status: 204, body: '' });
  t.same(codes(`{directResponse: {status: 200, body: {string: ${'x'.repeat(70_000)}}}}`), ['ROUTE_RULE_INVALID']);
  t.same(codes('{directResponse: {status: 200, body: {string: a, bytes: aGk=}}}'), ['ROUTE_RULE_INVALID']);
});

t.test('headers of the rule and of the destination are both changed', async (t) => {
  const route = routeOf(
    '{headers: {request: {set: {A: "1"}}}, route: [{destination: {host: v1}, headers: {response: {remove: [b]}}}]}',
  );
  t.match(route?.requestHeaders, { set: [['a', '1']] });
  t.match(route?.action, { backends: [{ responseHeaders: { remove: ['b'] } }] });
});

t.test('a host that nobody has is answered with 503, as Istio does', async (t) => {
  t.match(routeOf('{route: [{destination: {host: nobody}}]}')?.action, {
    backends: [{ service: undefined, refusal: 503 }],
  });
});

t.test('what excludes one another is refused, not guessed', async (t) => {
  for (const rule of [
    '{delegate: {name: d}, route: [{destination: {host: v1}}]}',
    '{mirror: {host: v1}, mirrors: [{destination: {host: v1}}], route: [{destination: {host: v1}}]}',
    '{rewrite: {uri: /a, uriRegexRewrite: {match: a, rewrite: b}}, route: [{destination: {host: v1}}]}',
  ]) {
    t.same(codes(rule), ['ROUTE_RULE_INVALID'], rule);
    t.match(routeOf(rule)?.action, { kind: 'respond', status: 500 }, rule);
  }
});
