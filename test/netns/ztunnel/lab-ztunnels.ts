/**
 * Real ztunnels in a lab, without control plane and waypoint: the mesh is ztunnel's local file, made from the topology,
 * and all share one authority on disk. For tests of the layer 4 path on real packets.
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { Test } from 'tap';
import { AccessRecord } from '../../../src/app/lab-access.ts';
import { askSocket } from '../../../src/app/lab-admin.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { openAuthority } from '../../../src/identity/authority.ts';
import { createLab, type Lab, type LabOptions } from '../../../src/lab/lab.ts';
import type { LabProcess } from '../../../src/lab/process.ts';
import { type LabPod, podIps, serviceVips, type Topology, ztunnelName } from '../../../src/lab/topology.ts';
import { eventually } from '../../support/eventually.ts';
import { programFile } from '../../support/program-files.ts';

const program = programFile('ztunnel');

export interface AccessLine {
  readonly message: string;
  readonly [field: string]: string | number | undefined;
}

export interface LabZtunnels {
  readonly lab: Lab;
  readonly processes: ReadonlyMap<string, LabProcess>;
  /** A place among the access lines of a node's ztunnel: what is written from now on. */
  mark(node: string): number;
  /** Access lines of a node's ztunnel, all or since a mark. */
  lines(node: string, since?: number): readonly AccessLine[];
  /** What its admin socket answers. */
  ask(node: string, target: string): Promise<string>;
  /** Starts one more, or again. Resolves when it is ready. */
  start(node: string): Promise<LabProcess>;
}

export interface LabZtunnelOptions {
  readonly topology: Topology;
  readonly preset: 'legacy' | 'modern';
  readonly redirection: NonNullable<LabOptions['redirection']>;
  readonly environment?: Readonly<Record<string, string>>;
  /** ztunnel runs in the node's own namespace. */
  readonly onHost?: boolean;
  /** YAML of `policies`. */
  readonly policies?: string;
  /** Policies that workloads name: pod → keys. */
  readonly named?: Readonly<Record<string, readonly string[]>>;
}

/** Closed with the test. */
export async function startLabZtunnels(t: Pick<Test, 'teardown'>, options: LabZtunnelOptions): Promise<LabZtunnels> {
  const { topology, preset, redirection } = options;
  const access = new AccessRecord();
  const lab = await createLab({ topology, redirection, onLine: (name, line) => access.take(name, line) });
  t.teardown(() => lab.close());
  const folder = join(lab.directory, 'mesh');
  const authority = join(lab.directory, 'authority');
  mkdirSync(folder);
  await openAuthority({ folder: authority, create: true, trustDomain: 'cluster.local', clock: systemClock });
  const file = join(folder, 'mesh.yaml');
  writeFileSync(`${file}.new`, meshFile(topology, options));
  renameSync(`${file}.new`, file);
  const processes = new Map<string, LabProcess>();
  // One for each start: an old ztunnel may still answer on its own.
  const starts = new Map<string, number>();
  const socket = (node: string) => join(lab.directory, `${node}-${starts.get(node)}.admin`);
  const ask = async (node: string, target: string) => (await askSocket(socket(node), target)).body;
  const start = async (node: string) => {
    starts.set(node, (starts.get(node) ?? 0) + 1);
    const inpod = redirection.mode === 'inpod' ? { INPOD_UDS: lab.agents.of(node).path } : {};
    const started = lab.spawn(options.onHost === true ? node : ztunnelName({ name: node }), {
      name: ztunnelName({ name: node }),
      argv: [process.execPath, program, '--preset', preset, '--node', node],
      env: {
        LOCAL_XDS_PATH: file,
        AMBIT_CA_DIR: authority,
        AMBIT_ADMIN_SOCKET: socket(node),
        LOG_FORMAT: 'json',
        ...inpod,
        ...options.environment,
      },
    });
    processes.set(node, started);
    const ready = async () => {
      if (!started.running) throw new Error(`ztunnel of ${node} ended:\n${started.lines.slice(-10).join('\n')}`);
      const answer = await ask(node, '/healthz/ready').catch(() => '');
      return answer.startsWith('ready');
    };
    await eventually(`ztunnel of ${node} is ready`, ready, 20_000);
    // Certificates come in the background; tests are about what follows.
    const certificates = async () => {
      const dump = await ask(node, '/config_dump?view=certs.txt');
      return !dump.includes('Initializing') && dump.includes('Available');
    };
    await eventually(`certificates of ${node}`, certificates, 10_000);
    return started;
  };
  await Promise.all(topology.nodes.map((node) => start(node.name)));
  const mark = (node: string) => access.mark(ztunnelName({ name: node }));
  const lines = (node: string, since = 0) =>
    access.since(ztunnelName({ name: node }), since).map(({ message, fields }) => ({ message, ...fields }));
  return { lab, processes, mark, lines, ask, start };
}

/** JSON is YAML. */
function meshFile(topology: Topology, { policies = '', named = {} }: LabZtunnelOptions): string {
  const uid = (pod: LabPod) => `Kubernetes//Pod/${pod.namespace}/${pod.name}`;
  const workloads = topology.pods.map((pod) => ({
    uid: uid(pod),
    name: pod.name,
    namespace: pod.namespace,
    workloadIps: podIps(pod),
    serviceAccount: pod.serviceAccount,
    trustDomain: 'cluster.local',
    protocol: pod.captured ? 'HBONE' : 'TCP',
    node: pod.node,
    workloadName: pod.name,
    workloadType: 'pod',
    canonicalName: pod.name,
    canonicalRevision: 'v1',
    authorizationPolicies: named[pod.name] ?? [],
    services: Object.fromEntries(
      topology.services
        .filter((service) => service.endpoints.includes(pod.name))
        .map((service) => [
          `${service.namespace}/${service.name}.${service.namespace}.svc.cluster.local`,
          Object.fromEntries(service.ports.map((port) => [port.port, port.targetPort])),
        ]),
    ),
  }));
  const services = topology.services.map((service) => ({
    name: service.name,
    namespace: service.namespace,
    hostname: `${service.name}.${service.namespace}.svc.cluster.local`,
    vips: serviceVips(service).map((vip) => `/${vip}`),
    ports: Object.fromEntries(service.ports.map((port) => [port.port, port.targetPort])),
  }));
  return `workloads: ${JSON.stringify(workloads)}\nservices: ${JSON.stringify(services)}\n${policies}`;
}
