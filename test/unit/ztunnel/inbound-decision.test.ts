/** Inbound CONNECT and plaintext: who may reach what, and what is dialled. */
import t from 'tap';
import { decideInbound, type InboundContext } from '../../../src/ztunnel/inbound-decision.ts';
import { decidePlaintext } from '../../../src/ztunnel/inbound-passthrough-decision.ts';
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
    service: { hostname: 'productpage.default.svc.cluster.local' },
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

t.test(
  'an application tunnel gets the bytes on loopback, with the client in a PROXY preface, and only for those it serves',
  async (t) => {
    const gateway = { kind: 'address' as const, network: '', ip: '10.244.2.30', hbonePort: 15008 };
    const sandwich = makeWorkload({
      name: 'wp',
      addresses: ['10.244.2.30'],
      node: 'node-b',
      applicationTunnel: { protocol: 'proxy', port: 15088 },
    });
    const served = { ...productpageService, waypoint: gateway };
    const { inbound } = makeBench(
      makeChange({ workloads: [sandwich, productpage], services: [served] }),
      modernPreset,
      {},
      'node-b',
    );
    const local = '10.244.2.30:15008';
    t.match(connect(inbound, '10.96.179.71:9080', { local }), {
      kind: 'dial',
      destination: at('127.0.0.1:15088'),
      socket: { source: undefined },
      preface: { source: at('10.244.1.4:50806'), destination: at('10.96.179.71:9080'), identity: sleep.identity },
    });
    t.match(connect(inbound, '10.244.2.5:9080', { local }), { kind: 'refuse', status: 400 });
  },
);

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
