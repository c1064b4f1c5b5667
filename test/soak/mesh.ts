/**
 * The soak's mesh as files: who is there from the beginning, pods that come and go, and policies that change without ever
 * forbidding what the traffic does. Objects are JSON, which is YAML.
 */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export const port = 7000;
export const vips = { server: '10.96.0.10', local: '10.96.0.20', churn: '10.96.0.30' } as const;

export interface SoakPod {
  readonly name: string;
  readonly ip: string;
  readonly node: 'node-a' | 'node-b';
  /** Of the Service that chooses it. */
  readonly app: string;
  readonly captured: boolean;
}

export const clientPod: SoakPod = { name: 'client', ip: '10.244.1.4', node: 'node-a', app: 'client', captured: true };
export const outsider: SoakPod = {
  name: 'outsider',
  ip: '10.244.1.5',
  node: 'node-a',
  app: 'outsider',
  captured: false,
};
export const servers: readonly SoakPod[] = [
  { name: 'server', ip: '10.244.2.5', node: 'node-b', app: 'server', captured: true },
  { name: 'local', ip: '10.244.1.6', node: 'node-a', app: 'local', captured: true },
  { name: 'churn', ip: '10.244.2.6', node: 'node-b', app: 'churn', captured: true },
];

/** The `n`th pod that comes and goes; addresses are used again, as in a cluster. */
export function comingPod(n: number): SoakPod {
  return { name: `churn-${n}`, ip: `10.244.2.${20 + (n % 50)}`, node: 'node-b', app: 'churn', captured: true };
}

export function labelsOf({ app, captured }: SoakPod): Readonly<Record<string, string>> {
  return captured ? { app } : { app, 'istio.io/dataplane-mode': 'none' };
}

/** Writes what there is at the start. */
export function writeMesh(folder: string): void {
  const namespace = {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'default', labels: { 'istio.io/dataplane-mode': 'ambient' } },
  };
  const pods = [clientPod, outsider, ...servers].map((pod) => podObject(pod, true));
  const services = Object.entries(vips).map(([app, vip]) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: app, namespace: 'default' },
    spec: { clusterIP: vip, selector: { app }, ports: [{ name: 'tcp', port, targetPort: port }] },
  }));
  write(folder, 'mesh.yaml', [namespace, ...pods, ...services]);
}

export function writePod(folder: string, pod: SoakPod, ready: boolean): void {
  write(folder, `${pod.name}.yaml`, [podObject(pod, ready)]);
}

export function removePodFile(folder: string, pod: SoakPod): void {
  rmSync(path.join(folder, `${pod.name}.yaml`));
}

/** The `n`th set of policies: one that allows, in turns by port and by namespace, and some that deny others. */
export function writePolicies(folder: string, n: number): void {
  const byPort = { to: [{ operation: { ports: [String(port)] } }] };
  const byNamespace = { from: [{ source: { namespaces: ['default'] } }] };
  const allow = policy(`allow-${n % 3}`, 'ALLOW', n % 2 === 0 ? [byPort] : [byNamespace, byPort]);
  const denies = Array.from({ length: 10 + (n % 10) }, (_, i) =>
    policy(`deny-${i}`, 'DENY', [{ from: [{ source: { principals: [`cluster.local/ns/other/sa/${n}-${i}`] } }] }]),
  );
  write(folder, 'policies.yaml', [allow, ...denies]);
}

function policy(name: string, action: 'ALLOW' | 'DENY', rules: readonly object[]) {
  const metadata = { name, namespace: 'default' };
  return { apiVersion: 'security.istio.io/v1', kind: 'AuthorizationPolicy', metadata, spec: { action, rules } };
}

function podObject(pod: SoakPod, ready: boolean) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: pod.name, namespace: 'default', labels: labelsOf(pod) },
    spec: { serviceAccountName: pod.app, nodeName: pod.node },
    status: { phase: 'Running', podIP: pod.ip, conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
  };
}

/** Whole or not at all, for those who watch. */
function write(folder: string, name: string, objects: readonly object[]): void {
  const file = path.join(folder, name);
  writeFileSync(`${file}.new`, objects.map((object) => JSON.stringify(object)).join('\n---\n'));
  renameSync(`${file}.new`, file);
}
