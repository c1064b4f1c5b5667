/** Outbound: from a captured connection to chain, endpoint and tunnel, for both presets, and every closed answer. */
import t from 'tap';
import type { Workload } from '../../../src/mesh/model.ts';
import { decideOutbound, type OutboundContext } from '../../../src/ztunnel/outbound-decision.ts';
import { makeChange, makeService, makeWorkload } from '../../support/mesh-records.ts';
import {
  at,
  bookinfo,
  external,
  legacyPreset,
  makeBench,
  modernPreset,
  productpage,
  productpageService,
  productpageVip,
  reviews,
  sleep,
  waypoint,
  waypointGateway,
} from './bookinfo.ts';

const sleepId = 'spiffe://cluster.local/ns/default/sa/sleep';
const productpageId = 'spiffe://cluster.local/ns/default/sa/bookinfo-productpage';

function decide(context: OutboundContext, destination: string, source: Workload | undefined = sleep) {
  return decideOutbound(
    { source, client: at(`${source?.addresses[0] ?? '10.244.9.9'}:44122`), destination: at(destination) },
    context,
  );
}

t.test('legacy: the article’s request goes by the article’s chain to the waypoint’s 15006', async (t) => {
  const { outbound } = makeBench(bookinfo(true), legacyPreset);
  const decision = decide(outbound, `${productpageVip}:9080`);
  t.equal(decision.kind, 'waypoint');
  if (decision.kind !== 'waypoint') return;
  const name = `${sleepId}_to_server_waypoint_proxy_${productpageId}`;
  t.equal(decision.chain.name, name);
  t.equal(decision.chain.cluster, name);
  t.equal(decision.chain.hop, 'capture outbound (to server waypoint proxy)');
  t.equal(decision.reason, 'service default/productpage.default.svc.cluster.local: waypoint');
  t.strictSame(decision.request.target, {
    peer: at('10.244.1.8:15006'),
    sourceIdentity: sleepId,
    expectedIdentities: [productpageId],
    socket: { source: '10.244.1.4', transparent: true, mark: 0x4d2, namespace: undefined, connectTimeoutMs: 2000 },
  });
  t.equal(decision.request.authority, `${productpageVip}:9080`);
  const headers = Object.fromEntries(decision.request.headers);
  t.equal(headers['x-envoy-original-dst-host'], `${productpageVip}:9080`);
  t.match(headers.baggage, /k8s\.namespace\.name=default,k8s\.pod\.name=sleep,service\.name=sleep/);
  t.equal(headers.forwarded, 'for="10.244.1.4:44122";host=productpage.default.svc.cluster.local');
  t.match(headers.traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
});

t.test('modern: no borrowed address, no extra header, today’s mark and names', async (t) => {
  const { outbound } = makeBench(bookinfo(true), modernPreset);
  const decision = decide(outbound, `${productpageVip}:9080`);
  t.equal(decision.kind, 'waypoint');
  if (decision.kind !== 'waypoint') return;
  t.match(decision.request.target.socket, {
    source: undefined,
    transparent: false,
    mark: 0x539,
    connectTimeoutMs: 10_000,
  });
  t.notOk(decision.request.headers.some(([name]) => name === 'x-envoy-original-dst-host'));
  t.notMatch(decision.chain.name, /server_waypoint_proxy/);
});

t.test('a pod behind a waypoint, addressed directly, is reached through it', async (t) => {
  const { outbound } = makeBench(bookinfo(true), legacyPreset);
  const decision = decide(outbound, '10.244.2.5:9080');
  t.match(decision, {
    kind: 'waypoint',
    request: { authority: '10.244.2.5:9080' },
    reason: /workload default\/productpage-v1: waypoint/,
  });
});

t.test(
  'without a waypoint the tunnel goes straight to the pod’s ztunnel, from ztunnel’s own address in legacy',
  async (t) => {
    const { outbound } = makeBench(bookinfo(false), legacyPreset);
    const decision = decide(outbound, `${productpageVip}:9080`);
    t.match(decision, {
      kind: 'tunnel',
      chain: { name: `${sleepId}_to_http_productpage.default.svc.cluster.local_outbound_internal` },
      request: {
        authority: '10.244.2.5:9080',
        target: {
          peer: at('10.244.2.5:15008'),
          expectedIdentities: [productpageId],
          socket: { source: undefined, transparent: false },
        },
      },
    });
    const toPod = decide(outbound, '10.244.2.5:8080');
    t.match(toPod, {
      kind: 'tunnel',
      chain: { name: `${sleepId}_to_10.244.2.5`, cluster: `outbound_pod_tunnel_clus_${sleepId}` },
    });
  },
);

t.test('the service’s own names are accepted beside the endpoint’s identity', async (t) => {
  const change = bookinfo(false);
  const named = change.services.map((service) =>
    service.name === 'productpage' ? { ...service, subjectAltNames: [sleep.identity] } : service,
  );
  const { outbound } = makeBench({ ...change, services: named }, modernPreset);
  t.match(decide(outbound, `${productpageVip}:9080`), {
    request: { target: { expectedIdentities: [productpageId, sleepId] } },
  });
});

t.test('an endpoint on this node is served in process', async (t) => {
  const { outbound } = makeBench(bookinfo(false), legacyPreset);
  t.match(decide(outbound, '10.96.0.7:9080'), { kind: 'local', endpoint: reviews, destination: at('10.244.1.9:9080') });
  t.match(decide(outbound, '10.244.1.9:9080'), {
    kind: 'local',
    chain: { cluster: `outbound_pod_local_tunnel_clus_${sleepId}` },
  });
});

t.test('the waypoint itself goes on to the endpoint, not back to itself', async (t) => {
  const { outbound } = makeBench(bookinfo(true), legacyPreset);
  t.match(decide(outbound, `${productpageVip}:9080`, waypoint), {
    kind: 'tunnel',
    reason: /the source is its waypoint/,
  });
  t.match(decide(outbound, '10.244.2.5:9080', waypoint), { kind: 'tunnel', reason: /the source is its waypoint/ });
});

t.test('a waypoint that is named but absent or not ready refuses, and says which object and why', async (t) => {
  const absent = makeBench(
    { ...bookinfo(true), workloads: bookinfo(true).workloads.filter((each) => each.uid !== waypoint.uid) },
    legacyPreset,
  );
  t.match(decide(absent.outbound, `${productpageVip}:9080`), {
    kind: 'refuse',
    reason: /service default\/productpage.*: waypoint: waypoint \/10\.244\.1\.8 cannot be reached: unknown-gateway/,
  });
  const service = makeService({
    name: 'wp',
    ports: new Map([[15008, { servicePort: 15008, targetPort: 15008, appProtocol: 'unknown' as const, name: 'mesh' }]]),
  });
  const gateway = { kind: 'hostname' as const, service: service.key, hbonePort: 15008 };
  const sick = makeWorkload({
    name: 'wp-1',
    addresses: ['10.244.2.9'],
    healthy: false,
    services: new Map([[service.key, new Map([[15008, 15008]])]]),
  });
  const change = makeChange({
    workloads: [sleep, productpage, sick],
    services: [service, { ...productpageService, waypoint: gateway }],
  });
  t.match(decide(makeBench(change, modernPreset).outbound, `${productpageVip}:9080`), {
    kind: 'refuse',
    reason: /all-unhealthy/,
  });
});

t.test('several waypoint endpoints are balanced over', async (t) => {
  const service = makeService({
    name: 'wp',
    ports: new Map([[15008, { servicePort: 15008, targetPort: 15008, appProtocol: 'unknown' as const, name: 'mesh' }]]),
  });
  const gateway = { kind: 'hostname' as const, service: service.key, hbonePort: 15008 };
  const replicas = ['10.244.1.21', '10.244.2.22', '10.244.2.23'].map((ip, i) =>
    makeWorkload({
      name: `wp-${i}`,
      serviceAccount: 'waypoint',
      addresses: [ip],
      tunnelProtocol: 'none',
      services: new Map([[service.key, new Map([[15008, 15008]])]]),
    }),
  );
  const change = makeChange({
    workloads: [sleep, productpage, ...replicas],
    services: [service, { ...productpageService, waypoint: gateway }],
  });
  const bench = makeBench(change, modernPreset);
  let i = 0;
  const random = { next: () => (i++ % 9) / 9 };
  const seen = new Set<string>();
  for (let n = 0; n < 30; n++) {
    const decision = decide({ ...bench.outbound, random }, `${productpageVip}:9080`);
    if (decision.kind === 'waypoint') seen.add(decision.request.target.peer.ip);
  }
  t.strictSame([...seen].sort(), ['10.244.1.21', '10.244.2.22', '10.244.2.23']);
});

t.test('a workload outside the mesh gets plain text from the client’s address', async (t) => {
  const { outbound } = makeBench(bookinfo(false), legacyPreset);
  t.match(decide(outbound, '10.244.2.77:5432'), {
    kind: 'plain',
    endpoint: external,
    destination: at('10.244.2.77:5432'),
    socket: { source: '10.244.1.4', transparent: true, mark: 0x4d2 },
    chain: { cluster: 'PassthroughCluster-tcp' },
  });
});

t.test('an unknown destination passes through, or is refused under REGISTRY_ONLY', async (t) => {
  t.match(decide(makeBench(bookinfo(false), legacyPreset).outbound, '198.51.100.1:443'), {
    kind: 'passthrough',
    destination: at('198.51.100.1:443'),
    chain: { name: 'PassthroughFilterChain', cluster: 'PassthroughCluster' },
  });
  t.match(
    decide(makeBench(bookinfo(false), legacyPreset, { outboundPolicy: 'REGISTRY_ONLY' }).outbound, '198.51.100.1:443'),
    {
      kind: 'refuse',
      reason: /REGISTRY_ONLY/,
    },
  );
});

t.test('an unknown source is blackholed, or passed through when that was asked for', async (t) => {
  const event = { source: undefined, client: at('10.244.1.99:1000'), destination: at(`${productpageVip}:9080`) };
  t.match(decideOutbound(event, makeBench(bookinfo(true), legacyPreset).outbound), {
    kind: 'refuse',
    chain: { name: 'blackhole outbound' },
  });
  t.match(decideOutbound(event, makeBench(bookinfo(true), legacyPreset, { unknownSource: 'passthrough' }).outbound), {
    kind: 'passthrough',
    socket: { source: '10.244.1.99' },
  });
});

t.test('the listener’s own port is blackholed whoever asks; another pod’s 15008 is not', async (t) => {
  const { outbound } = makeBench(bookinfo(false), legacyPreset, { unknownSource: 'passthrough' });
  t.match(decide(outbound, '10.244.2.5:15001'), { kind: 'refuse', chain: { cluster: 'BlackHoleCluster' } });
  const { outbound: inPods } = makeBench(bookinfo(false), modernPreset);
  t.match(decide(inPods, '198.51.100.1:15001'), { kind: 'passthrough' }, 'in a pod it is another host’s port');
  t.match(decide(inPods, '127.0.0.1:15001'), { kind: 'refuse' });
  t.match(decide(outbound, '127.0.0.1:15006'), { kind: 'refuse' });
  t.match(decide(outbound, '10.244.2.5:15008'), { kind: 'tunnel' });
});

t.test('a source of another node is refused: its key is not ours to use', async (t) => {
  const { outbound } = makeBench(bookinfo(false), legacyPreset);
  t.match(decide(outbound, '10.96.0.7:9080', productpage), { kind: 'refuse', reason: /node is node-b/ });
});

t.test('a service without that port, or without an endpoint, is refused with the reason', async (t) => {
  const change = bookinfo(false);
  const { outbound, mesh } = makeBench(change, modernPreset);
  t.match(decide(outbound, `${productpageVip}:81`), { kind: 'refuse', reason: /productpage.*has no port 81/ });
  mesh.apply(makeChange({ removedWorkloads: [productpage.uid] }));
  t.match(decide(outbound, `${productpageVip}:9080`), { kind: 'refuse', reason: /no healthy upstream.*no-endpoints/ });
});

t.test('a pod with a tunnel of its own is reached by it, on this node as well', async (t) => {
  const native = { ...reviews, nativeTunnel: true };
  const { outbound } = makeBench(makeChange({ workloads: [sleep, native] }), modernPreset);
  t.match(decide(outbound, '10.244.1.9:9080'), {
    kind: 'tunnel',
    request: { target: { peer: at('10.244.1.9:15008'), expectedIdentities: [reviews.identity] } },
  });
});

t.test('a pod on the node’s network is an endpoint in clear; by its address nobody knows it', async (t) => {
  const host = makeWorkload({
    name: 'host',
    addresses: ['192.0.2.10'],
    networkMode: 'host',
    tunnelProtocol: 'none',
    services: productpage.services,
  });
  const { outbound } = makeBench(
    makeChange({ workloads: [sleep, host], services: [productpageService] }),
    modernPreset,
  );
  t.match(decide(outbound, `${productpageVip}:9080`), { kind: 'plain', destination: at('192.0.2.10:9080') });
  t.match(decide(outbound, '192.0.2.10:9080'), { kind: 'passthrough', destination: at('192.0.2.10:9080') });
});

t.test('a pod that calls its own service reaches itself as anybody would', async (t) => {
  const { outbound } = makeBench(bookinfo(false), modernPreset);
  t.match(decide(outbound, '10.96.0.7:9080', reviews), { kind: 'local', endpoint: reviews });
  t.match(decide(outbound, '10.244.1.9:9080', reviews), { kind: 'local', endpoint: reviews });
});

t.test('a waypoint’s own address is a pod’s like any other: its listener speaks for itself', async (t) => {
  const { outbound } = makeBench(bookinfo(true), modernPreset);
  t.match(decide(outbound, '10.244.1.8:15008'), { kind: 'plain', destination: at('10.244.1.8:15008') });
});

t.test('a service of mode passthrough goes where it was going, through its waypoint if it has one', async (t) => {
  const open = {
    ...productpageService,
    loadBalancing: { preferences: [], mode: 'passthrough' as const, allowUnhealthy: true },
  };
  const onward = (service: typeof open) =>
    decide(
      makeBench(makeChange({ workloads: [sleep, waypoint], services: [service] }), modernPreset, {
        outboundPolicy: 'REGISTRY_ONLY',
      }).outbound,
      `${productpageVip}:1234`,
    );
  t.match(onward(open), {
    kind: 'passthrough',
    destination: at(`${productpageVip}:1234`),
    service: { name: 'productpage' },
  });
  t.match(onward({ ...open, waypoint: waypointGateway }), { kind: 'waypoint' });
});

t.test('an endpoint of the family the service asks for, else of the client’s', async (t) => {
  const dual = { ...productpage, addresses: ['10.244.2.5', 'fd00::5'] };
  const addresses = [
    { network: '', ip: productpageVip },
    { network: '', ip: 'fd00:10::1' },
  ];
  const peer = (ipFamilies: 'automatic' | 'ipv6', destination: string) => {
    const change = makeChange({
      workloads: [sleep, dual],
      services: [{ ...productpageService, addresses, ipFamilies }],
    });
    const decision = decide(makeBench(change, modernPreset).outbound, destination);
    return decision.kind === 'tunnel' ? decision.request.target.peer.ip : decision.kind;
  };
  t.equal(peer('automatic', `${productpageVip}:9080`), '10.244.2.5');
  t.equal(peer('automatic', '[fd00:10::1]:9080'), 'fd00::5');
  t.equal(peer('ipv6', `${productpageVip}:9080`), 'fd00::5');
});

t.test('a pod of another network is refused, never dialled in clear', async (t) => {
  const far = makeWorkload({ name: 'far', network: 'east', addresses: ['10.9.9.9'], services: productpage.services });
  const change = makeChange({ workloads: [sleep, far], services: [productpageService] });
  t.match(decide(makeBench(change, modernPreset).outbound, `${productpageVip}:9080`), { kind: 'refuse' });
});

t.test('an endpoint known by name is resolved first, and not to ourselves', async (t) => {
  const named = makeWorkload({
    name: 'named',
    hostname: 'db.example.com',
    tunnelProtocol: 'none',
    services: productpage.services,
  });
  const change = makeChange({ workloads: [sleep, named], services: [productpageService] });
  const decision = decide(makeBench(change, modernPreset).outbound, `${productpageVip}:9080`);
  t.match(decision, { kind: 'resolve', hostname: 'db.example.com' });
  if (decision.kind !== 'resolve') return;
  t.match(decision.resolved('192.0.2.7'), { kind: 'plain', destination: at('192.0.2.7:9080') });
  for (const ip of ['127.0.0.1', '::1', '0.0.0.0', '::']) t.match(decision.resolved(ip), { kind: 'refuse' }, ip);
});

t.test('without the privilege no address is borrowed', async (t) => {
  const { outbound } = makeBench(bookinfo(true), legacyPreset, { spoofing: false });
  t.match(decide(outbound, `${productpageVip}:9080`), {
    request: { target: { socket: { source: undefined, transparent: false } } },
  });
});

t.test('chains are made once and left behind with the record they follow from', async (t) => {
  const { outbound, mesh } = makeBench(bookinfo(false), legacyPreset);
  const first = decide(outbound, `${productpageVip}:9080`).chain;
  t.equal(decide(outbound, `${productpageVip}:9080`).chain, first);
  mesh.apply(makeChange({ services: [{ ...productpageService, waypoint: waypointGateway }] }));
  t.match(decide(outbound, `${productpageVip}:9080`), { kind: 'waypoint' });
  mesh.apply(makeChange({ services: [productpageService] }));
  t.match(decide(outbound, `${productpageVip}:9080`).chain, { name: first.name });
});
