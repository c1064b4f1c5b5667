/**
 * Changes of the mesh between the decision about a connection and its being known to the registry: what was allowed then
 * and is not now must not live on. The relay only hands out what it is asked to do.
 */
import t from 'tap';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import type { CapturedConnection, ConnectRequest, End, Join, Relay, ServeOptions } from '../../../src/hbone/seam.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { startInbound } from '../../../src/ztunnel/inbound.ts';
import { startInboundPassthrough } from '../../../src/ztunnel/inbound-passthrough.ts';
import { startOutbound } from '../../../src/ztunnel/outbound.ts';
import { createZtunnel } from '../../../src/ztunnel/services.ts';
import { defaultZtunnelSettings } from '../../../src/ztunnel/settings.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { makeChange, makePolicy, makeWorkload } from '../../support/mesh-records.ts';
import { TestSecretStore } from '../../support/test-ca.ts';
import { at, modernPreset, sleep } from './bookinfo.ts';

const server = makeWorkload({ name: 'server', serviceAccount: 'server', addresses: ['10.244.2.5'] });
const named = makeWorkload({ name: 'named', hostname: 'named.example.com', addresses: ['10.244.3.9'] });
const denyAll = makePolicy({ name: 'none', scope: 'global', action: 'deny', rules: [[]] });

/** `beforeDial`: happens after the decision, before anything is dialled. */
function setup(beforeDial: (mesh: MeshStore) => void) {
  const mesh = new MeshStore();
  mesh.apply(makeChange({ workloads: [server, sleep, named] }));
  mesh.markComplete();
  let serving: ServeOptions | undefined;
  const accepting: ((connection: CapturedConnection) => void)[] = [];
  const listener = { address: at('0.0.0.0:1'), close: async () => {}, destroy() {} };
  const relay: Relay = {
    async capture(_, onConnection) {
      accepting.push(onConnection);
      return listener;
    },
    async serve(_, options) {
      serving = options;
      return listener;
    },
    open: () => Promise.reject(new Error('no tunnels in this test')),
    forgetPeer() {},
    forgetIdentity() {},
    stats: () => ({ sessions: 0, servedSessions: 0, streams: 0, captured: 0 }),
    drained: async () => {},
    close: async () => {},
  };
  const place = {
    name: 'server',
    namespace: undefined,
    ip: '0.0.0.0',
    sourceAt: () => mesh.workload(sleep.uid),
    workloadAt: (ip: string) => (ip === server.addresses[0] ? server : undefined),
  };
  const { services } = createZtunnel({
    preset: modernPreset,
    settings: defaultZtunnelSettings,
    mesh,
    relay,
    secrets: new TestSecretStore([]),
    clock: new FakeClock(),
    random: { next: () => 0 },
    logger: silentLogger,
    metrics: unscrapedMetrics,
    traffic: { connection: () => ({ opened() {}, transferred() {}, closed() {} }), request() {}, messages() {} },
    accessLog: { verbose: false, write() {} },
    resolve: async () => undefined,
    placeOf: () => undefined,
  });
  const stopped: string[] = [];
  const joinOf = (observer: { ended(end: End): void }): Join => {
    const counts = { toUpstream: 0, toDownstream: 0 };
    return {
      counts,
      heldBytes: 0,
      stop(error) {
        stopped.push(error.message);
        observer.ended({ kind: 'stopped', by: 'local', status: undefined, error, established: undefined, counts });
      },
    };
  };
  const captured = (destination: string): CapturedConnection => ({
    peer: at('10.244.1.4:4000'),
    local: at('10.244.2.5:15006'),
    originalDestination: at(destination),
    requestedHost: undefined,
    gone: false,
    tunnel: (_, observer) => joinOf(observer),
    dial(_, __, observer) {
      beforeDial(mesh);
      return joinOf(observer);
    },
    refuse() {},
  });
  return {
    mesh,
    services,
    place,
    stopped,
    captured,
    accept: (connection: CapturedConnection) => accepting[0]?.(connection),
    async connect() {
      const request = {
        peerIdentity: sleep.identity,
        localIdentity: server.identity,
        peer: at('10.244.1.4:4000'),
        local: at('10.244.2.5:15008'),
        authority: '10.244.2.5:80',
        header: () => undefined,
      } as Partial<ConnectRequest> as ConnectRequest;
      const verdict = await serving?.onConnect(request);
      if (verdict?.kind !== 'dial') throw new Error(`it is to ${verdict?.kind}`);
      beforeDial(mesh);
      verdict.joined?.(joinOf(verdict.observer));
    },
  };
}

const changes: readonly (readonly [string, (mesh: MeshStore) => void, RegExp | undefined])[] = [
  ['nothing', () => {}, undefined],
  ['a policy that does not concern it', (mesh) => mesh.apply(makeChange({ policies: [makePolicy()] })), undefined],
  ['a policy against it', (mesh) => mesh.apply(makeChange({ policies: [denyAll] })), /policy change/],
  [
    'its workload has left',
    (mesh) => mesh.apply(makeChange({ removedWorkloads: [server.uid] })),
    /its workload has left/,
  ],
];

for (const [name, change, reason] of changes) {
  t.test(`between decision and join: ${name}`, async (t) => {
    const tunnel = setup(change);
    await startInbound(tunnel.services, tunnel.place);
    await tunnel.connect();
    const plain = setup(change);
    await startInboundPassthrough(plain.services, plain.place);
    plain.accept(plain.captured('10.244.2.5:80'));
    for (const { stopped, services } of [tunnel, plain]) {
      t.equal(services.registry.size, reason === undefined ? 1 : 0);
      t.equal(stopped.length, reason === undefined ? 0 : 1);
      if (reason !== undefined) t.match(stopped[0], reason);
    }
  });
}

t.test('a source that left while a name was resolved takes its connection along', async (t) => {
  const world = setup((mesh) => mesh.apply(makeChange({ removedWorkloads: [sleep.uid] })));
  await startOutbound(world.services, world.place);
  world.accept(world.captured('192.0.2.1:80'));
  t.match(world.stopped, ['connection closed: its workload has left']);
  t.equal(world.services.registry.size, 0);
});
