/**
 * `ztunnel`: puts the program together and runs it. Order (ztunnel.md §1.4): settings, logs, admin port, mesh, secrets,
 * and only once the mesh is complete the listeners, so that nothing is decided on half a picture.
 */
import process from 'node:process';
import type { AdminDependencies } from '../admin/interfaces.ts';
import { startAdmin } from '../admin/server.ts';
import { systemClock } from '../base/clock.ts';
import { type AmbitError, errorText } from '../base/errors.ts';
import { holdYoungGeneration } from '../base/garbage.ts';
import type { Logger } from '../base/logger.ts';
import { version } from '../base/own-files.ts';
import { systemRandom } from '../base/random.ts';
import { inSlices } from '../base/slices.ts';
import type { Environment } from '../config/environment.ts';
import { createRelay } from '../hbone/relay.ts';
import type { Workload } from '../mesh/model.ts';
import { MeshStore } from '../mesh/store.ts';
import type { MeshView } from '../mesh/view.ts';
import { descriptorLimits } from '../net/descriptors.ts';
import { NameResolver } from '../net/name-resolver.ts';
import { adminViews } from '../ztunnel/admin-views.ts';
import { drainReason } from '../ztunnel/connection-registry.ts';
import { LocalIdentities } from '../ztunnel/local-identities.ts';
import { onDemandDns } from '../ztunnel/on-demand-dns.ts';
import { createZtunnel } from '../ztunnel/services.ts';
import { printAdminView } from './admin-view.ts';
import { http2Engine } from './http2-engine.ts';
import { InitialCertificates } from './initial-certificates.ts';
import { startLifecycle } from './lifecycle.ts';
import { keepMemorySmall } from './memory.ts';
import { createObservability, type Observability } from './observability.ts';
import { openRevocation } from './revocation.ts';
import { startSeriesExpiry } from './series-expiry.ts';
import { startTracing } from './tracing.ts';
import { bearsName } from './workload-place.ts';
import { readZtunnelCommand, ztunnelHelp } from './ztunnel-command.ts';
import { createDns } from './ztunnel-dns.ts';
import { openSecrets } from './ztunnel-identity.ts';
import { openMeshSource } from './ztunnel-mesh.ts';
import { adminAddresses, relayOptions, ztunnelSettings } from './ztunnel-options.ts';
import { createPlaces } from './ztunnel-places.ts';
import { isPrivileged } from './ztunnel-privileges.ts';
import type { ZtunnelProgramSettings } from './ztunnel-settings.ts';

/** `argv` without the program's name. The value is the exit code, or undefined: the program runs on. Never rejects. */
export async function runZtunnel(argv: readonly string[], environment: Environment): Promise<number | undefined> {
  const command = readZtunnelCommand(argv, environment);
  switch (command.kind) {
    case 'help':
      process.stdout.write(ztunnelHelp);
      return 0;
    case 'version':
      process.stdout.write(`${version}\n`);
      return 0;
    case 'problems':
      for (const problem of command.problems) process.stderr.write(`ztunnel: ${problem}\n`);
      return 2;
    case 'view':
      return await printAdminView('ztunnel', command.request);
    case 'run': {
      const { RUST_LOG: levels, LOG_FORMAT: format, ISTIO_META_ISTIO_VERSION: tag } = command.settings.variables;
      const { AMBIT_METRICS_MAX_LABEL_SETS: maxLabelSets } = command.settings.variables;
      const seen = createObservability({ levels, format, program: 'ztunnel', version: tag ?? version, maxLabelSets });
      try {
        await run(command.settings, seen);
        return undefined;
      } catch (error) {
        seen.logger.error('cannot start', { error: errorText(error) });
        seen.flush();
        process.exit(1);
      }
    }
  }
}

async function run(settings: ZtunnelProgramSettings, seen: Observability): Promise<void> {
  const { logger, metrics, traffic, accessLog, levels } = seen;
  const { preset, variables, node } = settings;
  const clock = systemClock;
  const random = systemRandom;
  const privileged = isPrivileged(settings, logger);
  const mesh = new MeshStore();
  const { secrets, credential } = await openSecrets(settings, { clock, random, logger: logger.topic('ca'), metrics });
  const meshSource = openMeshSource(settings, mesh, { clock, random, logger, metrics, credential });
  const revocation = await openRevocation(settings.variables, { clock, logger, metrics });
  const checker = revocation?.checker;
  const http2 = await http2Engine(variables.AMBIT_HTTP2_ENGINE);
  const relay = createRelay({ secrets, logger, clock, revocation: checker, http2, options: relayOptions(settings) });
  const end = (error: AmbitError) => {
    logger.error('cannot go on', { error: error.message });
    seen.flush();
    process.exit(1);
  };
  const places = createPlaces(settings, { mesh, logger, metrics, onFatal: end });
  const tracing = settings.tracing && (await startTracing(settings.tracing, { clock, random, metrics, logger }));
  const ztunnel = createZtunnel({
    preset,
    settings: ztunnelSettings(settings, privileged),
    mesh,
    relay,
    secrets,
    revocation: checker,
    traffic,
    accessLog,
    metrics,
    clock,
    random,
    logger,
    tracing,
    resolve: onDemandDns(new NameResolver({ clock, random, logger: logger.topic('dns') }), metrics),
    placeOf: places.placeOf,
    demand: meshSource.demand,
    dns: createDns(settings, { mesh, clock, random, metrics, logger }),
    descriptors: descriptorLimits(variables.AMBIT_MAX_DESCRIPTORS),
  });
  const lifecycle = startLifecycle({
    clock,
    logger,
    drainDeadlineMs: settings.drainDeadlineMs,
    async drain() {
      await places.close();
      await relay.drained();
      await relay.close();
      await tracing?.close();
    },
    cut: () => ztunnel.services.registry.stopAll(drainReason),
    flush: () => seen.flush(),
  });
  let drained = false;
  const stopAccepting = (reason: string) => {
    if (drained) return;
    drained = true;
    logger.info('no longer accepting; live connections go on', { reason });
    places.close().catch((error: unknown) => logger.error('cannot stop accepting', { error: errorText(error) }));
  };
  // Whoever may signal us must not be able to open a debugger.
  process.on('SIGUSR1', () => logger.warn('SIGUSR1 means nothing here'));

  const isLocal = (workload: Workload) =>
    settings.mode.kind === 'dedicated'
      ? bearsName(workload, settings.mode.workload)
      : node === undefined || workload.node === node;
  const certificates = new InitialCertificates(secrets);
  const pending = () => [
    ...(mesh.complete ? [] : ['state manager']),
    ...places.pending(),
    ...(certificates.settled ? [] : ['certificates']),
    ...secrets.alarms(),
    ...(lifecycle.draining || drained ? ['draining'] : []),
    ...(revocation?.pending() ?? []),
  ];
  const admin: AdminDependencies = {
    readiness: { pending },
    metrics: {
      render(openMetrics) {
        const { contentType, body } = metrics.render(openMetrics);
        return { contentType, body: after(() => inSlices(ztunnel.flushing(), { clock }), body) };
      },
    },
    levels,
    views: adminViews({
      services: ztunnel.services,
      listenIp: places.listenIp,
      locals: () => [...mesh.workloads()].filter((each) => isLocal(each) && each.tunnelProtocol === 'hbone'),
      dump: {
        mesh,
        secrets,
        registry: ztunnel.services.registry,
        budgets: ztunnel.services.budgets,
        pods: () => places.pods(),
        version,
        config: {
          preset: preset.name,
          mode: settings.mode,
          node,
          network: variables.NETWORK,
          settings: ztunnel.services.settings,
        },
      },
    }),
    quit: () => lifecycle.quit('asked on the admin port'),
    drain: () => stopAccepting('asked on the admin port'),
  };
  for (const addresses of adminAddresses(settings)) await startAdmin(admin, addresses, logger);
  keepMemorySmall(clock);
  const releaseYoungGeneration = holdYoungGeneration();
  await meshSource.start();
  await completeMesh(mesh, logger);
  releaseYoungGeneration();
  if (lifecycle.draining || drained) return;
  // One workload asks for its own when it needs it; a node's are to be there before they are needed.
  if (settings.mode.kind !== 'dedicated') new LocalIdentities(mesh, secrets, isLocal);
  certificates.wanted();
  startSeriesExpiry({
    holders: traffic.holders,
    mesh,
    metrics,
    clock,
    logger,
    afterMs: variables.AMBIT_METRICS_EXPIRY,
  });
  await places.start(ztunnel.services);
  if (drained) await places.close();
  logger.info('listening', { preset: preset.name, mode: settings.mode.kind, node });
}

/** A body whose making begins with something else. */
async function* after(first: () => Promise<void>, body: AsyncIterable<string>): AsyncGenerator<string> {
  await first();
  yield* body;
}

/** Until then there is nothing to decide with. */
async function completeMesh(mesh: MeshView, logger: Logger): Promise<void> {
  if (mesh.complete) return;
  logger.warn('the mesh is not known yet: nothing listens until it is');
  await new Promise<void>((resolve) => {
    const stop = mesh.onChange(() => {
      if (!mesh.complete) return;
      stop();
      resolve();
    });
  });
}
