/** DestinationRules: what each setting becomes, which rule is for whom, and how several of one host are merged. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { compile } from '../../../src/compile/compile.ts';
import { type DestinationPolicy, destinationOf, policyFor } from '../../../src/route/destination.ts';
import { codesOf, compileText, documents, objectsOf, presetOptions, serviceText } from '../../support/compile-text.ts';

const key = 'default/web.default.svc.cluster.local';

const waypoint = (namespace: string) => `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: ${namespace}}
spec:
  gatewayClassName: istio-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: All}}}]
`;

const web = (waypointNamespace = 'default') =>
  documents(
    waypoint(waypointNamespace),
    serviceText(
      'web',
      '10.96.0.1',
      `istio.io/use-waypoint: waypoint, istio.io/use-waypoint-namespace: ${waypointNamespace}`,
    ),
  );

const rule = (spec: string, name = 'rule', namespace = 'default', created = '2026-01-01T00:00:00Z') => `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ${name}, namespace: ${namespace}, creationTimestamp: "${created}"}
spec: ${spec}
`;

const policy = (settings: string) => `{host: web, trafficPolicy: {${settings}}}`;

function compiled(text: string, services = web()) {
  const compilation = compileText(documents(services, text));
  const codes = codesOf(compilation)
    .map((code) => code.split(' ')[0] ?? '')
    .filter((code) => code.startsWith('DESTINATION') || code === 'OBJECT_INVALID');
  return { destinations: compilation.l7.destinations, codes, diagnostics: compilation.diagnostics };
}

function inForce(text: string, port = 80, subset?: string, client = 'default', services = web()) {
  return policyFor(destinationOf(compiled(text, services).destinations, client, key), port, subset);
}

const sourcesFor = (text: string, client: string, services = web()) =>
  destinationOf(compiled(text, services).destinations, client, key)?.sources.map(
    ({ namespace, name }) => `${namespace}/${name}`,
  );

t.test('every setting becomes a record with its units', async (t) => {
  const settings = `
    connectionPool:
      tcp:
        maxConnections: 100
        connectTimeout: 30ms
        tcpKeepalive: {probes: 3, time: 7200s, interval: 75s}
        maxConnectionDuration: 1h
        idleTimeout: 0s
      http:
        http1MaxPendingRequests: 10
        http2MaxRequests: 1000
        maxRequestsPerConnection: 5
        maxRetries: 2
        idleTimeout: 30s
        h2UpgradePolicy: UPGRADE
        useClientProtocol: true
        maxConcurrentStreams: 7
    outlierDetection:
      consecutive5xxErrors: 7
      consecutiveGatewayErrors: 3
      splitExternalLocalOriginErrors: true
      consecutiveLocalOriginFailures: 2
      interval: 5m
      baseEjectionTime: 15m
      maxEjectionPercent: 50
      minHealthPercent: 20
    tls: {mode: SIMPLE, sni: web.example, subjectAltNames: [web.example], caCertificates: /etc/ca.pem}
    proxyProtocol: {version: V2}
    retryBudget: {percent: 25, minRetryConcurrency: 5}
    loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 60s, minimumPercent: 20, aggression: 2}}
  `;
  const { codes } = compiled(rule(`\n  host: web\n  trafficPolicy:${settings}`));
  t.same(codes, []);
  t.same(inForce(rule(`\n  host: web\n  trafficPolicy:${settings}`)), {
    connectionPool: {
      maxConnections: 100,
      connectTimeoutMs: 30,
      keepalive: { probes: 3, timeMs: 7_200_000, intervalMs: 75_000 },
      maxConnectionDurationMs: 3_600_000,
      tcpIdleTimeoutMs: 0,
      maxPendingRequests: 10,
      maxRequests: 1000,
      maxRequestsPerConnection: 5,
      maxRetries: 2,
      httpIdleTimeoutMs: 30_000,
      h2Upgrade: 'always',
      useClientProtocol: true,
      maxConcurrentStreams: 7,
    },
    outlierDetection: {
      consecutive5xx: 7,
      consecutiveGatewayErrors: 3,
      splitLocalOrigin: true,
      consecutiveLocalOrigin: 2,
      intervalMs: 300_000,
      baseEjectionMs: 900_000,
      maxEjectionPercent: 50,
      minHealthPercent: 20,
    },
    tls: {
      mode: 'simple',
      clientCertificate: undefined,
      privateKey: undefined,
      caCertificates: '/etc/ca.pem',
      caCrl: undefined,
      credentialName: undefined,
      subjectAltNames: ['web.example'],
      sni: 'web.example',
      insecureSkipVerify: false,
    },
    proxyProtocol: 'v2',
    tunnel: undefined,
    retryBudget: { percent: 25, minRetryConcurrency: 5 },
    loadBalancer: {
      choice: { kind: 'simple', balancer: 'round-robin' },
      warmup: { durationMs: 60_000, minimumPercent: 20, aggression: 2 },
      locality: undefined,
    },
  } satisfies DestinationPolicy);
});

t.test('empty sections have the defaults of Istio', async (t) => {
  const found = inForce(rule(policy('outlierDetection: {}, loadBalancer: {}, retryBudget: {}, proxyProtocol: {}')));
  t.match(found, {
    outlierDetection: {
      consecutive5xx: 5,
      consecutiveGatewayErrors: 0,
      splitLocalOrigin: false,
      intervalMs: 10_000,
      baseEjectionMs: 30_000,
      maxEjectionPercent: 10,
      minHealthPercent: 0,
    },
    loadBalancer: { choice: { kind: 'simple', balancer: 'least-request' } },
    retryBudget: { percent: 20, minRetryConcurrency: 3 },
    proxyProtocol: 'v1',
  });
});

t.test('consistent hashing: keys and tables', async (t) => {
  const hash = (text: string) => inForce(rule(policy(`loadBalancer: {consistentHash: ${text}}`)))?.loadBalancer?.choice;
  const ring = { kind: 'ring', minimumSize: 1024 };
  t.same(hash('{httpHeaderName: X-User}'), { kind: 'hash', key: { kind: 'header', name: 'x-user' }, table: ring });
  t.same(hash('{httpCookie: {name: user, path: /p, ttl: 0s}}'), {
    kind: 'hash',
    key: { kind: 'cookie', name: 'user', path: '/p', ttlMs: 0 },
    table: ring,
  });
  t.match(hash('{httpCookie: {name: user}}'), { key: { ttlMs: undefined } });
  t.match(hash('{useSourceIp: true, ringHash: {minimumRingSize: 64}}'), {
    key: { kind: 'source-ip' },
    table: { kind: 'ring', minimumSize: 64 },
  });
  t.match(hash('{httpQueryParameterName: id, maglev: {}}'), {
    key: { kind: 'query', name: 'id' },
    table: { kind: 'maglev', size: 65_537 },
  });
  t.match(hash('{useSourceIp: true, maglev: {tableSize: "131"}}'), { table: { kind: 'maglev', size: 131 } });
  for (const wrong of [
    '{}',
    '{useSourceIp: true, httpHeaderName: x}',
    '{useSourceIp: true, maglev: {tableSize: 100}}',
    '{useSourceIp: true, maglev: {}, ringHash: {}}',
    '{httpHeaderName: "a b"}',
    '{httpCookie: {name: "a;b"}}',
    '{httpCookie: {name: a, path: "/;x"}}',
  ]) {
    const { codes } = compiled(rule(policy(`loadBalancer: {consistentHash: ${wrong}}`)));
    t.same(codes, ['DESTINATION_SETTING_INVALID'], wrong);
  }
});

t.test('locality settings are read, and only one kind at a time', async (t) => {
  const locality = (text: string) =>
    inForce(rule(policy(`outlierDetection: {}, loadBalancer: {localityLbSetting: ${text}}`)))?.loadBalancer?.locality;
  t.same(locality('{distribute: [{from: "r1/z1/*", to: {"r1/z1/*": 80, "r2": 20}}]}'), {
    enabled: true,
    distribute: [
      {
        from: { region: 'r1', zone: 'z1', subzone: undefined },
        to: [
          { to: { region: 'r1', zone: 'z1', subzone: undefined }, weight: 80 },
          { to: { region: 'r2', zone: undefined, subzone: undefined }, weight: 20 },
        ],
      },
    ],
    failover: [],
    failoverPriority: [],
  });
  t.match(locality('{enabled: false}'), { enabled: false });
  t.match(locality('{failover: [{from: r1, to: r2}]}'), { failover: [{ from: 'r1', to: 'r2' }] });
  t.match(locality('{failoverPriority: [topology.istio.io/network, version=v1]}'), {
    failoverPriority: [
      { label: 'topology.istio.io/network', value: undefined },
      { label: 'version', value: 'v1' },
    ],
  });
  for (const wrong of [
    '{distribute: [{from: r1, to: {r1: 80}}]}',
    '{distribute: [{from: "*/z", to: {r1: 100}}]}',
    '{distribute: [{from: r1, to: {r1: 100}}], failover: [{from: a, to: b}]}',
    '{failover: [{from: a, to: a}]}',
  ]) {
    t.equal(locality(wrong), undefined, wrong);
  }
  t.same(compiled(rule(policy('loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}]}}'))).codes, [
    'DESTINATION_FAILOVER',
  ]);
});

t.test('a setting that is wrong is left out alone; wrong TLS lets nothing through', async (t) => {
  const text = rule(
    policy('connectionPool: {tcp: {maxConnections: many}}, loadBalancer: {simple: RANDOM}, tls: {mode: X}'),
  );
  t.same(compiled(text).codes, ['DESTINATION_SETTING_INVALID', 'DESTINATION_SETTING_INVALID']);
  t.match(inForce(text), {
    connectionPool: undefined,
    loadBalancer: { choice: { balancer: 'random' } },
    tls: { mode: 'invalid', reason: /trafficPolicy\.tls\.mode/ },
  });
  t.match(inForce(rule(policy('tls: {mode: MUTUAL}'))), { tls: { mode: 'invalid' } });
  t.match(inForce(rule(policy('tls: {mode: SIMPLE, credentialName: a, caCertificates: b}'))), {
    tls: { mode: 'invalid' },
  });
  t.match(inForce(rule('{host: web, trafficPolicy: [1]}')), { tls: { mode: 'invalid' } });
  t.match(inForce(rule(policy('portLevelSettings: [{port: {number: 0}}]'))), { tls: { mode: 'invalid' } });
});

t.test('what nobody knows is named and costs only itself', async (t) => {
  const text = rule(policy('connectionPool: {tcp: {maxConnections: 3, speed: 9}}, later: {}'));
  const { codes, diagnostics } = compiled(text);
  t.same(codes, ['DESTINATION_FIELD_UNSUPPORTED', 'DESTINATION_FIELD_UNSUPPORTED']);
  t.match(inForce(text), { connectionPool: { maxConnections: 3 } });
  t.ok(diagnostics.some(({ message }) => message === 'tcp.speed has no effect'));
  t.same(compiled(rule('{host: web, workloadSelector: {matchLabels: {a: b}}}')).codes, [
    'DESTINATION_FIELD_UNSUPPORTED',
  ]);
});

t.test('a tunnel to another proxy is refused, also one that cannot be read', async (t) => {
  const text = rule(policy('tunnel: {targetHost: a.example, targetPort: 3128}'));
  t.same(compiled(text).codes, ['DESTINATION_TUNNEL']);
  t.match(inForce(text), { tunnel: { protocol: 'CONNECT', targetHost: 'a.example', targetPort: 3128 } });
  t.match(inForce(rule(policy('tunnel: {}'))), { tunnel: { protocol: 'invalid' } });
});

t.test('what is said for a port takes the place of everything said for all', async (t) => {
  const text = rule(
    policy(
      'loadBalancer: {simple: RANDOM}, connectionPool: {tcp: {maxConnections: 3}}, proxyProtocol: {}, ' +
        'portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: ROUND_ROBIN}}, {port: {number: 80}}]',
    ),
  );
  t.match(inForce(text, 80), {
    loadBalancer: { choice: { balancer: 'round-robin' } },
    connectionPool: undefined,
    proxyProtocol: undefined,
  });
  t.match(inForce(text, 81), {
    loadBalancer: { choice: { balancer: 'random' } },
    connectionPool: { maxConnections: 3 },
    proxyProtocol: 'v1',
  });
});

t.test('a subset overrides by sections; what it says for a port leaves the rest at its defaults', async (t) => {
  const text = rule(`
  host: web
  trafficPolicy:
    loadBalancer: {simple: RANDOM}
    connectionPool: {tcp: {maxConnections: 3}}
    proxyProtocol: {version: V2}
    portLevelSettings: [{port: {number: 81}, outlierDetection: {}}]
  subsets:
    - {name: plain, labels: {version: v1}}
    - name: own
      labels: {version: v2}
      trafficPolicy:
        loadBalancer: {simple: ROUND_ROBIN}
        portLevelSettings: [{port: {number: 82}, tls: {mode: SIMPLE}}]
  `);
  t.match(inForce(text, 80, 'plain'), { loadBalancer: { choice: { balancer: 'random' } } });
  t.match(inForce(text, 81, 'plain'), { loadBalancer: undefined, outlierDetection: { consecutive5xx: 5 } });
  t.match(inForce(text, 80, 'own'), {
    loadBalancer: { choice: { balancer: 'round-robin' } },
    connectionPool: { maxConnections: 3 },
    proxyProtocol: 'v2',
  });
  t.match(inForce(text, 81, 'own'), {
    loadBalancer: { choice: { balancer: 'round-robin' } },
    connectionPool: undefined,
    outlierDetection: { consecutive5xx: 5 },
  });
  t.match(inForce(text, 82, 'own'), {
    loadBalancer: undefined,
    connectionPool: undefined,
    tls: { mode: 'simple' },
    proxyProtocol: 'v2',
  });
  t.equal(inForce(text, 80, 'nobody'), undefined);
  const destination = destinationOf(compiled(text).destinations, 'default', key);
  t.same(destination?.subsets.get('own')?.labels, { version: 'v2' });
});

const marked = (mark: number) => `trafficPolicy: {connectionPool: {tcp: {maxConnections: ${mark}}}}`;
const full = 'web.default.svc.cluster.local';

t.test('rules of the waypoint’s namespace come first, then the service’s, then the root’s', async (t) => {
  const all = [
    rule(`{host: ${full}, ${marked(1)}}`, 'r', 'istio-system'),
    rule(`{host: ${full}, ${marked(2)}}`, 'r', 'default'),
    rule(`{host: ${full}, ${marked(3)}}`, 'r', 'edge'),
  ];
  t.same(sourcesFor(documents(...all), 'edge'), ['edge/r']);
  t.same(sourcesFor(documents(...all), 'default'), ['default/r']);
  t.same(sourcesFor(documents(...all), 'elsewhere'), ['default/r']);
  t.same(sourcesFor(documents(...all.slice(0, 1)), 'elsewhere'), ['istio-system/r']);
  t.same(sourcesFor(documents(...all.slice(2)), 'elsewhere'), undefined);
  const { codes } = compiled(documents(...all), web('edge'));
  t.same(codes, ['DESTINATION_UNUSED', 'DESTINATION_UNUSED'], 'the waypoint in edge looks at its own');
});

t.test('exportTo hides a rule from other namespaces', async (t) => {
  const own = (to: string) =>
    documents(
      rule(`{host: ${full}, exportTo: [${to}], ${marked(1)}}`, 'hidden', 'default'),
      rule(`{host: ${full}, ${marked(2)}}`, 'root', 'istio-system'),
    );
  t.same(sourcesFor(own('"."'), 'default'), ['default/hidden']);
  t.same(sourcesFor(own('"."'), 'edge'), ['istio-system/root']);
  t.same(sourcesFor(own('edge'), 'edge'), ['default/hidden']);
  t.same(sourcesFor(own('edge'), 'default'), ['istio-system/root']);
  t.same(sourcesFor(own('"*"'), 'edge'), ['default/hidden']);
});

t.test('an exact host wins over a wildcard, a longer wildcard over a shorter', async (t) => {
  const any = rule(`{host: "*", ${marked(1)}}`, 'any');
  const local = rule(`{host: "*.default.svc.cluster.local", ${marked(2)}}`, 'local');
  const exact = rule(`{host: ${full}, ${marked(3)}}`, 'exact');
  t.same(sourcesFor(documents(any, local, exact), 'default'), ['default/exact']);
  t.same(sourcesFor(documents(any, local), 'default'), ['default/local']);
  t.same(sourcesFor(any, 'default'), ['default/any']);
  t.same(sourcesFor(rule(`{host: web, ${marked(1)}}`, 'short', 'edge'), 'edge'), undefined, 'a short name is local');
});

t.test('rules of one host are merged: subsets together, the policy of the oldest that has one', async (t) => {
  const text = documents(
    rule(
      '{host: web, subsets: [{name: a, labels: {v: "2"}}, {name: b, labels: {v: "2"}}]}',
      'young',
      'default',
      '2026-03-01T00:00:00Z',
    ),
    rule('{host: web, subsets: [{name: a, labels: {v: "1"}}]}', 'old', 'default', '2026-01-01T00:00:00Z'),
    rule(policy('loadBalancer: {simple: RANDOM}'), 'middle', 'default', '2026-02-01T00:00:00Z'),
    rule(policy('loadBalancer: {simple: ROUND_ROBIN}'), 'youngest', 'default', '2026-04-01T00:00:00Z'),
  );
  const { destinations, codes } = compiled(text);
  const found = destinationOf(destinations, 'default', key);
  t.same(
    found?.sources.map(({ name }) => name),
    ['old', 'middle', 'young', 'youngest'],
  );
  t.same(found?.subsets.get('a')?.labels, { v: '1' });
  t.match(inForce(text, 80, 'b'), { loadBalancer: { choice: { balancer: 'random' } } });
  t.same(codes, ['DESTINATION_CONFLICT', 'DESTINATION_CONFLICT']);
});

t.test('a host that no service has is reported', async (t) => {
  t.same(compiled(rule('{host: nobody}')).codes, ['DESTINATION_UNKNOWN_HOST']);
  t.same(compiled(rule('{host: "-"}')).codes, ['OBJECT_INVALID']);
});

t.test('sections stay the same objects while their rule does, whatever else changes', async (t) => {
  const objects = objectsOf(documents(web(), rule(policy('outlierDetection: {}'))));
  const section = (all: typeof objects) => {
    const { l7 } = compile(all, presetOptions('modern'));
    return policyFor(destinationOf(l7.destinations, 'default', key), 80, undefined)?.outlierDetection;
  };
  const first = section(objects);
  t.ok(first);
  t.equal(section([...objects, ...objectsOf(rule('{host: web, subsets: [{name: a}]}', 'other'))]), first);
});

t.test('the example of docs/destination-rules.md is understood, and says what it seems to say', async (t) => {
  const page = readFileSync(path.resolve(import.meta.dirname, '../../../docs/destination-rules.md'), 'utf8');
  const example = /<!-- example -->\n```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  const service = serviceText('reviews', '10.96.0.9', 'istio.io/use-waypoint: waypoint');
  const { l7, diagnostics } = compileText(documents(waypoint('default'), service, `\n${example}`));
  t.same(
    diagnostics.map(({ code }) => code).filter((code) => code !== 'GATEWAY_NO_ENDPOINTS'),
    [],
  );
  const reviews = 'default/reviews.default.svc.cluster.local';
  const destination = destinationOf(l7.destinations, 'default', reviews);
  t.match(policyFor(destination, 80, 'v1'), {
    loadBalancer: { choice: { kind: 'hash', key: { kind: 'cookie', name: 'session', ttlMs: 3_600_000 } } },
    outlierDetection: { consecutiveGatewayErrors: 5, maxEjectionPercent: 50 },
  });
  t.match(policyFor(destination, 80, 'v2'), {
    loadBalancer: { choice: { kind: 'simple', balancer: 'round-robin' } },
    outlierDetection: { consecutiveGatewayErrors: 5 },
  });
  t.match(l7.ports.get(`${reviews}:80`)?.routes, [
    { action: { backends: [{ service: reviews, subset: 'v2' }] } },
    { action: { backends: [{ service: reviews, subset: 'v1' }] } },
  ]);
});

t.test('health checks are an annotation, and one that cannot be read is reported at its place', async (t) => {
  const annotated = (text: string) => `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: rule, namespace: default, annotations: {ambit.io/health-check: '${text}'}}
spec: {host: web}
`;
  const of = (text: string) => destinationOf(compiled(annotated(text)).destinations, 'default', key)?.healthCheck;
  t.same(
    of('{"path": "/healthz", "interval": "2s", "timeout": "500ms", "unhealthyThreshold": 1, "healthyThreshold": 4}'),
    {
      path: '/healthz',
      intervalMs: 2000,
      timeoutMs: 500,
      unhealthyThreshold: 1,
      healthyThreshold: 4,
    },
  );
  t.match(of('{}'), { path: undefined, intervalMs: 5000, timeoutMs: 1000, unhealthyThreshold: 3, healthyThreshold: 2 });
  for (const wrong of ['no', '[]', '{"path": "healthz"}', '{"interval": "1ms"}', '{"speed": 1}', '{"path": "/a b"}']) {
    t.equal(of(wrong), undefined, wrong);
    t.same(compiled(annotated(wrong)).codes, ['DESTINATION_SETTING_INVALID'], wrong);
  }
});
