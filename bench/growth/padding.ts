/**
 * A mesh of any size around what is measured: records in ztunnel's own local form, in files of the folder that the proxies
 * watch. They concern nobody who is there, and their addresses are nobody's.
 */
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export type Padding = 'workloads' | 'services' | 'policies' | 'endpoints';

/** So that no single file takes long to read. */
const recordsPerFile = 2000;
export const rulesPerPolicy = 10;
const namespaces = 20;

/** Makes the folder hold `count` records of the kind. Whole files that stay are not written again. */
export function pad(folder: string, kind: Padding, count: number, service: string): void {
  const wanted = new Map<string, () => object>();
  for (let from = 0; from < count; from += recordsPerFile) {
    const size = Math.min(recordsPerFile, count - from);
    wanted.set(`growth-${kind}-${from}-${size}.json`, () => document(kind, from, size, service));
  }
  const present = new Set(readdirSync(folder));
  for (const name of present)
    if (name.startsWith(`growth-${kind}-`) && !wanted.has(name)) rmSync(path.join(folder, name));
  for (const [name, make] of wanted) {
    if (!present.has(name)) writeFileSync(path.join(folder, name), JSON.stringify(make()));
  }
}

function document(kind: Padding, from: number, size: number, service: string): object {
  const records = Array.from({ length: size }, (_, i) => from + i);
  switch (kind) {
    case 'workloads':
      return { workloads: records.map((i) => workload(i, 'idle', {})) };
    case 'endpoints':
      // Never chosen, since they are not healthy: what they cost is the choice.
      return {
        workloads: records.map((i) =>
          workload(i, 'sick', { services: { [service]: { 9080: 9080, 9081: 9081 } }, status: 'Unhealthy' }),
        ),
      };
    case 'services':
      return { services: records.map(idleService) };
    case 'policies':
      return from === 0 ? { policies: [admission, ...records.map(policy)] } : { policies: records.map(policy) };
  }
}

export function workload(i: number, name: string, fields: object): object {
  const namespace = `team-${i % namespaces}`;
  return {
    uid: `Kubernetes//Pod/${namespace}/${name}-${i}`,
    name: `${name}-${i}`,
    namespace,
    workloadIps: [`100.${64 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`],
    serviceAccount: `${name}-${i % 97}`,
    protocol: 'HBONE',
    node: `elsewhere-${Math.floor(i / 100)}`,
    workloadName: `${name}-${i % 1000}`,
    canonicalName: `${name}-${i % 1000}`,
    canonicalRevision: 'v1',
    services: { [`${namespace}/idle-${i % 1000}.${namespace}.svc.cluster.local`]: { 80: 8080 } },
    ...fields,
  };
}

function idleService(i: number): object {
  const namespace = `team-${i % namespaces}`;
  const name = `idle-${i}`;
  const hostname = `${name}.${namespace}.svc.cluster.local`;
  return {
    name,
    namespace,
    hostname,
    vips: [`/172.${16 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`],
    ports: { 80: 8080 },
  };
}

/** DENY and ALLOW by turns, of the namespace of what is measured; no rule is about anybody who is there. */
function policy(i: number): object {
  const rules = Array.from({ length: rulesPerPolicy }, (_, r) => [[condition(i * rulesPerPolicy + r)]]);
  return { ...admission, name: `growth-${i}`, action: i % 2 === 0 ? 'Deny' : 'Allow', rules };
}

const admission = {
  name: 'growth-admission',
  namespace: 'default',
  scope: 'Namespace',
  action: 'Allow',
  rules: [[[{ namespaces: [{ Exact: 'default' }] }]]],
};

function condition(i: number): object {
  switch (i % 5) {
    case 0:
      return { principals: [{ Exact: `cluster.local/ns/team-${i}/sa/client` }] };
    case 1:
      return { namespaces: [{ Exact: `team-${i}` }], destinationPorts: [9080] };
    case 2:
      return { sourceIps: [`172.${16 + (i % 16)}.${(i >> 4) & 255}.0/24`] };
    case 3:
      return { principals: [{ Prefix: `cluster.local/ns/team-${i}/` }] };
    default:
      return { serviceAccounts: [{ namespace: `team-${i}`, serviceAccount: 'client' }] };
  }
}
