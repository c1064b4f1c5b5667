/**
 * A whole mesh in a lab, from one folder of YAML: control plane, a ztunnel per node, a waypoint per Gateway, each the real
 * program in its own process and namespace. The demo, the namespace tests and the bench run on it.
 *
 * I1: what `start` returns is ready: every proxy said so itself. What it could not make ready is an error that holds the
 *     program's last lines.
 */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Clock, systemClock } from '../base/clock.ts';
import { AmbitError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { ownFile } from '../base/own-files.ts';
import { defaultCompileOptions } from '../compile/options.ts';
import type { Preset } from '../config/preset.ts';
import { openTokens } from '../control/serve.ts';
import type { JoinName } from '../identity/join-name.ts';
import { createLab, type Lab, type LabOptions } from '../lab/lab.ts';
import type { LabProcess } from '../lab/process.ts';
import { ztunnelName } from '../lab/topology.ts';
import { FolderFiles } from '../xds/folder-files.ts';
import { compileFolder } from '../xds/folder-model.ts';
import { type AccessEntry, AccessRecord, OutputRecord } from './lab-access.ts';
import { askSocket } from './lab-admin.ts';
import { type LabPlan, labPlanOf, type WaypointPlace } from './lab-topology.ts';
import { programCommand } from './program-command.ts';

export interface LabMeshOptions {
  readonly preset: Preset;
  /** Copied; change the copy (`mesh.folder`) to change the running mesh. */
  readonly folder: string;
  /** Folder of the programs; those that belong to this file unless told. Compiled ones hold no type stripper: 15 MiB each. */
  readonly programs?: string;
  readonly redirection?: Partial<NonNullable<LabOptions['redirection']>>;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** Environment of proxies by program name (`ztunnel-node-a`, a waypoint's pod), or `*` for all. */
  readonly environment?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Proxies by program name that are not started: somebody else's stand in their places, or nobody. */
  readonly withoutProxies?: ReadonlySet<string>;
  /** Programs whose standard output goes to /dev/null rather than through this process. */
  readonly unheard?: ReadonlySet<string>;
  readonly onLine?: (name: string, line: string) => void;
  readonly onUnexpectedExit?: (process: LabProcess) => void;
  /** What is being done now, for people who wait. */
  readonly onProgress?: (text: string) => void;
}

const controlPort = 15012;
const readyDeadlineMs = 30_000;
const readyPollMs = 50;

/** Builds the lab and starts every program. Throws an AmbitError when something cannot be; the lab is closed then. */
export async function startLabMesh(options: LabMeshOptions): Promise<LabMesh> {
  const progress = options.onProgress ?? (() => {});
  const plan = await readPlan(options);
  const access = new AccessRecord();
  const output = new OutputRecord();
  progress(`building ${plan.topology.nodes.length} nodes and ${plan.topology.pods.length} pods`);
  const mode = options.preset.capture === 'node' ? 'node' : 'inpod';
  const lab = await createLab({
    topology: plan.topology,
    redirection: { mode, ...options.redirection },
    logger: options.logger,
    onLine: (name, line) => {
      access.take(name, line);
      output.take(name, line);
      options.onLine?.(name, line);
    },
    ...(options.clock === undefined ? {} : { clock: options.clock }),
    ...(options.onUnexpectedExit === undefined ? {} : { onUnexpectedExit: options.onUnexpectedExit }),
  });
  const mesh = new LabMesh(lab, plan, { access, output }, options);
  try {
    progress('starting the control plane');
    await mesh.startControl();
    progress('starting ztunnels and waypoints');
    const started = (name: string) => options.withoutProxies?.has(name) !== true;
    await Promise.all([
      ...plan.topology.nodes.filter((node) => started(ztunnelName(node))).map((node) => mesh.startZtunnel(node.name)),
      ...plan.waypoints.filter(({ pod }) => started(pod)).map((place) => mesh.startWaypoint(place)),
    ]);
    return mesh;
  } catch (error) {
    await lab.close();
    throw error;
  }
}

export class LabMesh {
  readonly lab: Lab;
  readonly plan: LabPlan;
  readonly access: AccessRecord;
  /** What the pods' sample programs and the proxies printed. */
  readonly output: OutputRecord;
  /** The running mesh's configuration. */
  readonly folder: string;
  readonly #options: LabMeshOptions;
  readonly #clock: Clock;
  readonly #programs = new Map<string, LabProcess>();

  /** Use `startLabMesh`. */
  constructor(
    lab: Lab,
    plan: LabPlan,
    records: { readonly access: AccessRecord; readonly output: OutputRecord },
    options: LabMeshOptions,
  ) {
    this.lab = lab;
    this.plan = plan;
    this.access = records.access;
    this.output = records.output;
    this.folder = path.join(lab.directory, 'config');
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    cpSync(options.folder, this.folder, { recursive: true });
    for (const name of ['state', 'admin']) mkdirSync(path.join(lab.directory, name), { mode: 0o700 });
  }

  get preset(): Preset {
    return this.#options.preset;
  }

  /** Names of running proxies: `ztunnel-NODE` and waypoints' pods. */
  get proxies(): readonly string[] {
    return [...this.#programs.keys()].filter((name) => name !== this.plan.control.pod);
  }

  program(name: string): LabProcess {
    const program = this.#programs.get(name);
    if (program !== undefined) return program;
    throw new AmbitError(`no program ${name} in this mesh: ${[...this.#programs.keys()].join(', ')}`, {
      code: 'LAB_NO_SUCH_PROGRAM',
      origin: 'local',
    });
  }

  get trustRootFile(): string {
    return path.join(this.#controlState, 'ca/root-cert.pem');
  }

  async startControl(): Promise<void> {
    const { pod, ip } = this.plan.control;
    const argv = ['control', '--config', this.folder, '--host', ip, '--state', path.dirname(this.#controlState)];
    const program = this.#spawn(pod, pod, 'ambit', argv, { LOG_FORMAT: 'json' });
    await program.waitForLine((line) => line.startsWith('certificates on '));
  }

  /** `more`: environment of this start only. */
  async startZtunnel(node: string, more: Readonly<Record<string, string>> = {}): Promise<void> {
    const name = ztunnelName({ name: node });
    const { preset } = this.#options;
    const environment = { ...(await this.#proxyEnvironment(name, { kind: 'node', node })), ...more };
    const inpod = preset.capture === 'inpod' ? { INPOD_UDS: this.lab.agents.of(node).path } : {};
    const argv = ['--config', this.folder, '--preset', preset.name, '--node', node];
    const program = this.#spawn(name, name, 'ztunnel', argv, { ...environment, NODE_NAME: node, ...inpod });
    await this.untilReady(program);
  }

  async startWaypoint({ gateway, pod, serviceAccount }: WaypointPlace): Promise<void> {
    const { preset } = this.#options;
    const { namespace } = this.lab.pod(pod);
    const environment = await this.#proxyEnvironment(pod, { kind: 'waypoint', namespace, serviceAccount });
    const argv = ['--config', this.folder, '--preset', preset.name, '--gateway', gateway.key];
    const program = this.#spawn(pod, pod, 'waypoint', [...argv, '--service-account', serviceAccount], environment);
    await this.untilReady(program);
  }

  /** Ends a program, by SIGKILL when asked: as a crash, no drain. */
  async stop(name: string, how: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const program = this.program(name);
    if (how === 'SIGKILL') program.signal('SIGKILL');
    await program.stop();
    this.#programs.delete(name);
  }

  /** What the admin port of a proxy answers. */
  ask(name: string, target: string, method: 'GET' | 'POST' = 'GET'): Promise<{ status: number; body: string }> {
    return askSocket(this.adminSocket(name), target, method);
  }

  adminSocket(name: string): string {
    return path.join(this.lab.directory, 'admin', `${name}.sock`);
  }

  /** The next access line of a program that matches, from now on or since `since` (see `AccessRecord.mark`). */
  waitForAccess(name: string, matches: (entry: AccessEntry) => boolean, since?: number): Promise<AccessEntry> {
    return this.access.waitFor(name, matches, this.#clock, since);
  }

  /** Polls the program's own readiness at its admin socket. Throws `LAB_NOT_READY` at its end or the deadline, with what it last said. */
  async untilReady(program: LabProcess, target = '/healthz/ready'): Promise<void> {
    const deadline = this.#clock.nowMs() + readyDeadlineMs;
    let last = 'no answer yet';
    while (program.running && this.#clock.nowMs() < deadline) {
      try {
        const { status, body } = await this.ask(program.name, target);
        if (status === 200) return;
        last = body.trim();
      } catch (error) {
        // The socket is not there yet; the last words of the program tell why, should it stay so.
        last = error instanceof Error ? error.message : String(error);
      }
      await new Promise<void>((resolve) => {
        const keepAlive = setInterval(() => {}, 1000);
        this.#clock.after(readyPollMs, () => {
          clearInterval(keepAlive);
          resolve();
        });
      });
    }
    const said = program.lines.slice(-12).join('\n');
    throw new AmbitError(`${program.name} did not become ready (${last})\n${said}`, {
      code: 'LAB_NOT_READY',
      origin: 'local',
    });
  }

  async close(): Promise<void> {
    await this.lab.close();
  }

  #spawn(place: string, name: string, script: string, argv: readonly string[], environment: Record<string, string>) {
    const given = { ...this.#options.environment?.['*'], ...this.#options.environment?.[name] };
    const command = [...programCommand(this.#scriptOf(script)), ...argv] as const;
    const unheard = this.#options.unheard?.has(name) === true;
    const program = this.lab.spawn(place, {
      name,
      argv: unheard ? ['sh', '-c', 'exec "$@" >/dev/null', 'sh', ...command] : command,
      env: { ...environment, ...given },
    });
    this.#programs.set(name, program);
    return program;
  }

  #scriptOf(name: string): string {
    const { programs } = this.#options;
    return programs === undefined ? ownFile(`bin/${name}`) : path.join(programs, `${name}.js`);
  }

  async #proxyEnvironment(name: string, join: JoinName): Promise<Record<string, string>> {
    const tokens = await openTokens(this.#controlState, this.#clock);
    const { token } = await tokens.create(join, 600_000);
    const state = this.#state(name);
    const tokenFile = path.join(state, 'join-token');
    writeFileSync(tokenFile, token, { mode: 0o600 });
    return {
      CA_ADDRESS: `https://${this.plan.control.ip}:${controlPort}`,
      CA_ROOT_CA: this.trustRootFile,
      AMBIT_JOIN_TOKEN: tokenFile,
      AMBIT_STATE_DIR: state,
      AMBIT_ADMIN_SOCKET: this.adminSocket(name),
      LOG_FORMAT: 'json',
    };
  }

  /** `ambit control` keeps its own in a folder `control` of the state folder. */
  get #controlState(): string {
    return path.join(this.lab.directory, 'state/control');
  }

  #state(name: string): string {
    const folder = path.join(this.lab.directory, 'state', name);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return folder;
  }
}

async function readPlan({ folder, preset }: LabMeshOptions): Promise<LabPlan> {
  const scan = await new FolderFiles(folder, systemClock).scan();
  return labPlanOf(compileFolder(scan, { ...defaultCompileOptions, preset }));
}
