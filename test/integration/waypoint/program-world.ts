/**
 * The waypoint program before one application, and a client's ztunnel that calls it: what tests of the program as a whole
 * begin with. Programs of one world share folder, authority and mesh.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import type { Duplex } from 'node:stream';
import type { Test } from 'tap';
import { parseSocketAddress, type SocketAddress } from '../../../src/base/address.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { createRelay } from '../../../src/hbone/relay.ts';
import { openAuthority } from '../../../src/identity/authority.ts';
import { createOwnAuthorityClient } from '../../../src/identity/own-authority.ts';
import { SecretManager } from '../../../src/identity/secret-manager.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import { documents, podText } from '../../support/compile-text.ts';
import { eventually } from '../../support/eventually.ts';
import { programFile } from '../../support/program-files.ts';
import { type RunningProgram, startProgram } from '../../support/programs.ts';
import { productId, sleepId } from './harness.ts';

export const waypointScript = programFile('waypoint');

const gateway = `
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: Gateway
metadata: {name: productpage, namespace: default, annotations: {istio.io/service-account: bookinfo-productpage}}
spec: {gatewayClassName: istio-mesh}
`;

const service = (port: number) => `
apiVersion: v1
kind: Service
metadata: {name: productpage, namespace: default}
spec: {clusterIP: 10.96.179.71, selector: {app: productpage}, ports: [{name: http, port: 9080, targetPort: ${port}}]}
`;

export interface StartedWaypoint {
  readonly program: RunningProgram;
  /** Path of its admin socket. */
  readonly admin: string;
  readonly address: SocketAddress;
}

export interface ProgramWorld {
  readonly config: string;
  /** A program of its own each time. */
  start(name: string, environment?: Readonly<Record<string, string>>): Promise<StartedWaypoint>;
  /** A tunnel to the application's service; each client has sessions of its own. */
  tunnel(address: SocketAddress, client?: number): Promise<Duplex>;
}

/** `clients`: ztunnels that call. */
export async function programWorld(t: Test, clients = 1): Promise<ProgramWorld> {
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-waypoint-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const config = path.join(folder, 'mesh');
  const ca = path.join(folder, 'ca');
  const app = createServer((request, response) => response.end(`${request.method} ${request.url}`));
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.2', resolve));
  t.teardown(() => app.close().closeAllConnections());
  const { port } = app.address() as { port: number };
  mkdirSync(config);
  const pods = documents(
    podText('productpage', '127.0.0.2', { account: 'bookinfo-productpage' }),
    podText('sleep', '127.0.0.1', { account: 'sleep' }),
  );
  writeFileSync(path.join(config, 'mesh.yaml'), documents(gateway, service(port), pods));
  const clock = systemClock;
  const authority = await openAuthority({ folder: ca, create: true, trustDomain: 'cluster.local', clock });
  const dependencies = { clock, random: systemRandom, logger: silentLogger, metrics: unscrapedMetrics };
  const secrets = new SecretManager({ ...dependencies, ca: createOwnAuthorityClient(authority, silentLogger) });
  await secrets.acquire(sleepId);
  const relays = Array.from({ length: clients }, () => createRelay({ secrets, logger: silentLogger, clock }));
  t.teardown(async () => {
    await Promise.all(relays.map((relay) => relay.close()));
    secrets.close();
  });
  return {
    config,
    async start(name, environment = {}) {
      const admin = path.join(folder, `${name}.sock`);
      const program = startProgram(t, [process.execPath, '--disable-sigusr1', waypointScript, 'proxy', 'waypoint'], {
        AMBIT_CONFIG: config,
        AMBIT_PRESET: 'legacy',
        AMBIT_GATEWAY: 'default/productpage',
        AMBIT_CA_DIR: ca,
        AMBIT_LISTEN_IP: '127.0.0.1',
        AMBIT_WAYPOINT_PORTS: '0',
        AMBIT_ADMIN_SOCKET: admin,
        AMBIT_METRICS_PORT: '0',
        AMBIT_READINESS_PORT: '0',
        ...environment,
      });
      const address = await eventually(
        `${name} to accept tunnels`,
        () => {
          if (program.hasExited()) throw new Error(program.log());
          return parseSocketAddress(/accepting tunnels.*?address="?([0-9.:]+)/.exec(program.log())?.[1] ?? '');
        },
        60_000,
      );
      return { program, admin, address };
    },
    async tunnel(address, client = 0) {
      const outcome = await (relays[client] as (typeof relays)[0]).open({
        target: { peer: address, sourceIdentity: sleepId, expectedIdentities: [productId], socket: plainSocket },
        authority: '10.96.179.71:9080',
        headers: [],
      });
      if (outcome.kind !== 'open') throw new Error(`no tunnel: ${JSON.stringify(outcome)}`);
      return outcome.stream;
    },
  };
}
