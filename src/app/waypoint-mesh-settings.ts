/**
 * Where a waypoint's mesh comes from: a folder that describes all of it, or a control plane, with a folder that has routes
 * and policies. In a pod that Istio's template made, everything this needs is in its environment (waypoint.md §1.5).
 */
import { readFileSync } from 'node:fs';
import { type Environment, optionalText, setText, text } from '../config/environment.ts';
import type { Preset } from '../config/preset.ts';
import type { OwnGatewayFacts } from '../xds/discovered-objects.ts';
import { type ControlPlaneSettings, type ControlPlaneVariables, readControlPlane } from './control-plane-settings.ts';
import { istiodAddress } from './control-plane-trust.ts';

export const waypointMeshShape = {
  XDS_ADDRESS: setText(),
  XDS_ROOT_CA: text('./var/run/secrets/istio/root-cert.pem'),
  ALT_XDS_HOSTNAME: optionalText(),
  POD_NAME: text(''),
  POD_NAMESPACE: text(''),
  INSTANCE_IP: text('1.1.1.1'),
  AMBIT_GATEWAY: optionalText(),
  SERVICE_ACCOUNT: optionalText(),
  ISTIO_META_WORKLOAD_NAME: optionalText(),
};

export type WaypointMeshSettings =
  | { readonly kind: 'folder'; readonly directory: string }
  | {
      readonly kind: 'discovered';
      /** Routes and policies; undefined: none. */
      readonly directory: string | undefined;
      readonly controlPlane: ControlPlaneSettings;
      readonly gateway: OwnGatewayFacts;
    };

/** What Kubernetes has written down of the pod, by name. */
export type PodLabels = ReadonlyMap<string, string>;

type Variables = ControlPlaneVariables & {
  readonly SERVICE_ACCOUNT?: string | undefined;
};

/** `namespace/name`, with `/account` behind it where one Gateway asks for a waypoint per account; undefined: not known. */
export function readGatewayName(
  variables: {
    readonly AMBIT_GATEWAY?: string | undefined;
    readonly POD_NAMESPACE: string;
    readonly ISTIO_META_WORKLOAD_NAME?: string | undefined;
  },
  labels: PodLabels,
): string | undefined {
  const { AMBIT_GATEWAY: given, POD_NAMESPACE: namespace, ISTIO_META_WORKLOAD_NAME: workload } = variables;
  if (given !== undefined || namespace === '') return given;
  const name = labels.get('gateway.networking.k8s.io/gateway-name') ?? workload;
  return name === undefined ? undefined : `${namespace}/${name}`;
}

/** Adds what does not fit together to `problems`; undefined only then. `gateway`: as `readGatewayName` gives it. */
export function readWaypointMesh(
  variables: Variables,
  environment: Environment,
  facts: {
    readonly gateway: string;
    readonly labels: PodLabels;
    readonly preset: Preset;
    readonly proxyMetadata: Readonly<Record<string, string>>;
  },
  problems: string[],
): WaypointMeshSettings | undefined {
  const { AMBIT_CONFIG: directory, XDS_ADDRESS: given, KUBERNETES_SERVICE_HOST: cluster } = variables;
  const address = given ?? (directory === undefined && cluster !== undefined ? istiodAddress : '');
  if (address === '') {
    if (directory !== undefined) return { kind: 'folder', directory };
    problems.push('nothing describes the mesh: give --config DIR or XDS_ADDRESS');
    return undefined;
  }
  const { preset, labels } = facts;
  const [namespace = '', name = '', account] = facts.gateway.split('/');
  if (preset.name === 'legacy') problems.push('AMBIT_PRESET=legacy: the preview has its mesh from a folder alone');
  if (account !== undefined) problems.push(`--gateway ${facts.gateway}: must be NAMESPACE/NAME with a control plane`);
  const serviceAccount = variables.SERVICE_ACCOUNT ?? name;
  const className = labels.get('gateway.networking.k8s.io/gateway-class-name') ?? 'istio-waypoint';
  const metadata = {
    SERVICE_ACCOUNT: serviceAccount,
    LABELS: { 'gateway.networking.k8s.io/gateway-name': name },
    ...facts.proxyMetadata,
  };
  const pod = { POD_NAME: variables.POD_NAME || name, POD_NAMESPACE: variables.POD_NAMESPACE || namespace };
  const asker = { ...variables, ...pod };
  const controlPlane = readControlPlane(address, asker, environment, metadata, problems, 'waypoint');
  if (controlPlane === undefined) return undefined;
  return { kind: 'discovered', directory, controlPlane, gateway: { namespace, name, className, serviceAccount } };
}

/** The downward API's file of labels, `name="value"` a line. Without one there are none. */
export function readPodLabels(path = './etc/istio/pod/labels'): PodLabels {
  let lines: string;
  try {
    lines = readFileSync(path, 'utf8');
  } catch {
    return new Map();
  }
  const labels = [...lines.matchAll(/^([^=\n]+)="([^"\n]*)"$/gm)];
  return new Map(labels.map(([, name = '', value = '']) => [name, value]));
}

/** Names that Istio's template of a waypoint uses where ztunnel's has others. Ours win. */
export function withTemplateNames(environment: Environment): Environment {
  const theirs = {
    CA_ADDRESS: environment.CA_ADDR,
    CLUSTER_ID: environment.ISTIO_META_CLUSTER_ID,
    NETWORK: environment.ISTIO_META_NETWORK,
  };
  const stands = Object.entries(theirs).filter(([name, value]) => value !== undefined && !environment[name]);
  return { ...environment, ...Object.fromEntries(stands) };
}
