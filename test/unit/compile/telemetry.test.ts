/** Telemetry as it is compiled: where it applies, how levels are laid over each other, and what is wrong with it. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { holds } from '../../../src/route/cel/expression.ts';
import type { TrafficFacts } from '../../../src/route/telemetry/facts.ts';
import { rulesFor, type TelemetryRules } from '../../../src/route/telemetry/rules.ts';
import { ambientDefault, codesOf, compileText, documents, serviceText } from '../../support/compile-text.ts';
import { requestFacts } from '../../support/traffic-facts.ts';

const gateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: default}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;
const mesh = documents(
  ambientDefault,
  gateway,
  serviceText('web', '10.1.0.1', 'istio.io/use-waypoint: wp'),
  serviceText('api', '10.1.0.2', 'istio.io/use-waypoint: wp'),
);

function telemetry(spec: unknown, namespace = 'default', name = 'a'): string {
  return `
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: ${name}, namespace: ${namespace}}
spec: ${JSON.stringify(spec)}
`;
}

function meshConfig(config: unknown): string {
  return `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: '${JSON.stringify(config)}'}
`;
}

const toWeb = { targetRefs: [{ kind: 'Service', group: '', name: 'web' }] };
const toGateway = { targetRefs: [{ kind: 'Gateway', group: 'gateway.networking.k8s.io', name: 'wp' }] };
const webKey = 'default/web.default.svc.cluster.local';
const apiKey = 'default/api.default.svc.cluster.local';

function rulesOf(service: string, ...texts: string[]): TelemetryRules | undefined {
  return rulesFor(compileText(documents(mesh, ...texts)).l7.telemetry, 'default/wp', service);
}

const logs = (rules: TelemetryRules | undefined) =>
  rules?.accessLogs?.map(
    ({ provider, filter }) => `${provider.kind}${filter === undefined ? '' : ` ${filter.source}`}`,
  );

function codes(...texts: string[]): readonly string[] {
  return codesOf(compileText(documents(mesh, ...texts)))
    .map((code) => code.split(' ')[0] ?? '')
    .filter((code) => code !== 'GATEWAY_NO_ENDPOINTS');
}

t.test('nobody said anything: there are no rules', async (t) => {
  t.equal(compileText(mesh).l7.telemetry, undefined);
  t.equal(rulesOf(webKey, telemetry({})), undefined);
  t.equal(rulesOf(webKey, telemetry({ accessLogging: [{ match: { mode: 'CLIENT' }, disabled: true }] })), undefined);
});

t.test('root, namespace, gateway and service are laid over each other in this order', async (t) => {
  const root = telemetry({ accessLogging: [{ providers: [{ name: 'envoy' }] }] }, 'istio-system');
  t.same(logs(rulesOf(webKey, root)), ['file']);
  const namespace = telemetry({ accessLogging: [{ disabled: true }] });
  t.same(logs(rulesOf(webKey, root, namespace)), []);
  const ofGateway = telemetry({ ...toGateway, accessLogging: [{ providers: [{ name: 'ambit' }] }] }, 'default', 'b');
  t.same(logs(rulesOf(webKey, root, namespace, ofGateway)), ['own']);
  const errors = { filter: { expression: 'response.code >= 500' } };
  const ofWeb = telemetry({ ...toWeb, accessLogging: [errors] }, 'default', 'c');
  t.same(logs(rulesOf(webKey, root, namespace, ofGateway, ofWeb)), ['own response.code >= 500']);
  t.same(logs(rulesOf(apiKey, root, namespace, ofGateway, ofWeb)), ['own'], 'others are as the gateway says');
  t.same(logs(rulesOf(webKey, telemetry({ accessLogging: [{ disabled: true }] }, 'other'))), undefined);
});

t.test('a filter without a provider is for the log there is, mode and disabled choose', async (t) => {
  t.same(logs(rulesOf(webKey, telemetry({ accessLogging: [{ filter: { expression: 'false' } }] }))), ['own false']);
  const both = [
    { providers: [{ name: 'envoy' }, { name: 'ambit' }] },
    { providers: [{ name: 'envoy' }], disabled: true },
  ];
  t.same(logs(rulesOf(webKey, telemetry({ accessLogging: both }))), ['own']);
  const server = [{ match: { mode: 'SERVER' }, providers: [{ name: 'envoy' }] }];
  t.same(logs(rulesOf(webKey, telemetry({ accessLogging: server }))), ['file']);
});

t.test('the mesh configuration says which logs there are without a Telemetry, and what providers are', async (t) => {
  t.same(logs(rulesOf(webKey, meshConfig({ accessLogFile: '/dev/stdout' }))), ['file']);
  t.same(logs(rulesOf(webKey, meshConfig({ accessLogFile: '' }))), []);
  const file = rulesOf(webKey, meshConfig({ accessLogFile: '/x', accessLogEncoding: 'JSON' }))?.accessLogs?.[0]
    ?.provider;
  t.match(file, { kind: 'file', path: '/x', format: { kind: 'json' } });
  const own = rulesOf(webKey, meshConfig({ accessLogFile: '/x', accessLogFormat: '%PROTOCOL% %RESPONSE_CODE%' }));
  const [log] = own?.accessLogs ?? [];
  t.equal(log?.provider.kind === 'file' && log.provider.format.line(requestFacts), 'HTTP/1.1 200\n');
  const providers = {
    extensionProviders: [
      { name: 'json', envoyFileAccessLog: { path: '/y', logFormat: { labels: { code: '%RESPONSE_CODE%' } } } },
      {
        name: 'otel',
        envoyOtelAls: { service: 'otel.obs.svc.cluster.local', port: 4317, logFormat: { labels: { a: '%PROTOCOL%' } } },
      },
    ],
    defaultProviders: { accessLogging: ['json', 'otel'] },
  };
  const [json, otel] = rulesOf(webKey, meshConfig(providers))?.accessLogs ?? [];
  t.equal(json?.provider.kind === 'file' && json.provider.format.line(requestFacts), '{"code":200}\n');
  if (otel?.provider.kind !== 'otlp') throw new Error('not otlp');
  t.match(otel.provider.target, { hostname: 'otel.obs.svc.cluster.local', port: 4317 });
  t.match(otel.provider.body(requestFacts), /^\[2026/);
  t.same(
    otel.provider.attributes.map(([key, read]) => [key, read(requestFacts)]),
    [['a', 'HTTP/1.1']],
  );
});

t.test('overrides of metrics are laid over each other, label by label', async (t) => {
  const root = telemetry(
    {
      metrics: [
        {
          providers: [{ name: 'prometheus' }],
          reportingInterval: '10s',
          overrides: [
            {
              match: { metric: 'REQUEST_COUNT' },
              tagOverrides: { request_host: { value: 'request.host' }, a: { operation: 'REMOVE' } },
            },
            { match: { metric: 'REQUEST_SIZE', mode: 'CLIENT' }, disabled: true },
          ],
        },
      ],
    },
    'istio-system',
  );
  const narrower = telemetry({
    metrics: [
      {
        overrides: [
          { match: { metric: 'REQUEST_COUNT' }, tagOverrides: { a: { value: '"x"' } } },
          { match: { customMetric: 'request_bytes' }, disabled: true },
        ],
      },
    ],
  });
  const { metrics } = rulesOf(webKey, root, narrower) ?? {};
  t.equal(metrics?.reportingIntervalMs, 10_000);
  t.same([...(metrics?.overrides.keys() ?? [])].sort(), ['istio_request_bytes', 'istio_requests_total']);
  const count = metrics?.overrides.get('istio_requests_total');
  t.same(count?.remove, []);
  t.same(
    count?.set.map(([label, { evaluate }]) => [label, evaluate(requestFacts)]),
    [
      ['a', 'x'],
      ['request_host', 'reviews:9080'],
    ],
  );
  t.match(metrics?.overrides.get('istio_request_bytes'), { disabled: true });
});

t.test('all metrics go, and come back where a narrower level says anything', async (t) => {
  const off = { overrides: [{ match: { metric: 'ALL_METRICS' }, disabled: true }] };
  const all = rulesOf(webKey, telemetry({ metrics: [off] }));
  t.equal([...(all?.metrics?.overrides.values() ?? [])].filter(({ disabled }) => disabled).length, 10);
  const back = telemetry(
    { ...toWeb, metrics: [{ overrides: [{ match: { metric: 'REQUEST_SIZE' }, disabled: true }] }] },
    'default',
    'b',
  );
  t.same(
    [...(rulesOf(webKey, telemetry({ metrics: [off] }), back)?.metrics?.overrides.keys() ?? [])],
    ['istio_request_bytes'],
  );
  const foreign = rulesOf(webKey, telemetry({ metrics: [{ providers: [{ name: 'stackdriver' }] }] }));
  t.equal(foreign?.metrics?.overrides.size, 10, 'a provider that is not Prometheus takes its place');
  t.equal(rulesOf(webKey, telemetry({ metrics: [{ providers: [{ name: 'prometheus' }] }] })), undefined);
});

t.test('traces: settings are taken field by field, tags as a whole', async (t) => {
  const config = meshConfig({
    extensionProviders: [
      {
        name: 'otel',
        opentelemetry: { service: 'otel.obs.svc.cluster.local', port: 4318, http: { path: '/v1/traces' } },
      },
    ],
  });
  const root = telemetry(
    {
      tracing: [
        {
          providers: [{ name: 'otel' }],
          randomSamplingPercentage: 50,
          customTags: { env: { literal: { value: 'prod' } } },
          useRequestIdForTraceSampling: false,
        },
      ],
    },
    'istio-system',
  );
  const narrower = telemetry({
    tracing: [
      {
        enableIstioTags: false,
        disableContextPropagation: true,
        customTags: {
          who: { header: { name: 'User-Agent' } },
          none: { header: { name: 'x-none', defaultValue: 'd' } },
          zone: { environment: { name: 'ZONE', defaultValue: 'z' } },
          line: { formatter: { value: '%PROTOCOL%!' } },
        },
      },
    ],
  });
  const { tracing } = rulesOf(webKey, config, root, narrower) ?? {};
  t.match(tracing, {
    provider: { kind: 'otlp', http: { path: '/v1/traces' }, maxTagLength: 256 },
    samplingPercent: 50,
    byRequestId: false,
    istioTags: false,
    propagate: false,
  });
  const values = tracing?.customTags.map(({ name, value }) => [
    name,
    value.kind === 'read' ? value.read(requestFacts) : value,
  ]);
  t.match(values, [
    ['who', 'curl/8'],
    ['none', 'd'],
    ['zone', { kind: 'environment', variable: 'ZONE', fallback: 'z' }],
    ['line', 'HTTP/1.1!'],
  ]);
  t.match(rulesOf(webKey, telemetry({ tracing: [{ randomSamplingPercentage: 3 }] }))?.tracing, {
    provider: { kind: 'environment' },
    samplingPercent: 3,
    byRequestId: true,
  });
  t.match(rulesOf(webKey, config, root, telemetry({ tracing: [{ disableSpanReporting: true }] }))?.tracing, {
    provider: undefined,
    propagate: true,
  });
  const usual = meshConfig({
    extensionProviders: [{ name: 'z', zipkin: { service: 'zipkin.obs.svc.cluster.local', port: 9411 } }],
    defaultProviders: { tracing: ['z'] },
  });
  t.match(rulesOf(webKey, usual)?.tracing, { provider: { kind: 'zipkin', path: '/api/v2/spans' }, samplingPercent: 1 });
});

t.test('what is wrong is told, and takes nothing else with it', async (t) => {
  const bad = (spec: unknown) => codes(telemetry(spec));
  t.same(bad({ accessLogging: [{ filter: { expression: 'response.cod >= 1' } }] }), ['OBJECT_INVALID']);
  t.same(bad({ metrics: [{ overrides: [{ match: { metric: 'NOPE' } }] }] }), ['OBJECT_INVALID']);
  t.same(bad({ metrics: [{ overrides: [{ tagOverrides: { le: { value: '1' } } }] }] }), ['OBJECT_INVALID']);
  t.same(bad({ metrics: [{ overrides: [{ tagOverrides: { a: {} } }] }] }), ['OBJECT_INVALID']);
  t.same(bad({ tracing: [{ customTags: { a: { environment: { name: 'AUTH_TOKEN' } } } }] }), ['OBJECT_INVALID']);
  t.same(bad({ tracing: [{ customTags: { a: {} } }] }), ['OBJECT_INVALID']);
  t.same(bad({ tracing: [{ randomSamplingPercentage: 101 }] }), ['OBJECT_INVALID']);
  t.same(bad({ accessLogging: [{ providers: [{ name: 'nobody' }] }] }), ['TELEMETRY_PROVIDER']);
  t.same(bad({ targetRefs: 3 }), ['OBJECT_INVALID']);
  t.same(bad({ selector: { matchLabels: { app: 'web' } } }), ['TELEMETRY_IGNORED']);
  t.same(bad({ somethingNew: 1 }), ['TELEMETRY_IGNORED']);
  t.same(codes(telemetry({}), telemetry({}, 'default', 'b')), ['TELEMETRY_SHADOWED']);
  t.same(bad({ targetRefs: [{ kind: 'Service', name: 'nobody' }] }), ['POLICY_UNKNOWN_TARGET']);
  const format = meshConfig({ accessLogFile: '/dev/stdout', accessLogFormat: '%NOPE%' });
  t.same(codes(format), ['TELEMETRY_PROVIDER']);
  t.same(logs(rulesOf(webKey, format)), ['file'], 'the default format is used');
});

t.test('the example of docs/telemetry.md says what the page says', async (t) => {
  const page = readFileSync(path.join(import.meta.dirname, '../../../docs/telemetry.md'), 'utf8');
  const [, example = ''] = /## Telemetry API[\s\S]*?```yaml\n([\s\S]*?)```/.exec(page) ?? [];
  const shop = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: wp}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: shop}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {clusterIP: 10.1.0.9, selector: {app: reviews}, ports: [{name: http, port: 9080}]}
`;
  const compiled = compileText(documents(shop, `\n${example}`));
  t.same(
    codesOf(compiled).filter((code) => !code.startsWith('GATEWAY_NO_ENDPOINTS')),
    [],
  );
  const rules = rulesFor(compiled.l7.telemetry, 'shop/wp', 'shop/reviews.shop.svc.cluster.local');
  const [log] = rules?.accessLogs ?? [];
  const passes = (facts: TrafficFacts) => log?.filter !== undefined && holds(log.filter, facts);
  t.equal(passes(requestFacts), false);
  t.equal(passes({ ...requestFacts, status: 503 }), true);
  t.equal(
    log?.provider.kind === 'file' && log.provider.format.line(requestFacts),
    '{"code":200,"peer":"spiffe://td/ns/shop/sa/web","ms":42}\n',
  );
  t.match(rules?.tracing, { provider: { kind: 'otlp', name: 'otel' }, samplingPercent: 5 });
  t.match(rules?.metrics?.overrides.get('istio_requests_total'), { remove: ['source_app'] });
});
