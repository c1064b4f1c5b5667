/** RequestAuthentication as it is compiled: where it is put, what it defaults to, and what breaks it. */
import t from 'tap';
import { ambientDefault, codesOf, compileText, documents, serviceText } from '../../support/compile-text.ts';

const gateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: default}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;
const mesh = documents(ambientDefault, gateway, serviceText('web', '10.1.0.1', 'istio.io/use-waypoint: wp'));
const jwks = JSON.stringify({ keys: [{ kty: 'EC', crv: 'P-256', x: 'x', y: 'y' }] });

const object = (spec: string, namespace = 'default') => `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: ${namespace}}
spec: ${spec}
`;
const rules = (rule: unknown, target = '{kind: Service, group: "", name: web}') =>
  object(`{targetRefs: [${target}], jwtRules: ${JSON.stringify([rule])}}`);
const ofWeb = (text: string) =>
  compileText(documents(mesh, text)).l7.serviceAuthentications.get('default/web.default.svc.cluster.local')?.[0];
const codes = (text: string) =>
  codesOf(compileText(documents(mesh, text)))
    .map((code) => code.split(' ')[0])
    .filter((code) => code !== 'GATEWAY_NO_ENDPOINTS');

t.test('it is put where its targets are', async (t) => {
  t.match(ofWeb(rules({ issuer: 'i', jwks })), { broken: false, rules: [{ issuer: 'i' }] });
  const onGateway = compileText(documents(mesh, rules({ issuer: 'i', jwks }, '{kind: Gateway, name: wp}'))).l7;
  t.same([...onGateway.gatewayAuthentications.keys()], ['default/wp']);
  const spec = `{targetRefs: [{kind: GatewayClass, name: istio-waypoint}], jwtRules: [{issuer: i, jwks: '${jwks}'}]}`;
  const onClass = compileText(documents(mesh, object(spec, 'istio-system'))).l7;
  t.same([...onClass.gatewayAuthentications.keys()], ['default/wp']);
  t.same(codes(rules({ issuer: 'i', jwks }, '{kind: Service, name: nobody}')), ['POLICY_UNKNOWN_TARGET']);
  t.same(codes(object(`{jwtRules: [{issuer: i, jwks: '${jwks}'}]}`)), ['AUTHENTICATION_NOT_ENFORCED']);
});

t.test('what it defaults to, and what it says', async (t) => {
  t.match(ofWeb(rules({ issuer: 'https://i.example/', audiences: null }))?.rules[0], {
    keys: { kind: 'discovery', url: 'https://i.example/.well-known/openid-configuration' },
    audiences: [],
    timeoutMs: 5_000,
    locations: [
      { kind: 'header', name: 'authorization', prefix: 'Bearer ' },
      { kind: 'param', name: 'access_token' },
    ],
    forwardOriginalToken: false,
    payloadHeader: undefined,
  });
  const full = {
    issuer: 'i',
    audiences: ['a'],
    jwksUri: 'https://k.example/keys',
    timeout: '1m',
    fromHeaders: [{ name: 'X-A' }, { name: 'x-b', prefix: 'P ' }],
    fromParams: ['p'],
    fromCookies: ['c'],
    forwardOriginalToken: true,
    outputPayloadToHeader: 'X-Payload',
    outputClaimToHeaders: [{ header: 'X-C', claim: 'a.b' }],
    spaceDelimitedClaims: ['roles'],
  };
  const [rule] = ofWeb(rules(full))?.rules ?? [];
  t.match(rule, {
    keys: { kind: 'url', url: 'https://k.example/keys' },
    timeoutMs: 30_000,
    locations: [
      { kind: 'header', name: 'x-a', prefix: '' },
      { kind: 'header', name: 'x-b', prefix: 'P ' },
      { kind: 'param', name: 'p' },
      { kind: 'cookie', name: 'c' },
    ],
    payloadHeader: 'x-payload',
    claimHeaders: [{ header: 'x-c', claim: ['a', 'b'] }],
  });
  t.same([...(rule?.spaceDelimitedClaims ?? [])], ['scope', 'permission', 'roles']);
});

t.test('a rule that cannot be read breaks its object', async (t) => {
  const broken: readonly unknown[] = [
    {},
    { issuer: 'i' },
    { issuer: 'i', jwks: 'nonsense' },
    { issuer: 'i', jwks: '{"keys": 1}' },
    { issuer: 'i', jwksUri: 'file:///etc/passwd' },
    { issuer: 'i', jwksUri: 'https://user:secret@k.example/' },
    { issuer: 'i', jwks, audience: 'misspelt' },
    { issuer: 'i', jwks, fromHeaders: [{ name: 'a b' }] },
    { issuer: 'i', jwks, outputPayloadToHeader: 'Transfer-Encoding' },
    { issuer: 'i', jwks, outputClaimToHeaders: [{ header: ':path', claim: 'x' }] },
    { issuer: 'i', jwks, timeout: 'soon' },
  ];
  for (const rule of broken) {
    t.match(ofWeb(rules(rule)), { broken: true }, JSON.stringify(rule));
    t.match(codes(rules(rule)), ['AUTHENTICATION_RULE_INVALID'], JSON.stringify(rule));
  }
  t.same(codes(object('{targetRefs: 1}')), ['OBJECT_INVALID']);
});
