/** The way to an endpoint: deadlines of a rule, and what is never called. */
import t from 'tap';
import { Cancellation } from '../../../src/base/cancellation.ts';
import { AmbitError } from '../../../src/base/errors.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import type { OpenOutcome, Relay } from '../../../src/hbone/seam.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import { Circuit } from '../../../src/upstream/circuit.ts';
import { createConnector } from '../../../src/upstream/connector.ts';
import { type AddressOrigin, addressOrigin, createEgressGuard } from '../../../src/upstream/egress-guard.ts';
import type { UpstreamEndpoint } from '../../../src/upstream/endpoint.ts';
import { HostAddresses } from '../../../src/upstream/host-addresses.ts';
import { plainConnections, type UpstreamProfile } from '../../../src/upstream/profile.ts';
import { within } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { makeWorkload } from '../../support/mesh-records.ts';

const profile: UpstreamProfile = {
  key: 'test',
  circuit: new Circuit(),
  queues: false,
  connectTimeoutMs: 100,
  tcp: undefined,
  tls: undefined,
  proxyProtocol: undefined,
  origin: undefined,
  everywhere: true,
  connections: plainConnections,
  refusal: undefined,
};

/** A relay whose tunnels are never answered, until they are given up. */
const silentRelay = {
  open: (_request: unknown, cancellation?: Cancellation) =>
    new Promise<OpenOutcome>((resolve) => {
      const error = new AmbitError('gave up', { code: 'HBONE_ABANDONED', origin: 'downstream' });
      cancellation?.on(() => resolve({ kind: 'failed', error }));
    }),
} as unknown as Relay;

const target = {
  peer: { ip: '192.0.2.1', port: 15008 },
  sourceIdentity: 'spiffe://a/ns/b/sa/c',
  expectedIdentities: [],
};
const tunnelled: UpstreamEndpoint = {
  workload: makeWorkload({}),
  address: { ip: '192.0.2.1', port: 80 },
  transport: {
    kind: 'tunnel',
    request: { authority: '192.0.2.1:80', headers: [], target: { ...target, socket: plainSocket } as never },
  },
  profile,
};

t.test('connectTimeout bounds the way through a tunnel, and the tunnel is given up', async (t) => {
  const clock = new FakeClock();
  const connecting = createConnector(silentRelay, clock).connect(tunnelled);
  clock.advance(100);
  t.match(await within('the end', connecting), { kind: 'failed', error: { code: 'UPSTREAM_CONNECT_TIMEOUT' } });
  t.equal(clock.pending, 0);
});

t.test('who asked may give up before that', async (t) => {
  const clock = new FakeClock();
  const gone = new Cancellation();
  const connecting = createConnector(silentRelay, clock).connect(tunnelled, gone);
  gone.cancel();
  t.match(await within('the end', connecting), { kind: 'failed', error: { code: 'HBONE_ABANDONED' } });
  t.equal(clock.pending, 0);
});

t.test('a rule that asks for what is not done sends nothing', async (t) => {
  const endpoint = { ...tunnelled, profile: { ...profile, refusal: 'a tunnel' } };
  t.match(await createConnector(silentRelay, new FakeClock()).connect(endpoint), {
    error: { code: 'UPSTREAM_UNSUPPORTED', message: 'a tunnel' },
  });
});

const guardOf = (isOfMesh: (ip: string) => boolean = () => false) =>
  createEgressGuard({ allowed: [], isOfMesh, isOwn: ({ ip, port }) => ip === '10.0.0.5' && port === 15008 });

t.test('of a name’s addresses those that are guarded are left out', async (t) => {
  const clock = new FakeClock();
  const table: Record<string, readonly string[]> = { 'a.example': ['127.0.0.1', '10.0.0.9'], 'b.example': [] };
  const source = async (hostname: string, family: number) =>
    (family === 4 ? (table[hostname] ?? []) : []).map((address) => ({ address, ttlSeconds: 60 }));
  const names = () => new HostAddresses({ source, clock, logger: silentLogger, limit: 9 });
  const guard = guardOf((ip) => ip === '10.0.0.9');
  const refusal = (ip: string, origin: AddressOrigin) => guard.refusal({ ip, port: 80 }, origin);
  const connector = createConnector(silentRelay, clock, { names: names(), clientNames: names(), guard });
  const named = (hostname: string, origin: UpstreamProfile['origin']): UpstreamEndpoint => ({
    workload: makeWorkload({}),
    address: { ip: hostname, port: 80 },
    transport: { kind: 'name', hostname, everywhere: true, socket: plainSocket },
    profile: { ...profile, origin },
  });
  t.match(await connector.connect(named('a.example', 'external-name')), {
    error: { code: 'UPSTREAM_GUARDED', message: /127\.0\.0\.1 is this machine.*10\.0\.0\.9 belongs to the mesh/ },
  });
  t.match(await connector.connect(named('b.example', 'external-name')), { error: { code: 'UPSTREAM_NAME' } });
  t.match(await createConnector(silentRelay, clock).connect(named('a.example', 'external-name')), {
    error: { code: 'UPSTREAM_NAME' },
  });
  t.equal(refusal('10.0.0.1', 'external-name'), undefined, 'private ones may be meant');
  t.match(refusal('10.0.0.1', 'named-by-client'), /no public address/);
  t.equal(refusal('10.0.0.9', 'internal-name'), undefined, 'inside the mesh pods are meant');
  t.match(refusal('169.254.169.254', 'written'), /this machine or its link/);
});

t.test('what somebody wrote is guarded in every way that leads there; what a node says of a pod is not', async (t) => {
  const clock = new FakeClock();
  const opened: string[] = [];
  const relay = {
    open: async ({ target: { peer } }: { target: { peer: { ip: string } } }): Promise<OpenOutcome> => {
      opened.push(peer.ip);
      return { kind: 'failed', error: new AmbitError('no', { code: 'HBONE_ABANDONED', origin: 'upstream' }) };
    },
  } as unknown as Relay;
  const names = () => new HostAddresses({ source: async () => [], clock, logger: silentLogger, limit: 9 });
  const connector = createConnector(relay, clock, { names: names(), clientNames: names(), guard: guardOf() });
  const written = [
    'Kubernetes/discovery.k8s.io/EndpointSlice/default/slice/x',
    'Kubernetes/networking.istio.io/WorkloadEntry/default/machine',
    'Kubernetes/networking.istio.io/ServiceEntry/default/out/x',
    'what-an-operator-calls-it',
    // A group of its own that looks like none.
    'Kubernetes/a//Pod/default/x',
  ];
  const at = (uid: string, ip: string, kind: 'plain' | 'tunnel', profiled = false): UpstreamEndpoint => ({
    workload: makeWorkload({ uid }),
    address: { ip, port: 9 },
    transport:
      kind === 'plain'
        ? { kind, socket: { ...plainSocket, connectTimeoutMs: 1 } }
        : {
            kind,
            request: { authority: ip, headers: [], target: { ...target, peer: { ip, port: 15008 } } as never },
          },
    ...(profiled ? { profile } : {}),
  });
  for (const uid of written) {
    for (const ip of [
      '127.0.0.1',
      '::1',
      '169.254.169.254',
      '0.0.0.0',
      '::',
      '224.0.0.1',
      'fe80::1',
      'fd00:ec2::254',
    ]) {
      for (const kind of ['plain', 'tunnel'] as const) {
        for (const profiled of [false, true]) {
          const outcome = await connector.connect(at(uid, ip, kind, profiled));
          t.match(outcome, { error: { code: 'UPSTREAM_GUARDED' } }, `${uid} ${ip} ${kind}`);
        }
      }
    }
  }
  t.same(opened, []);
  await connector.connect(at(written[0] as string, '10.0.0.1', 'tunnel'));
  await connector.connect(at('Kubernetes//Pod/default/a', '127.0.0.2', 'tunnel'));
  t.same(opened, ['10.0.0.1', '127.0.0.2'], 'nodes, private addresses and pods go on');
  const own = await connector.connect(at('Kubernetes//Pod/default/a', '10.0.0.5', 'tunnel'));
  t.match(own, { error: { code: 'UPSTREAM_GUARDED', message: /this waypoint/ } }, 'a pod, but it is the waypoint');
  t.equal(addressOrigin(makeWorkload({ uid: '//Pod/default/a' })), 'pod');
});
