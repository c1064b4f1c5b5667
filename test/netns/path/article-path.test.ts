/**
 * The article's example, proven on real packets by the real programs: R1-R39 of the requirements (docs/requirements.md).
 * Names, addresses and ports here are the article's own, written out, so that nothing is compared with itself.
 */
import t from 'tap';
import { startCapture } from '../../../src/lab/capture.ts';
import { mustRun } from '../../../src/lab/command.ts';
import { inNamespace } from '../../../src/lab/namespace.ts';
import type { HttpAnswer } from '../../../src/lab/request.ts';
import { listenIn } from '../../../src/lab/sockets.ts';
import { insideLab } from '../lab/inside.ts';
import { assertHops, type Hop } from './hops.ts';
import { attemptConnect, foreignAuthority, issue, meshAuthority, recordConnect } from './mesh-peer.ts';
import {
  askHttp,
  field,
  get,
  ip,
  isOpening,
  metricSum,
  productpageUrl,
  productpageWaypoint,
  spiffe,
  startPathMesh,
  view,
  vip,
} from './path-mesh.ts';

t.setTimeout(240_000);

const sleepToWaypoint = `${spiffe('sleep')}_to_server_waypoint_proxy_${spiffe('bookinfo-productpage')}`;

interface Named {
  readonly name: string;
}

if (await insideLab()) {
  const mesh = await startPathMesh(t, { preset: 'legacy' });
  const { lab } = mesh;

  t.test('a request crosses the five connections of the article, each with the article’s addresses', async (t) => {
    const hops: readonly Hop[] = [
      {
        title: 'sleep calls the service',
        place: 'sleep',
        device: 'eth0',
        source: '10.244.1.4',
        destination: '10.96.179.71:9080',
      },
      {
        title: 'the node hands it to ztunnel, destination kept',
        place: 'ztunnel-node-a',
        device: 'pistioout',
        source: '10.244.1.4',
        destination: '10.96.179.71:9080',
      },
      {
        title: 'ztunnel reaches the waypoint as the client',
        place: productpageWaypoint,
        device: 'eth0',
        source: '10.244.1.4',
        destination: '10.244.1.8:15006',
      },
      {
        title: 'the waypoint reaches the pod’s ztunnel',
        place: 'ztunnel-node-b',
        device: 'pistioin',
        source: '10.244.1.8',
        destination: '10.244.2.5:15008',
      },
      {
        title: 'ztunnel hands it to the application as its peer',
        place: 'productpage',
        device: 'eth0',
        source: '10.244.1.8',
        destination: '10.244.2.5:9080',
      },
    ];
    using wire = startCapture(lab.namespace('node-a'), { interface: 'eth0' });
    let answer: HttpAnswer | undefined;
    await assertHops(t, mesh, hops, async () => {
      answer = await askHttp(mesh, 'sleep', get(productpageUrl, { 'x-secret': 'in-the-clear' }));
    });
    t.match(answer, { status: 200, end: 'fin', remote: '10.96.179.71:9080' }, 'the client spoke with the service');
    t.match(answer, { headers: { 'x-app-pod': 'productpage', 'x-app-peer': /^10\.244\.1\.8:/ } });
    t.match(answer, { body: /<u>reviews-v[12]<\/u>/ }, 'and the page has what details and reviews said');
    // The page's own call of reviews is a tunnel to that waypoint.
    const ports = new Set(wire.packets.filter(isOpening).map((packet) => packet.destinationPort));
    t.same([...ports].sort(), [15006, 15008], 'tunnels alone between the nodes');
    t.notOk(wire.holds('in-the-clear') || wire.holds('GET /productpage'), 'and nothing in clear');
  });

  t.test('the rule that intercepts is the article’s, and it knows no layer 7', async (t) => {
    const rules = await mustRun(inNamespace(lab.namespace('ztunnel-node-a'), ['iptables-save', '-t', 'mangle']));
    const tproxy = rules.split('\n').filter((line) => line.includes('TPROXY'));
    t.match(
      tproxy.find((line) => line.includes('-i pistioout')),
      /-i pistioout -p tcp -j TPROXY --on-port 15001 --on-ip 127\.0\.0\.1 --tproxy-mark 0x400\/0xfff$/,
    );
    t.equal(tproxy.length, 3);
  });

  t.test(
    'ztunnel_outbound selects by source IP, destination IP, destination port, as figures 3 and 4 show',
    async (t) => {
      const listeners = await view<readonly Named[]>(mesh, 'ztunnel-node-a', 'view=listeners&source=sleep');
      const outbound = listeners.find(({ name }) => name === 'ztunnel_outbound');
      t.match(outbound, { address: '127.0.0.1:15001', transparent: true, mark: 0x401 });
      t.match(outbound, {
        filterChainMatcher: {
          input: 'destination port',
          entries: { 15001: { filterChain: 'blackhole outbound' } },
          onNoMatch: {
            input: 'source IP',
            entries: {
              '10.244.1.4': {
                input: 'destination IP',
                entries: {
                  '10.96.179.71': {
                    input: 'destination port',
                    entries: { 9080: { filterChain: sleepToWaypoint } },
                  },
                  '10.244.2.5': { filterChain: sleepToWaypoint },
                },
              },
            },
          },
        },
      });
    },
  );

  t.test('every local source has a chain to every service of the mesh', async (t) => {
    interface Outbound {
      readonly filterChainMatcher: {
        readonly onNoMatch: { readonly entries: Readonly<Record<string, { readonly entries: object }>> };
      };
    }
    const [outbound] = await view<readonly Outbound[]>(mesh, 'ztunnel-node-a', 'view=listeners');
    const sources = outbound?.filterChainMatcher.onNoMatch.entries ?? {};
    t.same(Object.keys(sources).sort(), ['10.244.1.4', '10.244.1.5'], 'pods of this node, waypoints are none of them');
    const services = mesh.plan.topology.services.map((service) => service.vip);
    for (const [source, { entries }] of Object.entries(sources)) {
      t.same(
        services.filter((address) => !(address in entries)),
        [],
        `${source} reaches every service`,
      );
    }
  });

  t.test('the chain hands on to the cluster of its own name, as figure 5 shows', async (t) => {
    interface Chained {
      readonly filterChains: readonly Named[];
    }
    const [outbound] = await view<readonly Chained[]>(mesh, 'ztunnel-node-a', 'view=listeners&source=sleep');
    const chain = outbound?.filterChains.find(({ name }) => name === sleepToWaypoint);
    t.match(chain, { filters: [{ name: 'tcp_proxy', cluster: sleepToWaypoint }] });
    t.match((chain as { filters?: unknown } | undefined)?.filters, { length: 1 });
  });

  t.test('the cluster is discovered and encrypts as the source workload, as figure 6 shows', async (t) => {
    const clusters = await view<readonly Named[]>(mesh, 'ztunnel-node-a', 'view=clusters&source=sleep');
    t.match(
      clusters.find(({ name }) => name === sleepToWaypoint),
      {
        type: 'EDS',
        loadBalancing: 'ROUND_ROBIN',
        connectTimeoutMs: 2000,
        tls: {
          versions: 'TLSv1.3',
          alpn: 'h2',
          certificate: 'spiffe://cluster.local/ns/default/sa/sleep',
          expectedIdentities: ['spiffe://cluster.local/ns/default/sa/bookinfo-productpage'],
        },
      },
    );
  });

  t.test('its endpoint is the waypoint’s pod on 15006, as figure 7 shows', async (t) => {
    const all = await view<readonly { readonly cluster: string; readonly endpoints: readonly object[] }[]>(
      mesh,
      'ztunnel-node-a',
      'view=endpoints&source=sleep',
    );
    const found = all.find(({ cluster }) => cluster === sleepToWaypoint)?.endpoints;
    t.match(found, [{ address: '10.244.1.8:15006', health: 'HEALTHY', weight: 1 }]);
    t.equal(found?.length, 1);
  });

  t.test('the waypoint terminates on inbound_CONNECT_terminate and routes by authority', async (t) => {
    const listeners = await view<readonly Named[]>(mesh, productpageWaypoint, 'view=listeners');
    t.match(listeners[0], {
      name: 'inbound_CONNECT_terminate',
      address: '0.0.0.0:15006',
      routes: [
        {
          match: 'CONNECT 10.96.179.71:9080',
          to: 'cluster inbound-vip|9080|internal|productpage.default.svc.cluster.local',
        },
        { match: 'CONNECT 10.244.2.5:9080', to: 'cluster inbound-pod|9080|internal|10.244.2.5' },
      ],
    });
  });

  t.test('the waypoint’s stages are there by name, each leading to the next', async (t) => {
    const host = 'productpage.default.svc.cluster.local';
    const listeners = await view<readonly Named[]>(mesh, productpageWaypoint, 'view=listeners');
    t.same(
      listeners.map(({ name }) => name),
      [
        'inbound_CONNECT_terminate',
        `inbound-vip|9080||${host}`,
        'inbound-pod|9080||10.244.2.5',
        'inbound_CONNECT_originate',
      ],
    );
    t.match(listeners[1], { routes: [{ match: 'http', to: `cluster inbound-vip|9080|http|${host}` }] });
    t.match(listeners[2], { routes: [{ to: 'cluster inbound-pod|9080||10.244.2.5' }] });
    t.match(listeners[3], { routes: [{ to: 'cluster inbound_CONNECT_originate' }] });
    const clusters = await view<readonly Named[]>(mesh, productpageWaypoint, 'view=clusters');
    t.same(clusters.map(({ name }) => name).sort(), [
      'inbound-pod|9080|internal|10.244.2.5',
      'inbound-pod|9080||10.244.2.5',
      `inbound-vip|9080|http|${host}`,
      `inbound-vip|9080|internal|${host}`,
      'inbound_CONNECT_originate',
    ]);
    const endpoints = await view<readonly object[]>(mesh, productpageWaypoint, 'view=endpoints');
    t.match(endpoints, [
      { cluster: `inbound-vip|9080|internal|${host}`, endpoints: [{ address: `envoy://inbound-vip|9080||${host}` }] },
      { cluster: 'inbound-pod|9080||10.244.2.5', endpoints: [{ address: 'envoy://inbound_CONNECT_originate' }] },
      { cluster: `inbound-vip|9080|http|${host}` },
      {
        cluster: 'inbound-pod|9080|internal|10.244.2.5',
        endpoints: [{ address: 'envoy://inbound-pod|9080||10.244.2.5' }],
      },
      { cluster: 'inbound_CONNECT_originate', endpoints: [{ address: '10.244.2.5:15008' }] },
    ]);
  });

  t.test('routing acts on the service’s stage, authorization on the pod’s', async (t) => {
    const listeners = await view<readonly Named[]>(mesh, productpageWaypoint, 'view=listeners');
    t.match(listeners[1], { policies: [] });
    t.match(listeners[2], { policies: ['allow default/productpage-viewer'] });
    const reviews = await view<readonly Named[]>(mesh, 'bookinfo-reviews-waypoint-proxy', 'view=listeners');
    const stage = reviews.find(({ name }) => name === 'inbound-vip|9080||reviews.default.svc.cluster.local');
    t.match(JSON.stringify(stage), /weight 90.*weight 10/);
  });

  t.test('one request leaves a line at each ztunnel and three at the waypoint', async (t) => {
    const marks = new Map(mesh.proxies.map((name) => [name, mesh.access.mark(name)]));
    t.equal((await askHttp(mesh, 'sleep', get(productpageUrl))).status, 200);
    const outbound = await mesh.waitForAccess(
      'ztunnel-node-a',
      field('dst.hbone_addr', '10.96.179.71:9080'),
      marks.get('ztunnel-node-a'),
    );
    t.match(outbound.fields, {
      'src.addr': /^10\.244\.1\.4:\d+$/,
      'src.identity': 'spiffe://cluster.local/ns/default/sa/sleep',
      'dst.addr': '10.244.1.8:15006',
      'dst.identity': 'spiffe://cluster.local/ns/default/sa/bookinfo-productpage',
      direction: 'outbound',
      hop: 'capture outbound (to server waypoint proxy)',
    });
    await mesh.waitForAccess(
      productpageWaypoint,
      field('stage', 'inbound_CONNECT_terminate'),
      marks.get(productpageWaypoint),
    );
    const lines = mesh.access.since(productpageWaypoint, marks.get(productpageWaypoint) ?? 0);
    t.match(
      lines.map(({ fields }) => fields),
      [
        {
          stage: 'inbound-pod|9080||10.244.2.5',
          method: 'GET',
          path: '/productpage',
          response_code: 200,
          upstream_host: 'envoy://inbound_CONNECT_originate/10.244.2.5:9080',
          downstream_local_address: '10.244.2.5:9080',
          downstream_remote_address: /^10\.244\.1\.4:/,
        },
        {
          stage: 'inbound-vip|9080||productpage.default.svc.cluster.local',
          upstream_host: 'envoy://inbound-pod|9080||10.244.2.5/10.244.2.5:9080',
          upstream_cluster: 'inbound-vip|9080|http|productpage.default.svc.cluster.local',
          downstream_local_address: '10.96.179.71:9080',
        },
        {
          stage: 'inbound_CONNECT_terminate',
          method: 'CONNECT',
          authority: '10.96.179.71:9080',
          upstream_cluster: 'inbound-vip|9080|internal|productpage.default.svc.cluster.local',
          upstream_host: '10.244.2.5:15008',
          upstream_local_address: /^10\.244\.1\.8:/,
          downstream_local_address: '10.244.1.8:15006',
          downstream_remote_address: /^10\.244\.1\.4:/,
        },
      ],
    );
    t.equal(lines.length, 3);
    // The waypoint keeps its tunnel for the next request; the line is written when it lets go of it.
    const inbound = await mesh.waitForAccess(
      'ztunnel-node-b',
      ({ fields }) => fields['dst.hbone_addr'] === '10.244.2.5:9080' && fields.direction === 'inbound',
      0,
    );
    t.match(inbound.fields, {
      'src.addr': /^10\.244\.1\.8:/,
      'src.identity': 'spiffe://cluster.local/ns/default/sa/bookinfo-productpage',
      'dst.addr': '10.244.2.5:15008',
      'dst.identity': 'spiffe://cluster.local/ns/default/sa/bookinfo-productpage',
      'dst.workload': 'productpage',
      hop: 'inbound hcm',
    });
  });

  t.test(
    'layer 7 is read once, at the waypoint: ztunnels pass bytes that are no HTTP and count no requests',
    async (t) => {
      const { server } = await listenIn(lab.namespace('details'), { port: 7070 }, (socket) => socket.pipe(socket));
      t.teardown(() => server.close());
      const bytes = 'GET nothing\r\nthat: is\u0000 HTTP\r\n\r\n\u0001';
      const echo = { kind: 'tcp', host: ip.details, port: 7070, send: bytes, halfClose: true } as const;
      t.match(await lab.request('sleep', echo), { end: 'fin', body: bytes });
      t.equal((await askHttp(mesh, 'sleep', get(productpageUrl))).status, 200);
      for (const place of ['ztunnel-node-a', 'ztunnel-node-b']) {
        t.equal(await metricSum(mesh, place, 'istio_requests_total'), 0, `${place} knows no requests`);
        t.ok((await metricSum(mesh, place, 'istio_tcp_connections_opened_total')) > 0);
      }
      t.ok((await metricSum(mesh, productpageWaypoint, 'istio_requests_total')) > 0);
    },
  );

  t.test('a service without a Gateway is reached without any waypoint', async (t) => {
    const marks = new Map(mesh.proxies.map((name) => [name, mesh.access.mark(name)]));
    const answer = await askHttp(mesh, 'sleep', get(`http://${vip.details}:9080/details/0`));
    // The preview's layer 4 tunnel leaves with ztunnel's own address, and the application sees that.
    t.match(answer, { status: 200, headers: { 'x-app-pod': 'details', 'x-app-peer': /^10\.244\.1\.2:/ } });
    const outbound = await mesh.waitForAccess(
      'ztunnel-node-a',
      field('dst.service', 'details.default.svc.cluster.local'),
      marks.get('ztunnel-node-a'),
    );
    t.match(outbound.fields, { 'dst.addr': '10.244.2.6:15008', hop: 'capture outbound (no waypoint proxy)' });
    const inbound = await mesh.waitForAccess(
      'ztunnel-node-b',
      field('dst.workload', 'details'),
      marks.get('ztunnel-node-b'),
    );
    t.match(inbound.fields, { 'src.identity': spiffe('sleep'), hop: 'inbound hcm' });
    for (const { pod } of mesh.plan.waypoints) t.same(mesh.access.since(pod, marks.get(pod) ?? 0), [], `not by ${pod}`);
  });

  t.test('a pod of the service is reached directly through the same waypoint, past the service’s stage', async (t) => {
    const mark = mesh.access.mark(productpageWaypoint);
    const url = `http://${ip.productpage}:9080/productpage`;
    t.match(await askHttp(mesh, 'sleep', get(url)), { status: 200, headers: { 'x-app-peer': /^10\.244\.1\.8:/ } });
    await mesh.waitForAccess(productpageWaypoint, field('stage', 'inbound_CONNECT_terminate'), mark);
    const stages = mesh.access.since(productpageWaypoint, mark).map(({ fields }) => fields.stage);
    t.same(stages, ['inbound-pod|9080||10.244.2.5', 'inbound_CONNECT_terminate']);
  });

  t.test('the application learns the client’s identity, and no client can say it is another', async (t) => {
    const forged = { 'x-forwarded-client-cert': `By=me;URI=${spiffe('admin')}`, 'x-envoy-peer-metadata-id': 'forged' };
    const answer = await askHttp(mesh, 'sleep', get(`http://${vip.productpage}:9080/headers`, forged));
    const { headers } = JSON.parse(answer.body) as { headers: Record<string, string> };
    t.equal(headers['x-forwarded-client-cert'], `By=${spiffe('bookinfo-productpage')};URI=${spiffe('sleep')}`);
    t.notOk('x-envoy-peer-metadata-id' in headers);
  });

  t.test('a waypoint refuses what it does not serve with 404 and dials nothing', async (t) => {
    const certificate = await issue(await meshAuthority(mesh), spiffe('sleep'));
    const common = { place: 'control', host: ip.waypoint, port: 15006, certificate };
    const headers = { 'x-envoy-original-dst-host': '10.244.2.5:9080' };
    using sent = startCapture(lab.namespace(productpageWaypoint), {
      interface: 'eth0',
      filter: (packet) => isOpening(packet) && packet.direction === 'out',
    });
    for (const authority of [
      '10.244.2.6:9080',
      '10.96.36.11:9080',
      '192.0.2.7:80',
      '10.96.179.71:81',
      '127.0.0.1:15000',
    ]) {
      const outcome = await attemptConnect(mesh, { ...common, authority, headers });
      t.match(outcome, { kind: 'answered', status: 404, protocol: 'TLSv1.3' }, authority);
    }
    t.same(sent.packets, []);
    const other = await attemptConnect(mesh, { ...common, authority: '10.96.179.71:9080', method: 'GET' });
    t.match(other, { kind: 'answered', status: 400 }, 'and takes nothing but CONNECT');
    const known = await attemptConnect(mesh, { ...common, authority: '10.96.179.71:9080' });
    t.match(known, { status: 200, server: `URI:${spiffe('bookinfo-productpage')}` });
  });

  t.test('the receiving ztunnel shows the certificate of the pod that the address names', async (t) => {
    const certificate = await issue(await meshAuthority(mesh), spiffe('bookinfo-productpage'));
    for (const [pod, account] of [
      [ip.productpage, 'bookinfo-productpage'],
      [ip.details, 'bookinfo-details'],
    ] as const) {
      const authority = `${pod}:9080`;
      const outcome = await attemptConnect(mesh, { place: 'control', host: pod, port: 15008, authority, certificate });
      t.match(outcome, { status: 200, server: `URI:${spiffe(account)}`, protocol: 'TLSv1.3' });
    }
  });

  t.test('a pod behind a waypoint admits that waypoint’s identity and no other', async (t) => {
    const ca = await meshAuthority(mesh);
    const mark = mesh.access.mark('ztunnel-node-b');
    const target = { place: 'control', host: ip.productpage, port: 15008, authority: '10.244.2.5:9080' };
    for (const account of ['sleep', 'notsleep', 'bookinfo-reviews']) {
      const certificate = await issue(ca, spiffe(account));
      t.match(await attemptConnect(mesh, { ...target, certificate }), { kind: 'answered', status: 401 }, account);
    }
    const line = await mesh.waitForAccess('ztunnel-node-b', field('src.identity', spiffe('sleep')), mark);
    t.match(line.fields, { error: /policy rejection/ });
    const own = await issue(ca, spiffe('bookinfo-productpage'));
    t.match(await attemptConnect(mesh, { ...target, certificate: own }), { status: 200 });
    const elsewhere = await attemptConnect(mesh, { ...target, certificate: own, authority: '10.244.2.6:9080' });
    t.match(elsewhere, { kind: 'answered', status: 400 }, 'and goes only where the connection went');
  });

  t.test('foreign, expired and missing certificates are refused, the first time and again', async (t) => {
    const ca = await meshAuthority(mesh);
    const foreign = await foreignAuthority(mesh);
    const wrong = {
      foreign: await issue(foreign, spiffe('bookinfo-productpage')),
      expired: await issue(ca, spiffe('bookinfo-productpage'), -30_000),
      'of another trust domain': await issue(ca, 'spiffe://elsewhere.example/ns/default/sa/bookinfo-productpage'),
      'no workload’s': await issue(ca, 'spiffe://cluster.local/ambit/node/node-a'),
      missing: undefined,
    };
    for (const [host, port, authority] of [
      [ip.productpage, 15008, '10.244.2.5:9080'],
      [ip.waypoint, 15006, '10.96.179.71:9080'],
    ] as const) {
      const good = await issue(ca, spiffe('bookinfo-productpage'));
      const target = { place: 'control', host, port, authority };
      const first = await attemptConnect(mesh, { ...target, certificate: good });
      t.match(first, { status: 200 }, `a good one at ${host}:${port}`);
      // What a good connection was given must not carry a later one past the check of its certificate.
      const session = first.kind === 'answered' ? first.session : undefined;
      const again = await attemptConnect(mesh, { ...target, certificate: good, session });
      t.match(again, { status: 200, resumed: false }, 'every handshake is a full one');
      for (const [what, certificate] of Object.entries(wrong)) {
        for (const [which, attempt] of [
          ['first', target],
          ['second', { ...target, session }],
        ] as const) {
          const outcome = await attemptConnect(mesh, { ...attempt, certificate });
          t.same(outcome, { kind: 'closed' }, `${what}, ${which} connection to ${host}:${port}`);
        }
      }
    }
  });

  t.test('the tunnel’s head on both legs is the article’s', async (t) => {
    await mesh.stop('ztunnel-node-b');
    const pod = await recordConnect(t, mesh, {
      place: 'ztunnel-node-b',
      port: 15008,
      identity: spiffe('bookinfo-productpage'),
      transparent: true,
    });
    t.match(await askHttp(mesh, 'sleep', get(productpageUrl)), { status: 503 });
    t.match(await pod.first, {
      method: 'CONNECT',
      authority: '10.244.2.5:9080',
      headers: { 'x-envoy-original-dst-host': '10.244.2.5:9080' },
      peer: '10.244.1.8',
      local: '10.244.2.5:15008',
      client: `URI:${spiffe('bookinfo-productpage')}`,
      protocol: 'TLSv1.3',
      alpn: 'h2',
    });
    await mesh.stop(productpageWaypoint);
    const waypoint = await recordConnect(t, mesh, {
      place: productpageWaypoint,
      port: 15006,
      identity: spiffe('bookinfo-productpage'),
    });
    await lab.request('sleep', get(productpageUrl));
    t.match(await waypoint.first, {
      method: 'CONNECT',
      authority: '10.96.179.71:9080',
      headers: {
        'x-envoy-original-dst-host': '10.96.179.71:9080',
        baggage:
          'k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.pod.name=sleep,service.name=sleep,service.version=latest',
        forwarded: /^for="10\.244\.1\.4:\d+";host=productpage\.default\.svc\.cluster\.local$/,
      },
      peer: '10.244.1.4',
      local: '10.244.1.8:15006',
      client: `URI:${spiffe('sleep')}`,
      protocol: 'TLSv1.3',
      alpn: 'h2',
    });
  });
}
