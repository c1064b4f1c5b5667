/**
 * A running lab: a topology built in network namespaces, sample programs in its pods, whatever else is started there,
 * and changes while it runs. Only inside `enterLab`.
 *
 * I1: the topology and the kernel's state agree whenever no method is pending. Changes are made one at a time.
 * I2: `close` stops every program before it lets the namespaces go.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, systemClock } from '../base/clock.ts';
import { AmbitError } from '../base/errors.ts';
import { type Logger, silentLogger } from '../base/logger.ts';
import { ownFile } from '../base/own-files.ts';
import { buildNodes, buildPod, buildZtunnel, installServices, unlinkPod } from './build.ts';
import { requestMany, requestOne } from './client.ts';
import { isInsideLab } from './enter.ts';
import { chooseRedirection, describeMissing, type Feature, hasFeature, missingFor, probeFeatures } from './features.ts';
import { bindHosts, rewriteHosts } from './hosts.ts';
import { createNamespace, type LabNamespace, releaseNamespace } from './namespace.ts';
import { NodeAgents } from './node-agents.ts';
import { makePrivateDirectory } from './private-directory.ts';
import { exitText, LabProcess, type ProcessSpec } from './process.ts';
import { LabRedirection, type RedirectionMode, type RedirectionSettings } from './redirection.ts';
import type { LabAnswer, LabRequest, RequestBatch } from './request.ts';
import {
  assertTopology,
  type LabNode,
  type LabPod,
  type LabService,
  type Topology,
  usesIpv6,
  ztunnelName,
} from './topology.ts';

export interface LabOptions {
  readonly topology: Topology;
  /** Starts the pods' sample programs; true unless told. */
  readonly apps?: boolean;
  /** How captured pods' traffic is led to ztunnel; `none` unless told. What is absent is chosen by what the kernel has. */
  readonly redirection?: { readonly mode: RedirectionMode } & Partial<RedirectionSettings>;
  readonly logger?: Logger;
  readonly clock?: Clock;
  /** Called for every line of output of every program. */
  readonly onLine?: (name: string, line: string) => void;
  /** Called when a program ends that nobody stopped. The lab goes on. */
  readonly onUnexpectedExit?: (process: LabProcess) => void;
}

const appsProgram = ownFile('src/lab/apps/main');

/** Builds a lab. Throws `LAB_TOPOLOGY`, `LAB_FEATURE_MISSING` or `LAB_COMMAND_FAILED`; what was built goes with the process. */
export async function createLab(options: LabOptions): Promise<Lab> {
  if (!isInsideLab()) {
    throw new AmbitError('a lab is only built after enterLab', { code: 'LAB_OUTSIDE', origin: 'local' });
  }
  assertTopology(options.topology);
  const directory = await makePrivateDirectory();
  const lab = new Lab(directory, await findFeatures(directory, options), options);
  await lab.build();
  return lab;
}

async function findFeatures(directory: string, options: LabOptions): Promise<readonly Feature[]> {
  const scratch = await createNamespace(directory, 'probe');
  const features = await probeFeatures(scratch, usesIpv6(options.topology));
  await releaseNamespace(scratch);
  for (const line of describeMissing(features)) options.logger?.info(line);
  const fatal = missingFor(features, options.redirection?.mode ?? 'none');
  if (fatal.length === 0) return features;
  throw new AmbitError(describeMissing(fatal).join('\n'), { code: 'LAB_FEATURE_MISSING', origin: 'local' });
}

export class Lab {
  /** Seen by this mount namespace only; gone with it. */
  readonly directory: string;
  readonly features: readonly Feature[];
  readonly redirection: LabRedirection;
  /** The node agents that hand captured pods to ztunnels, in mode `inpod`; elsewhere nobody need connect to them. */
  readonly agents: NodeAgents;
  #topology: Topology;
  readonly #options: LabOptions;
  readonly #clock: Clock;
  readonly #namespaces = new Map<string, LabNamespace>();
  readonly #processes = new Set<LabProcess>();
  #unbindHosts: () => Promise<void> = async () => {};
  #lastChange: Promise<unknown> = Promise.resolve();

  /** Use `createLab`. */
  constructor(directory: string, features: readonly Feature[], options: LabOptions) {
    this.directory = directory;
    this.features = features;
    this.#options = options;
    this.#topology = options.topology;
    this.#clock = options.clock ?? systemClock;
    const logger = options.logger ?? silentLogger;
    this.redirection = new LabRedirection(chooseRedirection(features, options.redirection), {
      directory,
      logger,
      namespace: (name) => this.namespace(name),
    });
    this.agents = new NodeAgents({ directory, logger, clock: this.#clock });
  }

  get topology(): Topology {
    return this.#topology;
  }

  /** Where programs' output is written, `NAME.log` each. */
  get logDirectory(): string {
    return join(this.directory, 'logs');
  }

  /** The namespace of a node, a ztunnel (`ztunnel-NODE`) or a pod. Throws `LAB_NO_SUCH_PLACE`. */
  namespace(name: string): LabNamespace {
    const namespace = this.#namespaces.get(name);
    if (namespace !== undefined) return namespace;
    throw new AmbitError(`no node or pod ${name} in this lab`, { code: 'LAB_NO_SUCH_PLACE', origin: 'local' });
  }

  pod(name: string): LabPod {
    return find(this.#topology.pods, name);
  }

  node(name: string): LabNode {
    return find(this.#topology.nodes, name);
  }

  has(feature: Feature['name']): boolean {
    return hasFeature(this.features, feature);
  }

  async build(): Promise<void> {
    const { nodes, pods, services } = this.#topology;
    mkdirSync(this.logDirectory);
    mkdirSync(this.#netDirectory);
    for (const namespace of await buildNodes(this.#netDirectory, nodes))
      this.#namespaces.set(namespace.name, namespace);
    await Promise.all(
      nodes.map(async (node) => {
        this.#namespaces.set(
          ztunnelName(node),
          await buildZtunnel(this.#netDirectory, node, this.namespace(node.name)),
        );
      }),
    );
    await this.#installServices();
    await Promise.all(nodes.map((node) => this.redirection.addNode(node)));
    await Promise.all(pods.map((pod) => this.#buildPod(pod)));
    this.#unbindHosts = await bindHosts(this.directory, services);
    if (this.#options.apps !== false) await Promise.all(pods.map((pod) => this.#startApp(pod)));
  }

  /** Starts a program in the namespace of a node, ztunnel or pod. The lab stops it when it closes. */
  spawn(place: string, spec: ProcessSpec): LabProcess {
    const process = new LabProcess(this.namespace(place), spec, {
      clock: this.#clock,
      directory: this.logDirectory,
      onLine: (name, line) => this.#options.onLine?.(name, line),
      onUnexpectedExit: (ended, exit) => {
        this.#options.logger?.warn('a program of the lab ended', { program: ended.name, exit: exitText(exit) });
        this.#options.onUnexpectedExit?.(ended);
      },
    });
    this.#processes.add(process);
    void process.exited.then(() => this.#processes.delete(process));
    return process;
  }

  /** One request from inside a pod. */
  request(place: string, request: LabRequest): Promise<LabAnswer> {
    return requestOne(this.namespace(place), request);
  }

  /** Several requests of one client program in a pod; answers in the requests' order. */
  requestMany(place: string, batch: RequestBatch): Promise<readonly LabAnswer[]> {
    return requestMany(this.namespace(place), batch);
  }

  /** Adds a pod and starts its sample program. It serves once a service names it: `setService`. */
  addPod(pod: LabPod): Promise<void> {
    return this.#inTurn(() => this.#addPod(pod));
  }

  /** Stops what runs in a pod and takes it, and its place in services, away. Its programs end before ztunnel lets go of it. */
  removePod(name: string): Promise<void> {
    return this.#inTurn(() => this.#removePod(name));
  }

  /** Adds a service or replaces the one of the same name and namespace. */
  setService(service: LabService): Promise<void> {
    return this.#inTurn(() => this.#setService(service));
  }

  /** Stops all programs, newest first, and lets the namespaces go. Not needed when the process ends anyway. */
  close(): Promise<void> {
    return this.#inTurn(() => this.#close());
  }

  async #addPod(pod: LabPod): Promise<void> {
    const next = { ...this.#topology, pods: [...this.#topology.pods, pod] };
    assertTopology(next);
    await this.#buildPod(pod);
    this.#topology = next;
    await this.#installServices();
    if (this.#options.apps !== false) await this.#startApp(pod);
  }

  async #removePod(name: string): Promise<void> {
    const pod = this.pod(name);
    const namespace = this.namespace(name);
    const { nodes, pods, services } = this.#topology;
    this.#topology = {
      nodes,
      pods: pods.filter((other) => other !== pod),
      services: services.map((service) => ({ ...service, endpoints: service.endpoints.filter((end) => end !== name) })),
    };
    await this.#installServices();
    await Promise.all([...this.#processes].filter((process) => process.namespace === namespace).map((p) => p.stop()));
    if (this.redirection.settings.mode === 'inpod') await this.agents.removePod(pod);
    await this.redirection.removePod(pod);
    await unlinkPod(this.namespace(pod.node), name);
    this.#namespaces.delete(name);
    await releaseNamespace(namespace);
  }

  async #setService(service: LabService): Promise<void> {
    const { services } = this.#topology;
    const others = services.filter((other) => other.name !== service.name || other.namespace !== service.namespace);
    const next = { ...this.#topology, services: [...others, service] };
    assertTopology(next);
    this.#topology = next;
    await this.#installServices();
    rewriteHosts(this.directory, next.services);
  }

  async #close(): Promise<void> {
    for (const process of [...this.#processes].reverse()) await process.stop();
    this.agents.close();
    await this.#unbindHosts();
    for (const namespace of this.#namespaces.values()) await releaseNamespace(namespace);
    this.#namespaces.clear();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const turn = this.#lastChange.then(change);
    this.#lastChange = turn.catch(() => {}); // Whoever asked for the change hears of its failure; the next one goes on.
    return turn;
  }

  get #netDirectory(): string {
    return join(this.directory, 'net');
  }

  async #buildPod(pod: LabPod): Promise<void> {
    const node = this.node(pod.node);
    const namespace = await buildPod(this.#netDirectory, node, this.namespace(node.name), pod);
    this.#namespaces.set(pod.name, namespace);
    await this.redirection.addPod(pod);
    if (this.redirection.settings.mode === 'inpod') await this.agents.addPod(pod, namespace);
  }

  async #installServices(): Promise<void> {
    const topology = this.#topology;
    await Promise.all(topology.nodes.map((node) => installServices(this.namespace(node.name), topology)));
  }

  async #startApp(pod: LabPod): Promise<void> {
    const { app } = pod;
    if (app === undefined) return;
    const started = this.spawn(pod.name, {
      name: pod.name,
      argv: [process.execPath, appsProgram, app.kind],
      env: {
        POD_NAME: pod.name,
        APP_PORT: String(app.port),
        APP_VERSION: pod.labels.version ?? 'v1',
        ...app.env,
      },
    });
    await started.waitForLine((line) => line.startsWith('listening on '));
  }
}

function find<T extends { readonly name: string }>(items: readonly T[], name: string): T {
  const item = items.find((candidate) => candidate.name === name);
  if (item !== undefined) return item;
  throw new AmbitError(`no ${name} in this lab`, { code: 'LAB_NO_SUCH_PLACE', origin: 'local' });
}
