/** TrafficProtection as it is compiled: where it is put, what it defaults to, and what is wrong with it. */
import t from 'tap';
import { compile } from '../../../src/compile/compile.ts';
import {
  ambientDefault,
  codesOf,
  compileText,
  documents,
  objectsOf,
  presetOptions,
  serviceText,
} from '../../support/compile-text.ts';

const gateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: default}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;
const route = (kind: string) => `
apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: {name: ${kind.toLowerCase()}, namespace: default}
spec: {parentRefs: [{kind: Service, group: "", name: web}], rules: [{backendRefs: [{name: web, port: 80}]}]}
`;
const mesh = documents(
  ambientDefault,
  gateway,
  serviceText('web', '10.1.0.1', 'istio.io/use-waypoint: wp'),
  serviceText('ratelimit', '10.1.0.2'),
  route('HTTPRoute'),
  route('GRPCRoute'),
);

const object = (spec: string, annotations = '') => `
apiVersion: ambit.dev/v1alpha1
kind: TrafficProtection
metadata: {name: limits, namespace: default, annotations: {${annotations}}}
spec: ${spec}
`;
const onWeb = (fields: string) => object(`{targetRefs: [{kind: Service, group: "", name: web}], ${fields}}`);
const webKey = 'default/web.default.svc.cluster.local';
const ofWeb = (text: string) => compileText(documents(mesh, text)).l7.protections?.services.get(webKey)?.[0];
const codes = (text: string) =>
  codesOf(compileText(documents(mesh, text)))
    .map((code) => code.split(' ')[0])
    .filter((code) => /^(OBJECT|POLICY|PROTECTION)_/.test(code ?? ''));

t.test('without any there is nothing to ask', async (t) => {
  t.equal(compileText(mesh).l7.protections, undefined);
});

t.test('it is put where its targets are', async (t) => {
  const spec = `{targetRefs: [
    {kind: Service, group: "", name: web}, {kind: Gateway, name: wp},
    {kind: HTTPRoute, name: httproute}, {kind: GRPCRoute, name: grpcroute}]}`;
  const { protections } = compileText(documents(mesh, object(spec))).l7;
  t.same([...(protections?.services.keys() ?? [])], [webKey]);
  t.same([...(protections?.gateways.keys() ?? [])], ['default/wp']);
  t.same([...(protections?.routes.keys() ?? [])], ['HTTPRoute/default/httproute', 'GRPCRoute/default/grpcroute']);
  t.equal(
    protections?.services.get(webKey)?.[0],
    protections?.routes.get('HTTPRoute/default/httproute')?.[0],
    'one record, and so one count, for all targets',
  );
  t.same(codes(object('{targetRefs: [{kind: HTTPRoute, name: nobody}]}')), ['POLICY_UNKNOWN_TARGET']);
  t.same(codes(object('{targetRefs: [{kind: Pod, name: web}]}')), ['POLICY_UNKNOWN_TARGET']);
  t.same(codes(object('{requestSize: {maxHeaders: 10}}')), ['PROTECTION_WITHOUT_TARGET']);
});

t.test('what it defaults to', async (t) => {
  const protection = ofWeb(
    onWeb('localRateLimits: [{name: all, requests: 5}], concurrencyLimits: [{name: few, maxRequests: 2}]'),
  );
  t.match(protection, { dryRun: false, size: undefined, rateLimitHeaders: false, grpcStatus: 8, global: [] });
  t.strictSame(protection?.local, [
    {
      name: 'default/limits/all',
      matches: [],
      key: [],
      tokens: 5,
      intervalMs: 1000,
      burst: 5,
      maxKeys: 1,
      whenFull: 'share',
    },
  ]);
  t.strictSame(protection?.concurrency, [
    { name: 'default/limits/few', matches: [], key: [], maxRequests: 2, maxQueued: 0, queueTimeoutMs: 1000 },
  ]);
});

t.test('what it says', async (t) => {
  const protection = ofWeb(
    onWeb(`
      requestSize: {maxBodyBytes: 2Mi, maxHeaderBytes: 512, maxHeaders: 20}, rateLimitHeaders: Draft03,
      grpcStatus: Unavailable, localRateLimits: [{name: tenant, requests: 10, interval: 1m, burst: 20, maxKeys: 7,
      whenFull: Deny, key: [{from: ClientIdentity}, {header: X-Tenant}], matches: [{path: {value: /api}, method: POST}]}],
      globalRateLimits: [{name: shop, domain: shop, service: {name: ratelimit, port: 80}, timeout: 50ms, failOpen: true,
      hitsAddend: 2, descriptors: [{entries: [{key: client, from: ClientIdentity}, {key: api, value: v1},
      {key: tenant, header: X-Tenant, default: none}], limit: {requestsPerUnit: 3, unit: Minute}}]}]`),
  );
  t.match(protection?.size, { maxBodyBytes: 2 * 1024 * 1024, maxHeaderBytes: 512, maxHeaders: 20 });
  t.match(protection, { rateLimitHeaders: true, grpcStatus: 14 });
  t.match(protection?.local[0], {
    tokens: 10,
    intervalMs: 60_000,
    burst: 20,
    maxKeys: 7,
    whenFull: 'deny',
    key: [{ kind: 'client-identity' }, { kind: 'header', name: 'x-tenant' }],
    matches: [{ path: { kind: 'path-prefix', value: '/api' }, method: { value: 'POST' } }],
  });
  t.match(protection?.global[0], {
    domain: 'shop',
    service: 'default/ratelimit.default.svc.cluster.local',
    port: 80,
    timeoutMs: 50,
    failOpen: true,
    statusOnError: 503,
    hitsAddend: 2,
    descriptors: [
      {
        limit: { requestsPerUnit: 3, unit: 2 },
        entries: [
          { key: 'client', value: { kind: 'client-identity' } },
          { key: 'api', value: 'v1' },
          { key: 'tenant', value: { kind: 'header', name: 'x-tenant' }, otherwise: 'none' },
        ],
      },
    ],
  });
});

t.test('what is wrong is said where it stands, and with nothing left there is no object', async (t) => {
  const bad = [
    'localRateLimits: [{name: a, requests: 0}]',
    'localRateLimits: [{name: a, requests: 1, interval: 0s}]',
    'localRateLimits: [{name: a, requests: 1, key: [{from: Cookie}]}]',
    'localRateLimits: [{name: a, requests: 1, matches: [{path: {type: RegularExpression, value: "("}}]}]',
    'localRateLimits: [{name: a, requets: 1}]',
    'requestSize: {maxBodyBytes: 1.5Mi}',
    'globalRateLimits: [{name: a, domain: d, service: {name: ratelimit, port: 80}, descriptors: []}]',
  ];
  for (const fields of bad) {
    t.same([...new Set(codes(onWeb(fields)))], ['OBJECT_INVALID', 'PROTECTION_INCOMPLETE'], fields);
    t.equal(ofWeb(onWeb(fields)), undefined, fields);
  }
  const unknown = (service: string) =>
    onWeb(
      `globalRateLimits: [{name: a, domain: d, service: ${service}, descriptors: [{entries: [{key: k, value: v}]}]}]`,
    );
  t.same(codes(unknown('{name: nobody, port: 80}')), ['PROTECTION_UNKNOWN_SERVICE']);
  t.same(codes(unknown('{name: ratelimit, port: 81}')), ['PROTECTION_UNKNOWN_SERVICE']);
  t.equal(ofWeb(unknown('{name: nobody, port: 80}'))?.global.length, 1, 'asked for all the same, and so not open');
});

t.test('of an object in which something cannot be read all else is in force, and what is not is named', async (t) => {
  const text = onWeb(`requestSize: {maxBodyBytes: 1Mi, maxHeaders: many}, rateLimitHeaders: Draft04, burts: 3,
    localRateLimits: [{name: good, requests: 5}, {name: bad, requests: 0}, {name: good, requests: 1}],
    globalRateLimits: {name: none}, concurrencyLimits: [{name: few, maxRequests: 2}, 7]`);
  const protection = ofWeb(text);
  t.match(protection, { size: { maxBodyBytes: 1024 * 1024 }, rateLimitHeaders: false, global: [] });
  t.equal(protection?.size?.maxHeaders, undefined);
  t.match(protection?.local, [{ name: 'default/limits/good', tokens: 5 }]);
  t.match(protection?.concurrency, [{ name: 'default/limits/few', maxRequests: 2 }]);
  t.equal(protection?.local.length, 1);
  const [told] = compileText(documents(mesh, text)).diagnostics.filter(({ code }) => code === 'PROTECTION_INCOMPLETE');
  t.equal(
    told?.message,
    'left out, and limiting nothing: burts; requestSize.maxHeaders; localRateLimits[1]; globalRateLimits; concurrencyLimits[1]; rateLimitHeaders; another limit good; the rest is in force',
  );
});

t.test('more limits than there may be: the first ones count', async (t) => {
  const many = Array.from({ length: 40 }, (_, i) => `{name: l${i}, requests: 1}`).join(', ');
  const text = onWeb(`localRateLimits: [${many}]`);
  t.equal(ofWeb(text)?.local.length, 32);
  t.same(codes(text), ['PROTECTION_INCOMPLETE']);
});

t.test('where nobody can tell what it is about it limits nothing, and says so', async (t) => {
  t.same(codes(object('{targetRefs: [7], localRateLimits: [{name: a, requests: 1}]}')), ['PROTECTION_INCOMPLETE']);
  t.same([...new Set(codes(object('7')))], ['OBJECT_INVALID', 'PROTECTION_INCOMPLETE']);
});

t.test('an object that did not change keeps its record, and with it its counts', async (t) => {
  const objects = objectsOf(documents(mesh, onWeb('localRateLimits: [{name: all, requests: 5}]')));
  const record = (extra: string) =>
    compile([...objects, ...objectsOf(extra)], presetOptions('modern')).l7.protections?.services.get(webKey)?.[0];
  t.equal(record(serviceText('a', '10.1.0.3')), record(serviceText('b', '10.1.0.4')));
});

const consumerRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: foreign, namespace: shop}
spec: {parentRefs: [{group: "", kind: Service, name: web, namespace: default}], rules: [{backendRefs: [{name: web, namespace: default, port: 80}]}]}
`;

t.test('limits of a consumer route are not kept by the waypoint of somebody else', async (t) => {
  const spec =
    '{targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: foreign}], requestSize: {maxHeaders: 5}}';
  const text = documents(mesh, consumerRoute, object(spec).replace('namespace: default', 'namespace: shop'));
  const compiled = compileText(text);
  t.equal(compiled.l7.protections?.routes.size, 0);
  t.ok(codesOf(compiled).some((code) => code.startsWith('POLICY_UNKNOWN_TARGET')));
});
