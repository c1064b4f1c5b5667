/**
 * One folder of objects as a running mesh: a client's ztunnel, the waypoint and the ztunnels of its pods, over real
 * sockets and real tunnels on loopback. Pods have addresses in 127.0.0.0/8 and the certificate of their service account.
 */
import { cpSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseSocketAddress, type SocketAddress } from '../../../src/base/address.ts';
import { systemClock } from '../../../src/base/clock.ts';
import type { Diagnostic } from '../../../src/base/diagnostics.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import type { SpiffeId } from '../../../src/base/spiffe.ts';
import type { Compilation } from '../../../src/compile/compile.ts';
import { defaultCompileOptions } from '../../../src/compile/options.ts';
import { presetByName } from '../../../src/config/preset.ts';
import { createRelay } from '../../../src/hbone/relay.ts';
import type { ConnectRequest, ConnectVerdict, OpenOutcome, Relay, RunningListener } from '../../../src/hbone/seam.ts';
import type { Workload } from '../../../src/mesh/model.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import { defaultWaypointSettings } from '../../../src/waypoint/settings.ts';
import { createWaypoint, type Waypoint } from '../../../src/waypoint/waypoint.ts';
import { FolderSource } from '../../../src/xds/folder-source.ts';
import { createTestKey, keySetText, type TestKey } from '../../support/jwt-issuer.ts';
import { TestCa, TestSecretStore } from '../../support/test-ca.ts';
import type { CaseFile } from './case-file.ts';
import { EchoPods } from './echo-pods.ts';

const baseMesh = path.join(import.meta.dirname, '../mesh');
const caseFileName = 'cases.yaml';

export interface World {
  readonly file: CaseFile;
  readonly pods: EchoPods;
  readonly accessLog: Map<string, string | number | undefined>[];
  readonly diagnostics: readonly Diagnostic[];
  /** A signing key by name; its set stands in the folder as `${jwks:NAME}`. */
  key(name: string): TestKey;
  /** `service:port` of the case as `VIP:port`, `pod:NAME:port` as its address; an address stays. */
  authorityOf(destination: string): string;
  connect(authority: string, client: string): Promise<OpenOutcome>;
  close(): Promise<void>;
}

let sharedCa: Promise<TestCa> | undefined;

export async function startWorld(folder: string, file: CaseFile): Promise<World> {
  sharedCa ??= TestCa.create();
  const ca = await sharedCa;
  const closers: (() => unknown)[] = [];
  const keys = new Map<string, TestKey>();
  const directory = mkdtempSync(path.join(tmpdir(), 'ambit-conformance-'));
  closers.push(() => rmSync(directory, { recursive: true, force: true }));
  await copyMesh(folder, file, directory, keys);

  const preset = presetByName(file.preset);
  if (preset === undefined) throw new Error(`no preset ${file.preset}`);
  const mesh = new MeshStore();
  let compilation: Compilation | undefined;
  let diagnostics: readonly Diagnostic[] = [];
  let changed = () => {};
  const source = new FolderSource({
    directory,
    compile: { ...defaultCompileOptions, preset },
    store: mesh,
    clock: systemClock,
    logger: silentLogger,
    onCompiled: (next) => {
      compilation = next;
      changed();
    },
    onDiagnostics: (next) => {
      diagnostics = next;
    },
  });
  await source.refresh();
  const record = () => compilation?.gateways.get(file.gateway);
  const waypointId = record()?.identities[0];
  if (compilation === undefined || waypointId === undefined)
    throw new Error(`${folder}: no Gateway ${file.gateway} with pods:\n${JSON.stringify(diagnostics, undefined, 1)}`);

  const workloads = [...mesh.workloads()];
  const ids = new Set<SpiffeId>([waypointId, ...workloads.map(({ identity }) => identity)]);
  const secrets = new TestSecretStore(await Promise.all([...ids].map((id) => ca.issue(id))));
  const relays = [0, 1, 2].map(() => createRelay({ secrets, logger: silentLogger, clock: systemClock }));
  const [clientRelay, waypointRelay, podRelay] = relays as [Relay, Relay, Relay];
  const pods = new EchoPods();
  closers.push(
    () => pods.close(),
    () => Promise.all(relays.map((relay) => relay.close())),
  );
  const up = workloads.filter(({ name, addresses }) => addresses[0]?.startsWith('127.') && !file.down.includes(name));
  const hbonePort = await servePods(podRelay, secrets, up, pods);
  const accessLog: World['accessLog'] = [];
  const waypoint = createWaypoint({
    preset,
    settings: {
      ...defaultWaypointSettings,
      sniffTimeoutMs: 200,
      extensionsDirectory: path.join(folder, 'extensions'),
      ...file.settings,
      hbonePort,
    },
    identity: waypointId,
    trustDomainAliases: [],
    mesh,
    model: () => (compilation as Compilation).l7,
    own: () => record(),
    relay: waypointRelay,
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
    random: seeded(),
    logger: silentLogger,
    outputs: {
      lines: {
        write: (file, line) =>
          void accessLog.push(new Map([['file', file] as const, ['line', line.trimEnd()] as const])),
      },
    },
  });
  changed = () => waypoint.modelChanged();
  closers.push(() => waypoint.close());
  const { address } = await waypoint.listen('127.0.0.1', 0);

  return {
    file,
    pods,
    accessLog,
    diagnostics,
    key: (name) => keys.getOrInsertComputed(name, () => missing('key', name)),
    authorityOf: (destination) => authorityOf(destination, mesh),
    connect(authority, client) {
      const workload = workloads.find(({ namespace, name }) => `${namespace}/${name}` === client);
      if (workload === undefined) return missing('client pod', client);
      return clientRelay.open({
        target: {
          peer: address,
          sourceIdentity: workload.identity,
          expectedIdentities: [waypointId],
          socket: { ...plainSocket, source: workload.addresses[0] },
        },
        authority,
        headers: [],
      });
    },
    async close() {
      await endWaypoint(waypoint, source);
      for (const close of closers.reverse()) await close();
    },
  };
}

async function endWaypoint(waypoint: Waypoint, source: FolderSource): Promise<void> {
  await waypoint.close();
  await source.close();
}

/** The folder's objects, with the shared ones of `mesh/` before them and `${jwks:NAME}` put in. */
async function copyMesh(folder: string, file: CaseFile, directory: string, keys: Map<string, TestKey>): Promise<void> {
  if (file.mesh === 'base') cpSync(baseMesh, path.join(directory, 'base'), { recursive: true });
  for (const name of globSync('**/*.yaml', { cwd: folder })) {
    if (name === caseFileName) continue;
    let text = readFileSync(path.join(folder, name), 'utf8');
    for (const [placeholder, key = ''] of text.matchAll(/\$\{jwks:(\w+)\}/g)) {
      const made = keys.get(key) ?? (await createTestKey(key, 'RS256'));
      keys.set(key, made);
      text = text.replaceAll(placeholder, keySetText(made));
    }
    const target = path.join(directory, name);
    mkdirSync(path.dirname(target), { recursive: true });
    writeFileSync(target, text);
  }
  // A key nobody publishes: what an intruder signs with.
  keys.set('stranger', await createTestKey('stranger', 'RS256'));
}

/** A tunnel server for each pod of the mesh, all on one port; a plain listener for each port of the others. */
async function servePods(
  relay: Relay,
  secrets: TestSecretStore,
  workloads: readonly Workload[],
  pods: EchoPods,
): Promise<number> {
  const byIp = new Map(workloads.map((workload) => [workload.addresses[0] ?? '', workload]));
  for (const workload of workloads.filter(({ tunnelProtocol }) => tunnelProtocol === 'none')) {
    const ports = [...workload.services.values()].flatMap((map) => [...map.values()]);
    for (const port of new Set(ports))
      await pods.address(workload.name, port, { ip: workload.addresses[0] ?? '', port });
  }
  const options = {
    secretFor: ({ ip }: SocketAddress) => secrets.current(byIp.get(ip)?.identity as SpiffeId),
    trusts: () => true,
    maxStreamsPerSession: 200,
    onConnect: async ({ authority, local }: ConnectRequest): Promise<ConnectVerdict> => {
      const destination = parseSocketAddress(authority);
      const workload = byIp.get(local.ip);
      if (destination?.ip !== local.ip || workload === undefined) return { kind: 'refuse', status: 400, headers: [] };
      const application = await pods.address(workload.name, destination.port);
      const observer = { ended: () => {} };
      return { kind: 'dial', destination: application, socket: plainSocket, headers: [], observer };
    },
  };
  const ips = workloads.flatMap(({ tunnelProtocol, addresses: [ip = ''] }) => (tunnelProtocol === 'hbone' ? [ip] : []));
  for (let attempt = 1; ; attempt++) {
    const listeners: RunningListener[] = [];
    try {
      let port = 0;
      for (const ip of ips) {
        const listener = await relay.serve({ ...listenSpec, ip, port }, options);
        listeners.push(listener);
        port = listener.address.port;
      }
      return port;
    } catch (error) {
      // Another process has the port on one of the addresses.
      for (const listener of listeners) listener.destroy();
      if (attempt === 5) throw error;
    }
  }
}

const listenSpec = {
  transparent: false,
  mark: undefined,
  namespace: undefined,
  reusePort: false,
  redirected: false,
};

function authorityOf(destination: string, mesh: MeshStore): string {
  const [, namespace = '', name = '', port = ''] = /^([^/]+)\/(.+):(\d+)$/.exec(destination) ?? [];
  const inNamespace = (one: { namespace: string; name: string }) => one.namespace === namespace && one.name === name;
  const pod = /^pod:(.*)$/.exec(name)?.[1];
  if (pod !== undefined) {
    const workload = [...mesh.workloads()].find((one) => one.namespace === namespace && one.name === pod);
    return `${workload?.addresses[0] ?? missing('pod', destination)}:${port}`;
  }
  const service =
    [...mesh.services()].find(inNamespace) ?? [...mesh.services()].find((one) => one.hostname === name) ?? undefined;
  if (service === undefined) return missing('service', destination);
  return `${service.addresses[0]?.ip ?? missing('VIP of', destination)}:${port}`;
}

function missing(what: string, name: string): never {
  throw new Error(`the folder has no ${what} ${name}`);
}

/** Uniform and the same in every run: shares of traffic are exact to the request (mulberry32). */
function seeded(): { next(): number } {
  let state = 20_261_128;
  return {
    next() {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
    },
  };
}
