/**
 * A waypoint between two Envoys that stand in for the ztunnels on either side: client → Envoy (HBONE client) → waypoint →
 * Envoy (HBONE server) → origin. Everything is on loopback; the service's address exists only in the mesh.
 */
import type { Test } from 'tap';
import type { SocketAddress } from '../../src/base/address.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { unscrapedMetrics } from '../../src/base/metrics.ts';
import { modernPreset } from '../../src/config/preset.ts';
import { createRelay } from '../../src/hbone/relay.ts';
import type { AppProtocol, Workload } from '../../src/mesh/model.ts';
import { MeshStore } from '../../src/mesh/store.ts';
import { emptyL7Model, type L7Model } from '../../src/route/model.ts';
import { defaultWaypointSettings } from '../../src/waypoint/settings.ts';
import { createWaypoint, type Waypoint } from '../../src/waypoint/waypoint.ts';
import { type RunningEnvoy, startEnvoy } from '../support/envoy.ts';
import { envoyHboneClient, envoyHboneServer, envoyListener } from '../support/envoy-config.ts';
import { makeChange, makePort, makeService, makeWorkload } from '../support/mesh-records.ts';
import { TestCa, TestSecretStore, testIdentity } from '../support/test-ca.ts';

const clientId = testIdentity('spiffe://cluster.local/ns/shop/sa/client');
const originId = testIdentity('spiffe://cluster.local/ns/shop/sa/origin');
const waypointId = testIdentity('spiffe://cluster.local/ns/shop/sa/waypoint');
const gatewayService = 'shop/waypoint.shop.svc.cluster.local';
const gateway = { kind: 'hostname', service: gatewayService, hbonePort: 15008 } as const;
const podIp = '127.0.0.2';

export const originHost = 'origin.shop.svc.cluster.local';
export const originService = `shop/${originHost}`;

export interface WaypointWorld {
  /** Where a client connects as if to the service. */
  readonly entry: SocketAddress;
  readonly waypoint: Waypoint;
  readonly client: RunningEnvoy;
  readonly server: RunningEnvoy;
  /** One per request or tunnel that ended. */
  readonly accessLog: Map<string, string | number | undefined>[];
}

export interface WaypointWorldOptions {
  readonly origin: SocketAddress;
  readonly appProtocol: AppProtocol;
  readonly model?: L7Model;
}

export async function makeWaypointWorld(t: Test, options: WaypointWorldOptions): Promise<WaypointWorld> {
  const ca = await TestCa.create();
  const secrets = new TestSecretStore([await ca.issue(waypointId)]);
  const relay = createRelay({ secrets, logger: silentLogger, clock: systemClock });
  t.teardown(() => relay.close());
  const server = await startEnvoy(
    t,
    envoyHboneServer({
      certificate: await ca.issuePem([originId]),
      rootsPem: ca.rootPem,
      expectedPeers: [waypointId],
      destination: options.origin,
      listenIp: podIp,
    }),
  );
  const mesh = new MeshStore();
  const vip = '10.96.0.7';
  mesh.apply(
    makeChange({
      services: [
        makeService({
          name: 'origin',
          namespace: 'shop',
          addresses: [{ network: '', ip: vip }],
          ports: new Map([[80, makePort(80, 0, { appProtocol: options.appProtocol })]]),
          waypoint: gateway,
        }),
      ],
      workloads: [
        inShop('client', '127.0.0.1', {}),
        inShop('origin', podIp, { services: new Map([[originService, new Map([[80, options.origin.port]])]]) }),
      ],
    }),
  );
  mesh.markComplete();
  const accessLog: WaypointWorld['accessLog'] = [];
  const waypoint = createWaypoint({
    preset: modernPreset,
    settings: { ...defaultWaypointSettings, hbonePort: server.listener(envoyListener).port },
    identity: waypointId,
    trustDomainAliases: [],
    mesh,
    model: () => options.model ?? emptyL7Model,
    own: () => ({ key: 'shop/waypoint', namespace: 'shop', address: gateway, service: gatewayService }),
    relay,
    secrets,
    traffic: {
      request: () => {},
      messages: () => {},
      connection: () => ({ opened: () => {}, transferred: () => {}, closed: () => {} }),
    },
    accessLog: {
      verbose: false,
      write: (_event, fields, ...repeated) => void accessLog.push(new Map([...repeated, fields].flat())),
    },
    metrics: unscrapedMetrics,
    clock: systemClock,
    random: { next: Math.random },
    logger: silentLogger,
  });
  t.teardown(() => waypoint.close());
  const { address } = await waypoint.listen('127.0.0.1', 0);
  const client = await startEnvoy(
    t,
    envoyHboneClient({
      certificate: await ca.issuePem([clientId]),
      rootsPem: ca.rootPem,
      expectedPeers: [waypointId],
      server: address,
      authority: `${vip}:80`,
    }),
  );
  return { entry: client.listener(envoyListener), waypoint, client, server, accessLog };
}

function inShop(name: string, ip: string, fields: Partial<Workload>): Workload {
  return makeWorkload({
    name,
    namespace: 'shop',
    serviceAccount: name,
    addresses: [ip],
    ...(name === 'origin' ? { waypoint: gateway } : {}),
    ...fields,
  });
}
