/**
 * Pod: an address, an identity, and whether its traffic goes through ztunnel. Membership follows Istio: the pod's own
 * label wins over its namespace's; waypoints, host-network pods and pods with a sidecar are never captured (R46).
 */

import * as z from 'zod';
import { canonicalIp } from '../base/address.ts';
import type { Diagnostic } from '../base/diagnostics.ts';
import type { Workload } from '../mesh/model.ts';
import type { NamespaceSpec } from './namespace.ts';
import { type ConfigObject, diagnose, type Parsed, parseContent, perObject } from './object.ts';
import { accountSchema, listOf, portSchema } from './values.ts';

export interface PodSpec {
  readonly object: ConfigObject;
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Canonical. Empty: not started, or over. */
  readonly addresses: readonly string[];
  readonly node: string;
  readonly serviceAccount: string;
  readonly hostNetwork: boolean;
  readonly ready: boolean;
  /** Serves the mesh itself: a waypoint, or something else that must not be captured. */
  readonly waypoint: boolean;
  readonly workloadName: string;
  readonly workloadType: Workload['workloadType'];
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  /** TCP container ports by name. */
  readonly namedPorts: ReadonlyMap<string, number>;
}

const schema = z.object({
  metadata: z.object({
    ownerReferences: listOf(z.object({ kind: z.string(), name: z.string(), controller: z.boolean().optional() })),
  }),
  spec: z
    .object({
      nodeName: z.string().default(''),
      serviceAccountName: accountSchema.default('default'),
      hostNetwork: z.boolean().default(false),
      containers: listOf(
        z.object({
          ports: listOf(
            z.object({ name: z.string().optional(), containerPort: portSchema, protocol: z.string().default('TCP') }),
          ),
        }),
      ),
    })
    .prefault({}),
  status: z
    .object({
      phase: z.string().default('Running'),
      podIP: z.string().nullish(),
      podIPs: listOf(z.object({ ip: z.string() })),
      conditions: listOf(z.object({ type: z.string(), status: z.string() })),
    })
    .prefault({}),
});

export const parsePod = perObject((object: ConfigObject): Parsed<PodSpec> => {
  const { value, diagnostics } = parseContent(object, schema);
  if (value === undefined) return { value: undefined, diagnostics };
  const { spec, status } = value;
  const { name, namespace, labels, deleting } = object.metadata;
  const over = status.phase === 'Succeeded' || status.phase === 'Failed';
  const problems: Diagnostic[] = [];
  const addresses = over ? [] : podAddresses(object, status, problems);
  if (problems.length > 0) return { value: undefined, diagnostics: problems };
  const readiness = status.conditions.find(({ type }) => type === 'Ready');
  const owner = ownerOf(name, labels, value.metadata.ownerReferences);
  return {
    value: {
      object,
      name,
      namespace,
      labels,
      addresses,
      node: spec.nodeName,
      serviceAccount: spec.serviceAccountName,
      hostNetwork: spec.hostNetwork,
      ready: !deleting && (readiness === undefined ? status.phase === 'Running' : readiness.status === 'True'),
      waypoint: labels['ambient-type'] === 'waypoint' || labels[gatewayNameLabel] !== undefined,
      ...owner,
      canonicalName:
        labels['service.istio.io/canonical-name'] ??
        labels['app.kubernetes.io/name'] ??
        labels.app ??
        owner.workloadName,
      canonicalRevision:
        labels['service.istio.io/canonical-revision'] ??
        labels['app.kubernetes.io/version'] ??
        labels.version ??
        'latest',
      namedPorts: new Map(
        spec.containers
          .flatMap(({ ports }) => ports)
          .flatMap((port) =>
            port.name !== undefined && port.protocol === 'TCP' ? [[port.name, port.containerPort] as const] : [],
          ),
      ),
    },
    diagnostics:
      addresses.length > 0 || over ? [] : [diagnose(object, 'POD_WITHOUT_ADDRESS', 'no status.podIP', ['status'])],
  };
});

/** Pods of a Gateway carry its name here. */
export const gatewayNameLabel = 'gateway.networking.k8s.io/gateway-name';

/** How ztunnel reaches the pod: `captured` through the ztunnel of its node, `native` by its own HBONE, else in plain. */
export function podTunnel(pod: PodSpec, namespace: NamespaceSpec | undefined): 'captured' | 'native' | 'none' {
  const { labels } = pod;
  const { annotations } = pod.object.metadata;
  const ambientType = labels['ambient-type'];
  if (pod.hostNetwork || pod.waypoint || ambientType === 'none') return 'none';
  const tunnel = labels['networking.istio.io/tunnel'];
  if (tunnel === 'http' || tunnel === 'h2') return 'native';
  const redirection = annotations['ambient.istio.io/redirection'];
  if (redirection !== undefined) return redirection === 'enabled' ? 'captured' : 'none';
  if (annotations['sidecar.istio.io/status'] !== undefined) return 'none';
  const mode = labels['istio.io/dataplane-mode'] ?? namespace?.labels['istio.io/dataplane-mode'];
  return mode === 'ambient' ? 'captured' : 'none';
}

function podAddresses(
  object: ConfigObject,
  status: z.output<typeof schema>['status'],
  problems: Diagnostic[],
): readonly string[] {
  const texts = status.podIPs.map(({ ip }) => ip);
  if (texts.length === 0 && status.podIP != null && status.podIP !== '') texts.push(status.podIP);
  return texts.flatMap((text) => {
    const ip = canonicalIp(text);
    if (ip !== undefined) return [ip];
    problems.push(diagnose(object, 'OBJECT_INVALID', `not an IP address: ${text}`, ['status', 'podIP']));
    return [];
  });
}

/** A Deployment owns its pods through a ReplicaSet whose name ends in the template's hash. */
function ownerOf(
  name: string,
  labels: Readonly<Record<string, string>>,
  owners: readonly { readonly kind: string; readonly name: string; readonly controller?: boolean | undefined }[],
): { readonly workloadName: string; readonly workloadType: Workload['workloadType'] } {
  const owner = owners.find(({ controller }) => controller === true) ?? owners[0];
  const hash = labels['pod-template-hash'];
  if (owner === undefined) return { workloadName: name, workloadType: 'pod' };
  if (owner.kind === 'ReplicaSet' && hash !== undefined && owner.name.endsWith(`-${hash}`)) {
    return { workloadName: owner.name.slice(0, -hash.length - 1), workloadType: 'deployment' };
  }
  const workloadType = owner.kind === 'Job' ? 'job' : owner.kind === 'CronJob' ? 'cronjob' : 'pod';
  return { workloadName: owner.name, workloadType };
}
