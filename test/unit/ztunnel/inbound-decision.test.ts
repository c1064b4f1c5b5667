/** Inbound CONNECT and plaintext: who may reach what, and what is dialled. */
import t from 'tap';
import type { Service, Workload } from '../../../src/mesh/model.ts';
import { decideInbound, type InboundContext } from '../../../src/ztunnel/inbound-decision.ts';
import { decidePlaintext } from '../../../src/ztunnel/inbound-passthrough-decision.ts';
import type { ZtunnelSettings } from '../../../src/ztunnel/settings.ts';
import { makeChange, makeMatch, makePolicy, makeService, makeWorkload } from '../../support/mesh-records.ts';
import {
  at,
  bookinfo,
  legacyPreset,
  makeBench,
  modernPreset,
  notsleep,
  productpage,
  productpageService,
  sleep,
  waypoint,
  waypointGateway,
} from './bookinfo.ts';

function connect(
  context: InboundContext,
  authority: string,
  fields: { local?: string; identity?: typeof sleep.identity; peer?: string } = {},
) {
  const peer = at(fields.peer ?? '10.244.1.4:50806');
  return decideInbound(
    {
      peerIdentity: fields.identity ?? sleep.identity,
      peer,
      source: peer.ip,
      local: at(fields.local ?? '10.244.2.5:15008'),
      authority,
    },
    context,
  );
}

const onlySleep = makePolicy({
  name: 'only-sleep',
  rules: [[[makeMatch({ principals: [{ kind: 'exact', value: 'cluster.local/ns/default/sa/sleep' }] })]]],
});
const guarded = { ...productpage, authorizationPolicies: [onlySleep.key] };

t.test('the authority’s port is dialled on the pod, from the tunnel peer’s address', async (t) => {
  const { inbound } = makeBench(bookinfo(false), legacyPreset, {}, 'node-b');
  t.match(connect(inbound, '10.244.2.5:9080'), {
    kind: 'dial',
    destination: at('10.244.2.5:9080'),
    socket: { source: '10.244.1.4', transparent: true, mark: 0x4d2 },
    headers: [['baggage', /service\.name=productpage-v1/]],
    preface: undefined,
  });
});

t.test('an authority that is not the pod the connection reached is 400, header or not', async (t) => {
  const { inbound } = makeBench(bookinfo(false), legacyPreset, {}, 'node-b');
  t.match(connect(inbound, '10.244.1.9:9080'), {
    kind: 'refuse',
    status: 400,
    reason: 'ip mismatch: 10.244.2.5:15008 != 10.244.1.9:9080',
  });
  t.match(connect(inbound, '127.0.0.1:22'), { kind: 'refuse', status: 400 });
  t.match(connect(inbound, 'nonsense'), { kind: 'refuse', status: 400 });
  t.match(connect(inbound, '10.244.2.5:0'), { kind: 'refuse', status: 400 });
});

t.test('a pod of another node, or of nobody, is 503', async (t) => {
  const { inbound } = makeBench(bookinfo(false), legacyPreset);
  t.match(connect(inbound, '10.244.2.5:9080'), { kind: 'refuse', status: 503 });
});

t.test('the proxy’s own ports are 503', async (t) => {
  const { inbound } = makeBench(bookinfo(false), legacyPreset, {}, 'node-b');
  for (const port of [15001, 15006, 15008])
    t.match(connect(inbound, `10.244.2.5:${port}`), { kind: 'refuse', status: 503 });
});

t.test('policies decide by the certificate’s identity: 401 with the reason', async (t) => {
  const change = { ...bookinfo(false), workloads: [guarded], policies: [onlySleep] };
  const { inbound } = makeBench(change, modernPreset, {}, 'node-b');
  t.match(connect(inbound, '10.244.2.5:9080'), { kind: 'dial', reason: 'allowed by: default/only-sleep' });
  t.match(connect(inbound, '10.244.2.5:9080', { identity: notsleep.identity }), {
    kind: 'refuse',
    status: 401,
    flag: 'DENY',
    reason: 'allow policies exist, but none allowed',
  });
});

t.test('legacy: behind policies a pod with a waypoint admits that waypoint alone', async (t) => {
  const bound = { ...guarded, waypoint: waypointGateway };
  const { inbound, mesh } = makeBench(
    makeChange({ workloads: [bound, waypoint], policies: [onlySleep] }),
    legacyPreset,
    {},
    'node-b',
  );
  t.match(connect(inbound, '10.244.2.5:9080', { identity: waypoint.identity }), { kind: 'dial' });
  t.match(connect(inbound, '10.244.2.5:9080'), { kind: 'refuse', status: 401 });
  mesh.apply(
    makeChange({ workloads: [{ ...productpage, waypoint: waypointGateway }], removedPolicies: [onlySleep.key] }),
  );
  t.match(connect(inbound, '10.244.2.5:9080'), { kind: 'dial' }, 'without policies anybody of the mesh may');
});

t.test('a named policy that is missing is waited for, then denies; skip reads on without it', async (t) => {
  const change = makeChange({ workloads: [guarded] });
  const { inbound, clock, mesh } = makeBench(change, modernPreset, {}, 'node-b');
  t.match(connect(inbound, '10.244.2.5:9080'), { kind: 'wait', forMs: 5000 });
  clock.advance(5000);
  t.match(connect(inbound, '10.244.2.5:9080'), { kind: 'refuse', status: 401, reason: /unknown: default\/only-sleep/ });
  mesh.apply(makeChange({ policies: [onlySleep] }));
  t.match(connect(inbound, '10.244.2.5:9080'), { kind: 'dial' });
  mesh.apply(makeChange({ removedPolicies: [onlySleep.key] }));
  t.match(connect(inbound, '10.244.2.5:9080'), { kind: 'wait', forMs: 5000 });
  const skipping = makeBench(change, modernPreset, { unknownPolicy: 'skip' }, 'node-b');
  t.match(connect(skipping.inbound, '10.244.2.5:9080'), { kind: 'dial' });
});

t.test('while a policy is missing, what the others deny is denied at once', async (t) => {
  const denyAll = makePolicy({ name: 'deny-all', scope: 'namespace', action: 'deny', rules: [[]] });
  const { inbound } = makeBench(makeChange({ workloads: [guarded], policies: [denyAll] }), modernPreset, {}, 'node-b');
  t.match(connect(inbound, '10.244.2.5:9080'), {
    kind: 'refuse',
    status: 401,
    reason: 'explicitly denied by: default/deny-all',
  });
});

t.test('a hostname is one of the pod’s own services, on the port it serves it', async (t) => {
  const service = {
    ...productpageService,
    ports: new Map([[80, { servicePort: 80, targetPort: 9080, appProtocol: 'http11' as const, name: 'http' }]]),
  };
  const pod = { ...productpage, services: new Map([[service.key, new Map([[80, 9080]])]]) };
  const { inbound } = makeBench(
    makeChange({ workloads: [pod], services: [service, makeService({ name: 'other' })] }),
    modernPreset,
    {},
    'node-b',
  );
  t.match(connect(inbound, `${service.hostname}:80`), { kind: 'dial', destination: at('10.244.2.5:9080'), service });
  t.match(connect(inbound, `${service.hostname}:81`), { kind: 'refuse', status: 503 });
  t.match(connect(inbound, 'other.default.svc.cluster.local:80'), { kind: 'refuse', status: 503 });
});

const sandwich = makeWorkload({
  name: 'wp',
  addresses: ['10.244.2.30', 'fd00::30'],
  node: 'node-b',
  applicationTunnel: { protocol: 'proxy', port: 15088 },
});
const toSandwich = { kind: 'address' as const, network: '', ip: '10.244.2.30', hbonePort: 15008 };
const local = '10.244.2.30:15008';

function sandwiched(
  workload: Partial<Workload> = {},
  service: Partial<Service> = {},
  settings: Partial<ZtunnelSettings> = {},
): InboundContext {
  const served = { ...productpageService, waypoint: toSandwich, ...service };
  const change = makeChange({ workloads: [{ ...sandwich, ...workload }, productpage], services: [served] });
  return makeBench(change, modernPreset, settings, 'node-b').inbound;
}

t.test('an application tunnel gets the bytes on loopback, with the client in a PROXY preface', async (t) => {
  t.match(connect(sandwiched(), '10.96.179.71:9080', { local }), {
    kind: 'dial',
    destination: at('127.0.0.1:15088'),
    socket: { source: undefined },
    service: { name: 'productpage' },
    preface: { source: at('10.244.1.4:50806'), destination: at('10.96.179.71:9080'), identity: sleep.identity },
  });
  t.match(connect(sandwiched(), '10.96.179.71:9080', { local: '[fd00::30]:15008' }), {
    destination: at('[::1]:15088'),
  });
  t.match(connect(sandwiched({}, {}, { localhostAppTunnel: false }), '10.96.179.71:9080', { local }), {
    destination: at('10.244.2.30:15088'),
    socket: { source: '10.244.1.4' },
    preface: { destination: at('10.96.179.71:9080') },
  });
});

t.test('a waypoint stands for those whose waypoint it is, by weight too, and for nobody else', async (t) => {
  const weighted = {
    waypoint: undefined,
    weightedWaypoints: [
      { destination: { ...toSandwich, ip: '10.244.9.9' }, weight: 1 },
      { destination: toSandwich, weight: 0 },
    ],
  };
  for (const applicationTunnel of [sandwich.applicationTunnel, undefined]) {
    t.match(connect(sandwiched({ applicationTunnel }), '10.96.179.71:9080', { local }), { kind: 'dial' });
    t.match(connect(sandwiched({ applicationTunnel }, weighted), '10.96.179.71:9080', { local }), { kind: 'dial' });
    t.match(connect(sandwiched({ applicationTunnel }), '10.244.2.5:9080', { local }), { kind: 'refuse', status: 400 });
  }
  t.match(
    connect(sandwiched({ applicationTunnel: undefined }), '10.96.179.71:9080', { local }),
    { destination: at('10.244.2.30:9080'), preface: undefined },
    'without a tunnel the address is left aside, the port is not',
  );
});

t.test('by host name a PROXY preface names the service’s address on this network, IPv4 first', async (t) => {
  const name = `${productpageService.hostname}:9080`;
  const addresses = [
    { network: 'east', ip: '10.99.0.1' },
    { network: '', ip: 'fd00:10::1' },
    { network: '', ip: '10.96.179.71' },
  ];
  t.match(connect(sandwiched({}, { addresses }), name, { local }), {
    preface: { destination: at('10.96.179.71:9080') },
  });
  t.match(connect(sandwiched({}, { addresses: addresses.slice(0, 2) }), name, { local }), {
    preface: { destination: at('[fd00:10::1]:9080') },
  });
  t.match(connect(sandwiched({}, { addresses: addresses.slice(0, 1) }), name, { local }), {
    kind: 'refuse',
    status: 503,
    reason: /no address that PROXY protocol could name/,
  });
});

t.test('a tunnel of protocol NONE takes the bytes as they are, from the client’s address', async (t) => {
  t.match(connect(sandwiched({ applicationTunnel: { protocol: 'none', port: 8443 } }), '10.244.2.30:80', { local }), {
    destination: at('10.244.2.30:8443'),
    socket: { source: '10.244.1.4' },
    preface: undefined,
  });
  t.match(
    connect(sandwiched({ applicationTunnel: { protocol: 'none', port: 0 } }), '10.244.2.30:80', { local }),
    { destination: at('10.244.2.30:80') },
    'without a port of its own',
  );
  t.match(connect(sandwiched({ applicationTunnel: { protocol: 'none', port: 15008 } }), '10.244.2.30:80', { local }), {
    kind: 'refuse',
    status: 503,
  });
});

t.test('policies see the port of the application, whatever the authority said', async (t) => {
  const onlyTunnelPort = makePolicy({ rules: [[[makeMatch({ destinationPorts: [15088] })]]] });
  const guardedSandwich = { ...sandwich, authorizationPolicies: [onlyTunnelPort.key] };
  const change = makeChange({
    workloads: [guardedSandwich],
    services: [{ ...productpageService, waypoint: toSandwich }],
    policies: [onlyTunnelPort],
  });
  const { inbound } = makeBench(change, modernPreset, {}, 'node-b');
  t.match(connect(inbound, '10.96.179.71:9080', { local }), { kind: 'dial' });
});

t.test('an address of the other family is not what the tunnel reached: 400', async (t) => {
  const dual = { ...productpage, addresses: ['10.244.2.5', 'fd00::5'] };
  const { inbound } = makeBench(makeChange({ workloads: [dual] }), modernPreset, {}, 'node-b');
  t.match(connect(inbound, '[fd00::5]:9080'), { kind: 'refuse', status: 400 });
  t.match(connect(inbound, '[fd00::5]:9080', { local: '[fd00::5]:15008' }), {
    kind: 'dial',
    destination: at('[fd00::5]:9080'),
  });
});

t.test('a host name is looked up as the pod’s namespace sees it', async (t) => {
  const hostname = 'db.example.com';
  const own = makeService({ name: 'own', hostname, key: `default/${hostname}` });
  const foreign = makeService({ name: 'foreign', namespace: 'zoo', hostname, key: `zoo/${hostname}` });
  const hidden = { ...foreign, visibility: 'namespace' as const };
  const connectTo = (services: readonly Service[], endpointOf: readonly Service[]) => {
    const pod = { ...productpage, services: new Map(endpointOf.map(({ key }) => [key, new Map([[80, 8080]])])) };
    const { inbound } = makeBench(makeChange({ workloads: [pod], services }), modernPreset, {}, 'node-b');
    return connect(inbound, `${hostname.toUpperCase()}:80`);
  };
  t.match(connectTo([own, foreign], [own, foreign]), { kind: 'dial', service: { name: 'own' } });
  t.match(connectTo([own, foreign], [foreign]), { kind: 'dial', service: { name: 'foreign' } });
  t.match(connectTo([own, foreign], []), { kind: 'refuse', status: 503 }, 'no endpoint of either');
  t.match(connectTo([hidden], [hidden]), { kind: 'refuse', status: 503 }, 'not visible from here');
});

t.test('a pod that calls itself is not answered past the proxy', async (t) => {
  const { inbound } = makeBench(bookinfo(false), legacyPreset, {}, 'node-b');
  t.match(connect(inbound, '10.244.2.5:9080', { peer: '10.244.2.5:1234', identity: productpage.identity }), {
    kind: 'dial',
    socket: { source: undefined },
  });
});

t.test('plaintext reaches the pod with the client’s address, unless a policy wants an identity', async (t) => {
  const event = { client: at('192.0.2.9:4444'), destination: at('10.244.2.5:9080') };
  const open = makeBench(bookinfo(false), legacyPreset, {}, 'node-b');
  t.match(decidePlaintext(event, open.inbound), {
    kind: 'dial',
    destination: event.destination,
    socket: { source: '192.0.2.9' },
  });
  const strict = makePolicy({
    name: 'strict',
    action: 'deny',
    rules: [[[makeMatch({ notPrincipals: [{ kind: 'presence' }] })]]],
  });
  const change = makeChange({
    workloads: [{ ...productpage, authorizationPolicies: [strict.key] }],
    policies: [strict],
  });
  const closed = makeBench(change, modernPreset, {}, 'node-b');
  t.match(decidePlaintext(event, closed.inbound), {
    kind: 'refuse',
    flag: 'DENY',
    reason: 'explicitly denied by: default/strict',
  });
  t.match(connect(closed.inbound, '10.244.2.5:9080'), { kind: 'dial' }, 'a tunnel has an identity');
  t.match(decidePlaintext({ ...event, destination: at('10.244.2.5:15008') }, open.inbound), {
    kind: 'refuse',
    reason: /15008/,
  });
  t.match(decidePlaintext({ ...event, destination: at('10.244.1.4:80') }, open.inbound), { kind: 'refuse' });
});
