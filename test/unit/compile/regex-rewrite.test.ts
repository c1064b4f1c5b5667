/** `uriRegexRewrite`, with the examples of Istio's reference. */
import t from 'tap';
import { rewritePath } from '../../../src/route/rewrite.ts';
import { codesOf, compileText, documents, serviceText } from '../../support/compile-text.ts';

const services = documents(serviceText('web', '10.96.0.1'), serviceText('v1', '10.96.0.2'));

function compileRewrite(rewrite: object) {
  const rule = JSON.stringify({ rewrite, route: [{ destination: { host: 'v1' } }] });
  const text = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: default}
spec: {hosts: [web], http: [${rule}]}
`;
  const compilation = compileText(documents(services, text));
  const route = compilation.l7.ports.get('default/web.default.svc.cluster.local:80')?.routes[0];
  return { codes: codesOf(compilation).map((code) => code.split(' ')[0]), route };
}

function rewritten(match: string, rewrite: string, path: string): string {
  const { route } = compileRewrite({ uriRegexRewrite: { match, rewrite } });
  if (route?.rewritePath === undefined) throw new Error('no rewrite');
  return rewritePath(path, route.rewritePath, route.match?.path);
}

t.test('groups stand in the replacement, and every match is replaced', async (t) => {
  t.equal(rewritten('^/service/([^/]+)(/.*)$', '\\2/instance/\\1', '/service/foo/v1/api'), '/v1/api/instance/foo');
  t.equal(rewritten('one', 'two', '/xxx/one/yyy/one/zzz'), '/xxx/two/yyy/two/zzz');
  t.equal(rewritten('^(.*?)one(.*)$', '\\1two\\2', '/xxx/one/yyy/one/zzz'), '/xxx/two/yyy/one/zzz');
  t.equal(rewritten('(?i)/xxx/', '/yyy/', '/aaa/XxX/bbb'), '/aaa/yyy/bbb');
  t.equal(rewritten('/a', '[\\0]$1', '/a/b'), '/[/a]$1/b', 'a dollar is a dollar');
});

t.test('the path stays a path', async (t) => {
  t.equal(rewritten('^/api/', '', '/api/x'), '/x');
  t.equal(rewritten('.*', '', '/x'), '/');
  t.equal(rewritten('/none', '/x', '/a'), '/a');
});

t.test('what cannot be a rewrite is answered with 500', async (t) => {
  for (const [match, rewrite] of [
    ['(?=x)', '/'],
    ['/(a)', '\\2'],
    ['/a', '/b?c=d'],
    ['/a', '/b#c'],
    ['/a', '/b c'],
    ['/a', '/b\r\nx: y'],
    ['/a', '\\q'],
  ]) {
    const { codes, route } = compileRewrite({ uriRegexRewrite: { match, rewrite } });
    t.ok(codes.includes('ROUTE_RULE_INVALID'), `${match} ${rewrite}`);
    t.match(route?.action, { kind: 'respond', status: 500 });
  }
  t.ok(
    compileRewrite({ uri: '/x', uriRegexRewrite: { match: 'a', rewrite: 'b' } }).codes.includes('ROUTE_RULE_INVALID'),
  );
});
