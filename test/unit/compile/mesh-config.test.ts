/** Istio's mesh configuration, as users have it. */
import t from 'tap';
import { compile } from '../../../src/compile/compile.ts';
import { defaultMeshConfig } from '../../../src/route/mesh-config.ts';
import { asMeshConfig, readConfigFile } from '../../../src/xds/config-file.ts';
import { codesOf, compileText, documents, presetOptions } from '../../support/compile-text.ts';

const configMap = (mesh: string, name = 'istio', namespace = 'istio-system') => `
apiVersion: v1
kind: ConfigMap
metadata: {name: ${name}, namespace: ${namespace}}
data:
  mesh: |-
${mesh.replace(/^/gm, '    ')}
  meshNetworks: 'networks: {}'
`;

const providers = `
extensionProviders:
- name: my-http
  envoyExtAuthzHttp:
    service: ext-authz.foo.svc.cluster.local
    port: "8000"
    timeout: 0.5s
    failOpen: true
    statusOnError: "503"
    pathPrefix: /check
    clearRouteCache: true
    includeRequestHeadersInCheck: [X-Ext-Authz, x-pre-*, '*-suf']
    includeAdditionalHeadersInCheck: {x-from: waypoint}
    includeRequestBodyInCheck: {maxRequestBytes: 1024, allowPartialMessage: true}
    headersToUpstreamOnAllow: [x-user]
    headersToDownstreamOnDeny: [x-why]
    headersToDownstreamOnAllow: [x-ok]
- name: my-grpc
  envoy_ext_authz_grpc: {service: bar/ext-authz.example.com, port: 9000}
- name: log
  envoyFileAccessLog: {logFormat: {labels: {status: '%RESPONSE_CODE%'}}}
- name: otel-log
  envoyOtelAls: {service: otel.obs.svc.cluster.local, port: 4317}
- name: otel
  opentelemetry:
    service: otel.obs.svc.cluster.local
    port: 4318
    http: {path: /v1/traces, headers: [{name: x-key, value: secret}]}
- name: zip
  zipkin: {service: zipkin.obs.svc.cluster.local, port: 9411, enable_64bit_trace_id: true}
- name: prom
  prometheus: {}
`;

t.test('providers of all kinds are read from the ConfigMap', async (t) => {
  const compiled = compileText(configMap(providers));
  t.same(codesOf(compiled), []);
  const { providers: read } = compiled.l7.meshConfig;
  t.same(read.get('my-http'), {
    kind: 'ext-authz-http',
    name: 'my-http',
    target: { hostname: 'ext-authz.foo.svc.cluster.local', namespace: undefined, port: 8000 },
    timeoutMs: 500,
    failOpen: true,
    statusOnError: 503,
    body: { maxBytes: 1024, allowPartial: true, asBytes: false },
    clearRouteCache: true,
    pathPrefix: '/check',
    includeRequestHeaders: [
      { kind: 'exact', value: 'x-ext-authz' },
      { kind: 'prefix', value: 'x-pre-' },
      { kind: 'suffix', value: '-suf' },
    ],
    additionalHeaders: [['x-from', 'waypoint']],
    headersToUpstreamOnAllow: [{ kind: 'exact', value: 'x-user' }],
    headersToDownstreamOnDeny: [{ kind: 'exact', value: 'x-why' }],
    headersToDownstreamOnAllow: [{ kind: 'exact', value: 'x-ok' }],
  });
  t.same(read.get('my-grpc'), {
    kind: 'ext-authz-grpc',
    name: 'my-grpc',
    target: { hostname: 'ext-authz.example.com', namespace: 'bar', port: 9000 },
    timeoutMs: 600_000,
    failOpen: false,
    statusOnError: 403,
    body: undefined,
    clearRouteCache: false,
  });
  t.match(read.get('log'), { kind: 'file-access-log', path: '/dev/stdout', format: { labels: { status: String } } });
  t.match(read.get('otel-log'), { kind: 'otel-access-log', logName: 'otel_envoy_accesslog' });
  t.match(read.get('otel'), { http: { path: '/v1/traces', timeoutMs: 3000, headers: [['x-key', 'secret']] } });
  t.match(read.get('zip'), { kind: 'zipkin', shortTraceIds: true, path: '/api/v2/spans' });
  t.same(read.get('prom'), { kind: 'prometheus', name: 'prom' });
});

t.test('settings of the whole mesh', async (t) => {
  const { l7, diagnostics } = compileText(
    configMap(`
accessLogFile: /dev/stdout
accessLogEncoding: JSON
enableTracing: true
defaultConfig: {discoveryAddress: istiod.istio-system.svc:15012, tracing: {sampling: 12.5}}
defaultProviders: {tracing: [otel], metrics: [], accessLogging: [log]}
pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}
defaultHttpRetryPolicy: {attempts: 0}
trustDomainAliases: [old.example]
rootNamespace: istio-system
`),
  );
  t.match(l7.meshConfig, {
    defaultProviders: { tracing: ['otel'], metrics: [], accessLogging: ['log'] },
    pathNormalization: 'decode-and-merge-slashes',
    retry: { attempts: 0 },
    trustDomainAliases: ['old.example'],
    accessLog: { file: '/dev/stdout', encoding: 'json' },
    enableTracing: true,
    tracingSamplingPercent: 12.5,
  });
  t.match(diagnostics, [{ code: 'MESH_CONFIG_IGNORED', message: /rootNamespace/ }]);
});

t.test('a provider that cannot be read stays as one that cannot be used, and harms no other', async (t) => {
  const { l7, diagnostics } = compileText(
    configMap(`
extensionProviders:
- name: good
  envoyExtAuthzGrpc: {service: a.b.svc.cluster.local, port: 9000}
- name: no-port
  envoyExtAuthzGrpc: {service: a.b.svc.cluster.local}
- name: star
  envoyExtAuthzHttp: {service: a.b.svc.cluster.local, port: 80, headersToUpstreamOnAllow: ['*']}
- name: status
  envoyExtAuthzHttp: {service: a.b.svc.cluster.local, port: 80, statusOnError: teapot}
- name: body
  envoyExtAuthzHttp: {service: a.b.svc.cluster.local, port: 80, includeRequestBodyInCheck: {maxRequestBytes: 0}}
- name: dog
  datadog: {service: a.b.svc.cluster.local, port: 80}
- name: both
  prometheus: {}
  zipkin: {service: a.b.svc.cluster.local, port: 80}
- name: twice
  prometheus: {}
- name: twice
  prometheus: {}
- prometheus: {}
`),
  );
  const { providers: read } = l7.meshConfig;
  t.equal(read.get('good')?.kind, 'ext-authz-grpc');
  for (const name of ['no-port', 'star', 'status', 'body', 'dog', 'both', 'twice']) {
    t.equal(read.get(name)?.kind, 'unusable', name);
  }
  t.equal(diagnostics.filter(({ code }) => code === 'MESH_CONFIG_INVALID').length, 8);
  t.match(diagnostics[0], { message: /no-port: envoyExtAuthzGrpc.port.*line 5 of data.mesh/, position: { line: 6 } });
});

t.test('one field that is wrong leaves the others alone', async (t) => {
  const { l7, diagnostics } = compileText(
    configMap(`
pathNormalization: {normalization: SOME}
trustDomainAliases: [good]
`),
  );
  t.equal(l7.meshConfig.pathNormalization, 'base');
  t.same(l7.meshConfig.trustDomainAliases, ['good']);
  t.match(diagnostics, [{ code: 'MESH_CONFIG_INVALID', message: /pathNormalization.normalization/ }]);
});

t.test('text that is no YAML is reported and means nothing', async (t) => {
  const compiled = compileText(configMap('a: [b'));
  t.same(compiled.l7.meshConfig, defaultMeshConfig);
  t.equal(compiled.diagnostics[0]?.code, 'MESH_CONFIG_INVALID');
});

t.test('ConfigMaps of something else say nothing', async (t) => {
  const others = documents(configMap('enableTracing: true', 'other'), configMap('enableTracing: true', 'istio', 'foo'));
  const compiled = compileText(others);
  t.same(compiled.l7.meshConfig, defaultMeshConfig);
  t.same(codesOf(compiled), []);
});

t.test('an IstioOperator has it, too; the ConfigMap goes first', async (t) => {
  const operator = `
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: op, namespace: istio-system}
spec: {meshConfig: {accessLogFile: /from/operator}}
`;
  t.equal(compileText(operator).l7.meshConfig.accessLog.file, '/from/operator');
  const both = compileText(documents(operator, configMap('accessLogFile: /from/map')));
  t.equal(both.l7.meshConfig.accessLog.file, '/from/map');
  t.match(both.diagnostics, [{ code: 'MESH_CONFIG_SHADOWED', object: /IstioOperator/ }]);
});

t.test('a file of its own goes before the folder’s, plain or as values of the Helm chart', async (t) => {
  const options = presetOptions('modern');
  const folder = readConfigFile(configMap('accessLogFile: /from/map'), 'map.yaml', undefined).objects;
  for (const text of ['accessLogFile: /from/file', 'meshConfig: {accessLogFile: /from/file}']) {
    const own = readConfigFile(text, 'mesh.yaml', undefined, asMeshConfig);
    t.same(own.diagnostics, []);
    t.equal(compile([...folder, ...own.objects], options).l7.meshConfig.accessLog.file, '/from/file');
  }
  const wrong = readConfigFile('a: 1\npathNormalization: {normalization: SOME}', 'mesh.yaml', undefined, asMeshConfig);
  t.match(compile(wrong.objects, options).diagnostics, [
    { code: 'MESH_CONFIG_INVALID', position: { file: 'mesh.yaml', line: 2 } },
    { code: 'MESH_CONFIG_IGNORED' },
  ]);
});

t.test('a new version with an error keeps the last good one', async (t) => {
  const good = readConfigFile(configMap('accessLogFile: /good'), 'map.yaml', undefined);
  const broken = readConfigFile(configMap('accessLogFile: [1]'), 'map.yaml', good);
  t.equal(broken.objects[0], good.objects[0]);
});
