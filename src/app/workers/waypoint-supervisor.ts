/**
 * The waypoint as several processes: this one accepts connections and hands each to the worker with the fewest; it answers on the
 * admin, metrics and readiness ports for all of them. It parses nothing, and holds no key.
 *
 * I1: a connection waits in the kernel's queue while no worker can take it; it is not thrown away. I2: what all workers have
 * counted never falls, whoever of them ends.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import type { View } from '../../admin/interfaces.ts';
import { startAdmin } from '../../admin/server.ts';
import { canonicalIp, formatSocketAddress } from '../../base/address.ts';
import { systemClock } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import { ownFile } from '../../base/own-files.ts';
import { systemRandom } from '../../base/random.ts';
import { slicedText } from '../../base/sliced-text.ts';
import { Acceptor } from '../../net/acceptor.ts';
import { boundDescriptor, startListening } from '../../net/listener.ts';
import { nativeSockets } from '../../net/native-sockets.ts';
import { openMetricsContentType, textContentType } from '../../telemetry/exposition.ts';
import { MergedExposition } from '../../telemetry/merge-exposition.ts';
import { startLifecycle } from '../lifecycle.ts';
import type { Observability } from '../observability.ts';
import { adminAddresses } from '../waypoint-admin.ts';
import type { WaypointProgramSettings } from '../waypoint-settings.ts';
import { wildcard } from '../wildcard.ts';
import { chooseWorker } from './choose-worker.ts';
import { Supervisor } from './supervisor.ts';
import { WorkerProcess } from './worker-process.ts';
import { askWorker, workerSockets } from './worker-requests.ts';

/** How soon it is looked again for a worker that can take a connection. */
const busyMs = 10;
/** Beyond the workers' own deadline for a drain, which they have told to end by. */
const cutAfterMs = 2_000;

/** The value is the exit code of a failed start; undefined: it runs until a signal ends it. */
export async function superviseWaypoint(
  settings: WaypointProgramSettings,
  seen: Observability,
  argv: readonly string[],
): Promise<number | undefined> {
  const running = new WaypointSupervisor(settings, seen, argv);
  return await running.start();
}

class WaypointSupervisor {
  readonly #settings: WaypointProgramSettings;
  readonly #seen: Observability;
  readonly #folder: string;
  readonly #ports: readonly number[];
  readonly #listeners: readonly number[];
  readonly #supervisor: Supervisor<WorkerProcess>;
  readonly #merged = new MergedExposition();
  /** What each live worker told last. */
  readonly #texts = new Map<WorkerProcess, string>();
  readonly #views: View[] = [];
  #acceptors: readonly Acceptor[] = [];
  #served = false;
  #draining = false;
  #failed: ((code: number) => void) | undefined;
  #started: (() => void) | undefined;

  constructor(settings: WaypointProgramSettings, seen: Observability, argv: readonly string[]) {
    this.#settings = settings;
    this.#seen = seen;
    this.#folder = mkdtempSync(path.join(tmpdir(), 'ambit-waypoint-'));
    const ip = settings.variables.AMBIT_LISTEN_IP ?? wildcard(settings.preset.ipv6);
    const { AMBIT_PORT_REUSE: reusePort } = settings.variables;
    const plain = { transparent: false, mark: undefined, namespace: undefined, redirected: false };
    // Bound at once, so that a port that is taken is told now; nobody can connect before a worker is ready.
    this.#listeners = settings.ports.map((port) => boundDescriptor({ ip, port, reusePort, ...plain }));
    this.#ports = this.#listeners.map((fd) => nativeSockets().localAddress(fd).port);
    this.#supervisor = new Supervisor({
      count: settings.workers,
      clock: systemClock,
      random: systemRandom,
      logger: seen.logger,
      start: (number) => this.#startWorker(number, argv),
      onEnd: (worker, asked) => this.#ended(worker, asked),
    });
  }

  async start(): Promise<number | undefined> {
    const { logger, levels } = this.#seen;
    const { variables, workers } = this.#settings;
    const admin = await startAdmin(
      {
        readiness: { pending: () => this.#pending() },
        metrics: { render: (openMetrics) => this.#metrics(openMetrics) },
        levels: {
          set: (directives, reset) => {
            levels.set(directives, reset);
            for (const worker of this.#supervisor.workers) worker.tell({ kind: 'levels', directives, reset });
          },
          current: () => levels.current(),
          reset: () => {
            levels.reset();
            for (const worker of this.#supervisor.workers)
              worker.tell({ kind: 'levels', directives: undefined, reset: true });
          },
        },
        views: this.#views,
        quit: () => lifecycle.quit('quitquitquit'),
        drain: () => this.#drain(),
        renew: () => this.#supervisor.renew(),
      },
      adminAddresses(this.#settings),
      logger,
    );
    const lifecycle = startLifecycle({
      clock: systemClock,
      logger,
      drainDeadlineMs: variables.CONNECTION_TERMINATION_DEADLINE + cutAfterMs,
      drain: async () => {
        await Promise.all(this.#acceptors.map((acceptor) => acceptor.close()));
        await this.#supervisor.stop();
        await admin.close();
      },
      cut: () => this.#supervisor.kill(),
      flush: () => this.#clean(),
    });
    process.on('SIGHUP', () => this.#supervisor.renew());
    logger.info('starting workers', { workers });
    const outcome = new Promise<number | undefined>((resolve) => {
      this.#failed = resolve;
      this.#started = () => resolve(undefined);
    });
    // One first: what is wrong with the settings is told once, and a CA's folder made by one.
    this.#supervisor.start(1);
    const code = await outcome;
    if (code !== undefined) this.#clean();
    return code;
  }

  /** A session that one worker began is known to all of them. */
  #sessionKeyFile(): string {
    const { AMBIT_SESSION_KEY_FILE: given } = this.#settings.variables;
    if (given !== undefined) return given;
    const file = path.join(this.#folder, 'session-key');
    if (!existsSync(file)) writeFileSync(file, randomBytes(48).toString('base64url'), { mode: 0o600 });
    return file;
  }

  /** Last of all. */
  #clean(): void {
    rmSync(this.#folder, { recursive: true, force: true });
    this.#seen.flush();
  }

  #startWorker(number: number, argv: readonly string[]): WorkerProcess {
    return new WorkerProcess({
      number,
      command: [process.execPath, ...process.execArgv, ownFile('bin/waypoint'), ...argv],
      environment: {
        ...process.env,
        AMBIT_WORKERS: String(this.#settings.workers),
        AMBIT_WORKER: String(number),
        AMBIT_WAYPOINT_PORTS: this.#ports.join(','),
        AMBIT_ADMIN_SOCKET: workerSockets(this.#folder, number).admin,
        AMBIT_SESSION_KEY_FILE: this.#sessionKeyFile(),
      },
      onReady: (worker) => this.#ready(worker),
      onViews: (views) => this.#learnViews(views),
      onEnd: (worker, how) => this.#supervisor.ended(worker, how),
    });
  }

  #ready(worker: WorkerProcess): void {
    this.#supervisor.ready(worker);
    if (this.#served) return;
    this.#served = true;
    this.#supervisor.start(this.#settings.workers);
    this.#accept();
    this.#started?.();
  }

  #accept(): void {
    const { logger } = this.#seen;
    const ip = this.#settings.variables.AMBIT_LISTEN_IP ?? wildcard(this.#settings.preset.ipv6);
    this.#acceptors = this.#listeners.map((fd, listener) => {
      const waiting: number[] = [];
      const offer = () => {
        for (let next = waiting[0]; next !== undefined && this.#handOver(next, listener); next = waiting[0]) {
          waiting.shift();
        }
        if (waiting.length > 0) systemClock.after(busyMs, offer);
      };
      const acceptor = new Acceptor(startListening(fd), {
        clock: systemClock,
        gate: { waitMs: () => (waiting.length > 0 ? busyMs : 0) },
        onDescriptor: (connection) => {
          if (waiting.push(connection) === 1) offer();
        },
        onAcceptError: (error) => logger.warn('accepting a connection failed', { error: errorText(error) }),
      });
      const address = formatSocketAddress({ ip: canonicalIp(ip) ?? ip, port: this.#ports[listener] ?? 0 });
      logger.info('accepting tunnels', { address, gateway: this.#settings.gateway, workers: this.#settings.workers });
      return acceptor;
    });
  }

  /** False: nobody can take it now. */
  #handOver(connection: number, listener: number): boolean {
    const full = new Set<WorkerProcess>();
    for (;;) {
      const worker = chooseWorker(this.#supervisor.workers, full);
      if (worker === undefined) return false;
      if (worker.handOver(connection, listener) === 'sent') return true;
      full.add(worker);
    }
  }

  #ended(worker: WorkerProcess, asked: boolean): void {
    const reason = asked ? 'asked' : 'broke';
    this.#seen.metrics.counter('ambit_worker_ends_total', 'Workers that have ended.', { reason }).value++;
    const last = worker.lastMetrics ?? this.#texts.get(worker);
    this.#texts.delete(worker);
    if (last !== undefined) this.#merged.absorb(last);
    const { admin, metrics } = workerSockets(this.#folder, worker.number);
    for (const file of [admin, metrics]) rmSync(file, { force: true });
    if (this.#served || asked) return;
    this.#seen.logger.error('the first worker did not get as far as to serve', { worker: worker.number });
    this.#failed?.(1);
  }

  #pending(): readonly string[] {
    if (this.#draining) return ['draining'];
    if (this.#supervisor.workers.some(({ taking }) => taking)) return [];
    const [first] = this.#supervisor.workers;
    return first === undefined ? ['workers'] : ['workers', ...first.pending];
  }

  #drain(): void {
    this.#draining = true;
    for (const acceptor of this.#acceptors) void acceptor.close();
    for (const worker of this.#supervisor.workers) worker.tell({ kind: 'drain' });
  }

  #learnViews(views: readonly Pick<View, 'name' | 'contentType'>[]): void {
    for (const { name, contentType } of views) {
      if (this.#views.some((view) => view.name === name)) continue;
      this.#views.push({ name, contentType, render: (query) => this.#view(name, query) });
    }
  }

  /** Of the worker that `worker` names, else of one that serves: all have the same configuration. */
  async *#view(name: string, query: URLSearchParams): AsyncGenerator<string> {
    const { workers } = this.#supervisor;
    const named = query.get('worker');
    const worker =
      named === null ? workers.find(({ taking }) => taking) : workers.find(({ number }) => String(number) === named);
    if (worker === undefined) {
      yield `no such worker serves; there are: ${workers.map(({ number }) => number).join(', ')}\n`;
      return;
    }
    const asked = new URLSearchParams(query);
    asked.delete('worker');
    asked.set('view', name);
    const { admin } = workerSockets(this.#folder, worker.number);
    yield await askWorker(admin, `/config_dump?${asked.toString()}`);
  }

  #metrics(openMetrics: boolean): { readonly contentType: string; readonly body: AsyncIterable<string> } {
    return {
      contentType: openMetrics ? openMetricsContentType : textContentType,
      body: this.#metricsText(openMetrics),
    };
  }

  async *#metricsText(openMetrics: boolean): AsyncGenerator<string> {
    const { metrics, logger } = this.#seen;
    const workers = [...this.#supervisor.workers];
    const gauge = (name: string, help: string, worker: WorkerProcess) =>
      metrics.gauge(name, help, { number: String(worker.number) });
    await Promise.all(
      workers.map(async (worker) => {
        gauge('ambit_worker_connections', 'Connections that each worker has.', worker).value = worker.connections;
        try {
          const text = await askWorker(workerSockets(this.#folder, worker.number).metrics, '/metrics');
          if (this.#supervisor.workers.includes(worker)) this.#texts.set(worker, text);
        } catch (error) {
          // Its last text stands for it: a sum must not fall.
          logger.debug('a worker tells no metrics', { worker: worker.number, error: errorText(error) });
        }
      }),
    );
    let own = '';
    for await (const piece of metrics.render(false).body) own += piece;
    for (const worker of workers) metrics.remove('ambit_worker_connections', { number: String(worker.number) });
    const texts = new Map([['supervisor', own]]);
    for (const [worker, text] of this.#texts) texts.set(String(worker.number), text);
    yield* slicedText(this.#merged.merge(texts, openMetrics), { clock: systemClock });
  }
}
