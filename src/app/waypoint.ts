/** Composition root of `waypoint`: settings, mesh and model, secrets, relay, stages, admin, and its end. */
import path from 'node:path';
import process from 'node:process';
import type { ReadinessSource } from '../admin/interfaces.ts';
import { type RunningAdmin, startAdmin } from '../admin/server.ts';
import { formatSocketAddress } from '../base/address.ts';
import { systemClock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import {
  boundOldGeneration,
  collectYoungAlone,
  cutBuffersFromSmallSlabs,
  markWithFewHelpers,
} from '../base/garbage.ts';
import { version } from '../base/own-files.ts';
import { systemRandom } from '../base/random.ts';
import { formatSpiffeId, type Identity } from '../base/spiffe.ts';
import type { GatewayRecord } from '../compile/gateways.ts';
import { createRelay } from '../hbone/relay.ts';
import { emptyL7Model, type L7Model } from '../route/model.ts';
import { shareProtections } from '../route/protection-share.ts';
import { waypointViews } from '../waypoint/admin-views.ts';
import type { OwnGateway } from '../waypoint/gateway.ts';
import { defaultWaypointSettings } from '../waypoint/settings.ts';
import { createWaypoint } from '../waypoint/waypoint.ts';
import { printAdminView } from './admin-view.ts';
import { http2Engine } from './http2-engine.ts';
import { startLifecycle } from './lifecycle.ts';
import { keepMemorySmall } from './memory.ts';
import { createObservability, type Observability } from './observability.ts';
import { ownListeners } from './own-listeners.ts';
import { ownWorkload } from './own-workload.ts';
import { openRevocation } from './revocation.ts';
import { startSeriesExpiry } from './series-expiry.ts';
import { usesSessions } from './session-keys.ts';
import { startTracing } from './tracing.ts';
import { trustDomainsOf } from './trust-domain-list.ts';
import { adminAddresses, listenPorts } from './waypoint-admin.ts';
import { openWaypointSecrets } from './waypoint-identity.ts';
import { openWaypointMesh, type WaypointMesh } from './waypoint-mesh.ts';
import { readWaypointCommand, type WaypointProgramSettings, waypointHelp } from './waypoint-settings.ts';
import { wildcard } from './wildcard.ts';
import { superviseWaypoint } from './workers/waypoint-supervisor.ts';
import { WorkerLink } from './workers/worker-link.ts';

/** `argv` without the program's name. The value is the exit code; undefined: it runs until a signal ends it. */
export async function runWaypoint(argv: readonly string[]): Promise<number | undefined> {
  const command = readWaypointCommand(argv, process.env);
  switch (command.kind) {
    case 'help':
      process.stdout.write(waypointHelp);
      return 0;
    case 'version':
      process.stdout.write(`${version}\n`);
      return 0;
    case 'view':
      return await printAdminView('waypoint', command.request);
    case 'problems':
      for (const problem of command.problems) process.stderr.write(`waypoint: ${problem}\n`);
      return 2;
    case 'run':
      return await start(command.settings, argv);
  }
}

async function start(settings: WaypointProgramSettings, argv: readonly string[]): Promise<number | undefined> {
  const {
    RUST_LOG: levels,
    LOG_FORMAT: format,
    ISTIO_META_ISTIO_VERSION: tag,
    AMBIT_METRICS_MAX_LABEL_SETS: maxLabelSets,
  } = settings.variables;
  const seen = createObservability({ levels, format, program: 'waypoint', version: tag ?? version, maxLabelSets });
  try {
    if (settings.workers > 1 && settings.worker === undefined) return await superviseWaypoint(settings, seen, argv);
    await run(settings, seen);
    return undefined;
  } catch (error) {
    seen.logger.error('cannot start', { error: errorText(error) });
    seen.flush();
    return 1;
  }
}

const oldGrowthPercent = 10;

async function run(settings: WaypointProgramSettings, seen: Observability): Promise<void> {
  const { variables, preset, gateway } = settings;
  const { logger, metrics, traffic, accessLog, levels } = seen;
  const clock = systemClock;
  const random = systemRandom;
  // What reading leaves, routes before a change, and requests: 10 to 30 MB between two collections of V8's own choice.
  boundOldGeneration(oldGrowthPercent);
  collectYoungAlone();
  markWithFewHelpers();
  cutBuffersFromSmallSlabs();
  const source = openWaypointMesh(settings, { clock, random, logger, metrics });
  const mesh = source.store;
  await source.start();
  const own = identityOf(settings, source.gateway);
  const identity = formatSpiffeId(own);
  const { secrets, credential } = await openWaypointSecrets(settings, own, { clock, random, logger, metrics });
  source.connect(credential);
  const revocation = await openRevocation(variables, { clock, logger, metrics });
  const link = settings.worker === undefined ? undefined : new WorkerLink(clock);
  const share = (limit: number) => Math.ceil(limit / settings.workers);
  const listen = link === undefined ? undefined : link.receiver.listen.bind(link.receiver);
  const http2 = await http2Engine(variables.AMBIT_HTTP2_ENGINE);
  const relay = createRelay({ secrets, logger, clock, listen, http2, revocation: revocation?.checker });
  const tracing = settings.tracing && (await startTracing(settings.tracing, { clock, random, metrics, logger }));
  const waypoint = createWaypoint({
    preset,
    settings: {
      ...defaultWaypointSettings,
      network: variables.NETWORK,
      sniffTimeoutMs: variables.AMBIT_SNIFF_TIMEOUT,
      bodyTimeoutMs: variables.AMBIT_BODY_TIMEOUT,
      maxTunnelsPerIdentity: share(variables.AMBIT_MAX_TUNNELS_PER_CLIENT),
      http10: variables.PILOT_HTTP10,
      overload: {
        maxRequests: share(variables.AMBIT_MAX_REQUESTS),
        maxTunnels: share(variables.AMBIT_MAX_TUNNELS),
        eventLoopDelayMs: variables.AMBIT_SHED_EVENT_LOOP_DELAY,
        memoryShare: variables.AMBIT_SHED_MEMORY / 100,
        priorityPaths: variables.AMBIT_PRIORITY_PATHS.split(',').filter((path) => path !== ''),
      },
      hbonePort: variables.AMBIT_ENDPOINT_PORT,
      jwksOrigins: settings.jwksOrigins,
      reusePort: variables.AMBIT_PORT_REUSE,
      clientAddressHeaders: settings.clientAddressHeaders,
      extensionsDirectory: variables.AMBIT_EXTENSIONS ?? extensionsBeside(settings.mesh.directory),
      egressAddresses: settings.egressAddresses,
    },
    identity,
    trustDomainAliases: trustDomainsOf(variables.AMBIT_TRUST_DOMAIN_ALIASES),
    mesh,
    model: () => sharedModel(source.compilation?.l7 ?? emptyL7Model, settings.workers),
    own: () => ownGateway(source.gateway),
    self: ownWorkload(mesh, variables, identity),
    isOwn: ownListeners(listenPorts(settings), clock),
    relay,
    secrets,
    traffic,
    accessLog,
    metrics,
    clock,
    random,
    sessionKeys: settings.sessionKeys,
    logger,
    outputs: {
      lines: seen.files,
      tracing,
      spanService: variables.OTEL_SERVICE_NAME,
      environment: (variable) => process.env[variable],
      resource: {
        version,
        attributes: [
          ['service.name', variables.OTEL_SERVICE_NAME ?? own.serviceAccount],
          ['service.namespace', own.namespace],
        ],
      },
    },
  });
  let toldOfSessions = settings.sessionKeys !== undefined;
  const tellOfSessions = () => {
    if (toldOfSessions || !usesSessions(source.compilation?.l7 ?? emptyL7Model)) return;
    toldOfSessions = true;
    logger.warn('sessions end with this process and are not shared with others: AMBIT_SESSION_KEY_FILE names no key');
  };
  tellOfSessions();
  source.onModel(() => {
    tellOfSessions();
    waypoint.modelChanged();
  });
  let address: string | undefined;
  let quit = () => {};
  let draining = false;
  const readiness: ReadinessSource = {
    pending: () => [
      ...(mesh.complete ? [] : ['configuration']),
      ...(source.gateway === undefined ? [`Gateway ${gateway}`] : []),
      ...(secrets.current(identity) === undefined ? ['certificate'] : []),
      ...secrets.alarms(),
      ...(revocation?.pending() ?? []),
      ...waypoint.services.extensions.pending().map((name) => `extension ${name}`),
      ...(address === undefined ? ['listeners'] : []),
      ...(draining ? ['draining'] : []),
    ],
  };
  const views = waypointViews({
    services: waypoint.services,
    secrets,
    listenAddress: () => address ?? '-',
    compilation: () => source.compilation,
  });
  const stopAccepting = () => {
    draining = true;
    logger.info('no longer accepting; open tunnels go on', { reason: 'asked on the admin port' });
    waypoint.drain().catch((error: unknown) => logger.error('draining failed', { error: errorText(error) }));
  };
  const admin = await startAdmin(
    {
      readiness,
      metrics: {
        render: (openMetrics) => {
          waypoint.flush();
          return metrics.render(openMetrics);
        },
      },
      levels,
      views,
      quit: () => quit(),
      drain: stopAccepting,
    },
    adminAddresses(settings),
    logger,
  );
  const lifecycle = startLifecycle({
    clock,
    logger,
    drainDeadlineMs: variables.CONNECTION_TERMINATION_DEADLINE,
    drain: async () => {
      await drain(waypoint, relay, secrets, source, admin);
      if (link !== undefined) await link.lastMetrics(await wholeText(metrics.render(false).body));
      await tracing?.close();
    },
    flush: () => seen.flush(),
  });
  quit = () => lifecycle.quit('quitquitquit');
  link?.start({
    tunnels: () => waypoint.tunnels(),
    pending: () => readiness.pending(),
    quit: (reason) => lifecycle.quit(reason),
    drain: stopAccepting,
    levels: (directives, reset) => (directives === undefined ? levels.reset() : levels.set(directives, reset)),
  });
  // Without a certificate nobody could be answered: the port opens when there is one.
  await secrets.acquire(identity);
  keepMemorySmall(clock);
  startSeriesExpiry({
    holders: traffic.holders,
    mesh,
    metrics,
    clock,
    logger,
    afterMs: variables.AMBIT_METRICS_EXPIRY,
  });
  for (const port of settings.ports) {
    const listener = await waypoint.listen(variables.AMBIT_LISTEN_IP ?? wildcard(settings.preset.ipv6), port);
    address ??= formatSocketAddress(listener.address);
    const { worker } = settings;
    logger.info('accepting tunnels', { address: formatSocketAddress(listener.address), gateway, identity, worker });
  }
  link?.ready(views);
}

const sharedModels = new WeakMap<L7Model, L7Model>();

/** What one of several processes goes by: its part of what all of them may do. */
function sharedModel(model: L7Model, processes: number): L7Model {
  const { protections } = model;
  if (processes === 1 || protections === undefined) return model;
  return sharedModels.getOrInsertComputed(model, () => ({
    ...model,
    protections: shareProtections(protections, processes),
  }));
}

async function wholeText(pieces: AsyncIterable<string>): Promise<string> {
  let text = '';
  for await (const piece of pieces) text += piece;
  return text;
}

async function drain(
  waypoint: { drain(): Promise<void>; close(): Promise<void> },
  relay: { close(): Promise<void> },
  secrets: { close(): void },
  source: WaypointMesh,
  admin: RunningAdmin,
): Promise<void> {
  await waypoint.drain();
  await waypoint.close();
  await relay.close();
  secrets.close();
  await source.close();
  await admin.close();
}

function extensionsBeside(directory: string | undefined): string | undefined {
  return directory === undefined ? undefined : path.join(directory, 'extensions');
}

/** The account is what was said, else what the Gateway's pods run as, else what Istio would name it. */
function identityOf(settings: WaypointProgramSettings, record: GatewayRecord | undefined): Identity {
  const [namespace = '', name = ''] = settings.gateway.split('/');
  const serviceAccount = settings.serviceAccount ?? record?.serviceAccount ?? name;
  return { trustDomain: settings.variables.TRUST_DOMAIN, namespace, serviceAccount };
}

const ownGateways = new WeakMap<GatewayRecord, OwnGateway>();

/** The same object for the same record: what is looked up by it is kept as long. */
function ownGateway(record: GatewayRecord | undefined): OwnGateway | undefined {
  if (record === undefined) return undefined;
  return ownGateways.getOrInsertComputed(record, ({ key, namespace, address, service, tellsIdentity }) => ({
    key,
    namespace,
    address,
    service,
    tellsIdentity,
  }));
}
