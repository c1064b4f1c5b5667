/**
 * What a ztunnel is told about its control plane: where it is, what to trust and to show, and as whom to ask
 * (ztunnel.md §2.1, §6.1). The mesh comes from it when it is named, and in a cluster when nothing else describes the mesh.
 */
import { canonicalIp } from '../base/address.ts';
import { type Environment, environmentWithPrefix, flag, optionalText, setText, text } from '../config/environment.ts';
import { tlsProfileFor } from '../identity/tls-context.ts';
import { parseServerAddress, type RootsSource, type ServerAddress, type TextSource } from '../rpc/credentials.ts';
import { type NodeFacts, type NodeIdentity, nodeIdentity } from '../xds/node-identity.ts';
import { caAddress, istiodAddress, rootsSource, tokenSource } from './control-plane-trust.ts';

export const controlPlaneShape = {
  XDS_ADDRESS: setText(),
  XDS_ROOT_CA: text('./var/run/secrets/istio/root-cert.pem'),
  ALT_XDS_HOSTNAME: optionalText(),
  XDS_ON_DEMAND: flag(false),
  LOCAL_XDS_PATH: optionalText(),
  LOCAL_XDS: optionalText(),
  POD_NAME: text(''),
  POD_NAMESPACE: text(''),
  SERVICE_ACCOUNT: text(''),
  INSTANCE_IP: text('1.1.1.1'),
};

/** The values of `controlPlaneShape`, and of what it is read together with. */
export interface ControlPlaneVariables {
  readonly XDS_ADDRESS?: string | undefined;
  readonly XDS_ROOT_CA: string;
  readonly ALT_XDS_HOSTNAME?: string | undefined;
  readonly XDS_ON_DEMAND?: boolean | undefined;
  readonly LOCAL_XDS_PATH?: string | undefined;
  readonly LOCAL_XDS?: string | undefined;
  readonly POD_NAME: string;
  readonly POD_NAMESPACE: string;
  readonly INSTANCE_IP: string;
  readonly AMBIT_CONFIG?: string | undefined;
  readonly AUTH_TOKEN?: string | undefined;
  readonly NODE_NAME?: string | undefined;
  readonly CLUSTER_ID?: string | undefined;
  readonly ISTIO_META_CLUSTER_ID?: string | undefined;
  readonly KUBERNETES_SERVICE_HOST?: string | undefined;
  readonly CA_ADDRESS?: string | undefined;
  readonly CA_ROOT_CA: string;
  readonly ALT_CA_HOSTNAME?: string | undefined;
  readonly AMBIT_CA_DIR?: string | undefined;
  readonly AMBIT_JOIN_TOKEN?: string | undefined;
  readonly AMBIT_STATE_DIR?: string | undefined;
  readonly COMPLIANCE_POLICY?: 'none' | 'pqc' | undefined;
}

export interface ControlPlaneSettings {
  readonly address: ServerAddress;
  readonly roots: RootsSource;
  readonly alternativeNames: readonly string[];
  /** It is the control plane this proxy has joined: the join credential is shown, and no token. */
  readonly asMember: boolean;
  /** The only group for key exchange; undefined: what OpenSSL prefers. */
  readonly keyExchange: string | undefined;
  /** Never sent without TLS. */
  readonly token: TextSource | undefined;
  /** Sent with the stream, names in lower case. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly node: NodeIdentity;
  /** Addresses are asked for one by one, as traffic needs them. */
  readonly onDemand: boolean;
}

/** Where records of the mesh come from: a compiled folder, or a local file and a control plane, together or alone. */
export type MeshSettings =
  | { readonly kind: 'folder'; readonly directory: string }
  | {
      readonly kind: 'records';
      readonly local: TextSource | undefined;
      readonly controlPlane: ControlPlaneSettings | undefined;
    };

/**
 * `environment`: all of it, for the variables with a free part in their names. `proxyMetadata`: of ProxyConfig. Adds what
 * does not fit together to `problems`; undefined only then.
 */
export function readMeshSettings(
  variables: ControlPlaneVariables,
  environment: Environment,
  proxyMetadata: Readonly<Record<string, string>>,
  problems: string[],
): MeshSettings | undefined {
  const { AMBIT_CONFIG: directory, LOCAL_XDS_PATH: path, LOCAL_XDS: inline } = variables;
  const { XDS_ADDRESS: given, KUBERNETES_SERVICE_HOST: cluster } = variables;
  if (path !== undefined && inline !== undefined)
    problems.push('LOCAL_XDS and LOCAL_XDS_PATH: only one of them can be given');
  const local: TextSource | undefined =
    path !== undefined ? { kind: 'file', path } : inline !== undefined ? { kind: 'text', text: inline } : undefined;
  if (directory !== undefined) {
    if (local !== undefined) problems.push('AMBIT_CONFIG and LOCAL_XDS_PATH: only one of them can describe the mesh');
    if (given) problems.push('AMBIT_CONFIG and XDS_ADDRESS: only one of them can describe the mesh');
    return { kind: 'folder', directory };
  }
  const address = given ?? (local === undefined && cluster !== undefined ? istiodAddress : '');
  if (address === '') {
    if (local !== undefined) return { kind: 'records', local, controlPlane: undefined };
    problems.push('nothing describes the mesh: give --config DIR, XDS_ADDRESS or LOCAL_XDS_PATH');
    return undefined;
  }
  const controlPlane = readControlPlane(address, variables, environment, proxyMetadata, problems);
  return controlPlane === undefined ? undefined : { kind: 'records', local, controlPlane };
}

/** Adds to `problems` what is wrong with any of it; undefined where there is no address to ask at. */
export function readControlPlane(
  addressText: string,
  variables: ControlPlaneVariables,
  environment: Environment,
  proxyMetadata: NodeFacts['metadata'],
  problems: string[],
  type: 'ztunnel' | 'waypoint' = 'ztunnel',
): ControlPlaneSettings | undefined {
  const { ALT_XDS_HOSTNAME, XDS_ON_DEMAND: onDemand = false, ISTIO_META_CLUSTER_ID, CLUSTER_ID } = variables;
  const clusterId = ISTIO_META_CLUSTER_ID ?? CLUSTER_ID ?? 'Kubernetes';
  const address = parseServerAddress(addressText);
  const instanceIp = canonicalIp(variables.INSTANCE_IP || '1.1.1.1');
  if (address === undefined) {
    problems.push(
      `XDS_ADDRESS=${JSON.stringify(addressText)}: must be host:port, https://host:port or http://host:port`,
    );
  }
  if (instanceIp === undefined)
    problems.push(`INSTANCE_IP=${JSON.stringify(variables.INSTANCE_IP)}: not an IP address`);
  const { ISTIO_META_DNS_CAPTURE: captured } = environment;
  if (onDemand && (captured === undefined || captured === '' || captured === 'true')) {
    problems.push('XDS_ON_DEMAND: names cannot be answered on demand, so it needs ISTIO_META_DNS_CAPTURE=false');
  }
  const headers = readHeaders(environment, 'XDS_HEADER_', problems);
  if (address?.tls === false && headers.authorization !== undefined) {
    problems.push('XDS_HEADER_authorization: is not sent in clear, so XDS_ADDRESS must be https');
  }
  const metadata = { ...proxyMetadata, ...readNodeMetadata(environment, problems) };
  if (address === undefined || instanceIp === undefined) return undefined;
  const asMember = isJoined(address, variables);
  // One server, which is trusted alike for certificates and for discovery, unless something else is said of it.
  const alternativeName = ALT_XDS_HOSTNAME ?? (asMember ? variables.ALT_CA_HOSTNAME : undefined);
  const roots = asMember && !environment.XDS_ROOT_CA ? variables.CA_ROOT_CA : variables.XDS_ROOT_CA;
  const postQuantum = variables.COMPLIANCE_POLICY === 'pqc';
  return {
    address,
    roots: rootsSource(roots),
    alternativeNames: alternativeName === undefined ? [] : [alternativeName],
    asMember,
    keyExchange: tlsProfileFor({ tls12: false, postQuantum }).ecdhCurve,
    token: asMember ? undefined : tokenSource(variables.AUTH_TOKEN),
    metadata: { ...headers, clusterid: clusterId },
    node: nodeIdentity({
      type,
      instanceIp,
      podName: variables.POD_NAME,
      podNamespace: variables.POD_NAMESPACE,
      nodeName: variables.NODE_NAME ?? '',
      clusterId,
      metadata,
    }),
    onDemand,
  };
}

/** Whether certificates come from there too, to whoever has joined. */
function isJoined(address: ServerAddress, variables: ControlPlaneVariables): boolean {
  const { AMBIT_CA_DIR, AMBIT_JOIN_TOKEN, AMBIT_STATE_DIR } = variables;
  if (AMBIT_CA_DIR !== undefined || (AMBIT_JOIN_TOKEN ?? AMBIT_STATE_DIR) === undefined) return false;
  const ca = parseServerAddress(caAddress(variables));
  return ca?.tls === true && address.tls && ca.host === address.host && ca.port === address.port;
}

/** `XDS_HEADER_<name>` and the like, as gRPC metadata. */
export function readHeaders(environment: Environment, prefix: string, problems: string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of environmentWithPrefix(environment, prefix)) {
    const lower = name.toLowerCase();
    if (!/^[0-9a-z_.-]+$/.test(lower) || lower.endsWith('-bin') || lower.startsWith('grpc-')) {
      problems.push(`${prefix}${name}: not a name of gRPC metadata`);
    } else if (!/^[\x20-\x7e]*$/.test(value)) problems.push(`${prefix}${name}: only printable ASCII can be sent`);
    else headers[lower] = value;
  }
  return headers;
}

function readNodeMetadata(environment: Environment, problems: string[]): NodeFacts['metadata'] {
  const metadata: NodeFacts['metadata'] = {};
  for (const [name, value] of environmentWithPrefix(environment, 'ISTIO_META_')) metadata[name] = value;
  for (const [name, value] of environmentWithPrefix(environment, 'ISTIO_METAJSON_')) {
    try {
      metadata[name] = JSON.parse(value);
    } catch {
      problems.push(`ISTIO_METAJSON_${name}: not JSON`);
    }
  }
  return metadata;
}
