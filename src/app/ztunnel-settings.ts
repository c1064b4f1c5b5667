/**
 * Everything `ztunnel` may be told by its environment: ztunnel's own names and defaults where it has one (reference
 * ztunnel.md §2), ours begin with AMBIT_; docs/environment.md lists them. All problems are found at once.
 */

import { version } from '../base/own-files.ts';
import {
  choice,
  duration,
  type Environment,
  flag,
  integer,
  optionalDuration,
  optionalFlag,
  optionalInteger,
  optionalText,
  port,
  readEnvironment,
  text,
} from '../config/environment.ts';
import { type Preset, presetByName } from '../config/preset.ts';
import type { DnsListen } from '../dns/addresses.ts';
import type { TracingOptions } from '../telemetry/tracing/tracer.ts';
import { controlPlaneShape, type MeshSettings, readHeaders, readMeshSettings } from './control-plane-settings.ts';
import { http2Engines } from './http2-engine.ts';
import { logLevelProblem } from './observability.ts';
import { applyProxyConfig, type ProxyConfigOutcome, readMeshConfigFile } from './proxy-config.ts';
import { proxyShape } from './proxy-settings.ts';
import { readTracing, tracingShape } from './tracing-settings.ts';
import { trustDomainProblems } from './trust-domain-list.ts';
import { dnsShape, readDnsListen } from './ztunnel-dns-settings.ts';

const shape = {
  ...proxyShape,
  ...controlPlaneShape,
  ...dnsShape,
  NODE_NAME: optionalText(),
  CLUSTER_ID: optionalText(),
  ISTIO_META_CLUSTER_ID: optionalText(),
  TLS12_ENABLED: flag(false),
  COMPLIANCE_POLICY: choice(['none', 'pqc'], 'none'),
  ENABLE_PROXY: flag(true),
  PROXY_MODE: choice(['shared', 'dedicated'], 'shared'),
  PROXY_WORKLOAD_INFO: optionalText(),
  INPOD_UDS: text('/var/run/ztunnel/ztunnel.sock'),
  INPOD_PORT_REUSE: flag(true),
  PACKET_MARK: optionalInteger(0, 0xffff_ffff),
  ENABLE_ORIG_SRC: optionalFlag(),
  IPV6_ENABLED: flag(true),
  LOCALHOST_APP_TUNNEL: flag(true),
  ENABLE_RESPONSE_BAGGAGE: flag(true),
  AMBIT_HTTP2_ENGINE: choice(http2Engines, 'framing'),
  HTTP2_STREAM_WINDOW_SIZE: integer(4 << 20, 65_535, 2 ** 31 - 1),
  HTTP2_CONNECTION_WINDOW_SIZE: integer(16 << 20, 65_535, 2 ** 31 - 1),
  HTTP2_FRAME_SIZE: integer(1 << 20, 16_384, 2 ** 24 - 1),
  POOL_MAX_STREAMS_PER_CONNECTION: integer(100, 1, 65_535),
  POOL_UNUSED_RELEASE_TIMEOUT: duration(300_000),
  CONNECTION_TERMINATION_DEADLINE: optionalDuration(),
  TERMINATION_GRACE_PERIOD_SECONDS: optionalInteger(0, 86_400),
  AMBIT_OUTBOUND_PORT: port(15001),
  AMBIT_INBOUND_PORT: port(15008),
  AMBIT_PLAINTEXT_PORT: port(15006),
  AMBIT_RETURN_PATH: choice(['listener-marks', 'connmark'], 'listener-marks'),
  AMBIT_UNKNOWN_SOURCE: choice(['blackhole', 'passthrough'], 'blackhole'),
  AMBIT_OUTBOUND_POLICY: choice(['ALLOW_ANY', 'REGISTRY_ONLY'], 'ALLOW_ANY'),
  AMBIT_UNKNOWN_POLICY: choice(['deny', 'skip'], 'deny'),
  AMBIT_EMPTY_DENY_MATCH: choice(['match', 'ignore'], 'match'),
  ...tracingShape,
  AUTHZ_POLICY_INFO_LOGGING: flag(false),
  ISTIO_META_ISTIO_VERSION: optionalText(),
  AMBIT_ENDPOINT_RETRIES: integer(1, 0, 8),
  AMBIT_MAX_CONNECTIONS_PER_POD: integer(16_384, 1, 1_000_000),
  AMBIT_CONNECTION_RATE_PER_POD: integer(5000, 1, 1_000_000),
  AMBIT_MAX_SESSIONS_PER_POD: integer(4096, 1, 1_000_000),
  AMBIT_MAX_HANDSHAKES_PER_POD: integer(256, 1, 1_000_000),
  AMBIT_HANDSHAKE_RATE_PER_POD: integer(1000, 1, 1_000_000),
  AMBIT_MAX_BUFFERED_BYTES_PER_POD: integer(256 << 20, 1 << 20, 2 ** 40),
  AMBIT_MAX_DESCRIPTORS: optionalInteger(128, 2 ** 30),
  KEEPALIVE_ENABLED: flag(true),
  KEEPALIVE_TIME: duration(180_000),
  KEEPALIVE_INTERVAL: duration(180_000),
  KEEPALIVE_RETRIES: integer(9, 1, 127),
  USER_TIMEOUT_ENABLED: flag(false),
};

type Variables = Extract<ReturnType<typeof readVariables>, { kind: 'read' }>['settings'];

export interface WorkloadName {
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
}

export interface ZtunnelProgramSettings {
  readonly variables: Variables;
  /** As the operator's other settings change it. */
  readonly preset: Preset;
  readonly node: string | undefined;
  readonly mesh: MeshSettings;
  /** CA_HEADER_ variables, names in lower case. */
  readonly caHeaders: Readonly<Record<string, string>>;
  /** Whose traffic: the node's (TPROXY), each pod's (by the node agent), or one workload's in this namespace. */
  readonly mode:
    | { readonly kind: 'node' }
    | { readonly kind: 'pods'; readonly node: string }
    | { readonly kind: 'dedicated'; readonly workload: WorkloadName };
  /** Where the DNS proxy listens; undefined: nowhere. */
  readonly dns: DnsListen | undefined;
  readonly drainDeadlineMs: number;
  /** Undefined: nothing is traced. */
  readonly tracing: TracingOptions | undefined;
}

/**
 * `given`: the environment with the options of the command line in it. Adds everything that is wrong to `problems`;
 * undefined when there is anything in it.
 */
export function readZtunnelSettings(given: Environment, problems: string[]): ZtunnelProgramSettings | undefined {
  const meshConfig = readMeshConfigFile();
  if (meshConfig.problem !== undefined) problems.push(meshConfig.problem);
  const configured = applyProxyConfig(given, meshConfig.text);
  problems.push(...configured.problems);
  const read = readVariables(configured.environment);
  if (read.kind === 'problems') {
    problems.push(...read.problems);
    return undefined;
  }
  const settings = readProgramSettings(read.settings, configured, problems);
  return problems.length > 0 ? undefined : settings;
}

function readVariables(environment: Environment) {
  return readEnvironment(shape, environment);
}

/** Adds to `problems` what does not fit together; undefined only then. */
function readProgramSettings(
  variables: Variables,
  { environment, metadata }: ProxyConfigOutcome,
  problems: string[],
): ZtunnelProgramSettings | undefined {
  const { NODE_NAME: node, PROXY_MODE } = variables;
  const chosen = presetByName(variables.AMBIT_PRESET);
  const levels = logLevelProblem(variables.RUST_LOG);
  if (levels !== undefined) problems.push(`RUST_LOG=${JSON.stringify(variables.RUST_LOG)}: ${levels}`);
  const mesh = readMeshSettings(variables, environment, metadata, problems);
  const caHeaders = readHeaders(environment, 'CA_HEADER_', problems);
  problems.push(...trustDomainProblems('AMBIT_TRUST_DOMAIN_ALIASES', variables.AMBIT_TRUST_DOMAIN_ALIASES));
  const mode = readMode(variables, chosen?.capture === 'node', problems);
  if (variables.AMBIT_JOIN_TOKEN !== undefined && node === undefined) {
    problems.push('AMBIT_JOIN_TOKEN: a node joins by its name, so --node (NODE_NAME) is needed');
  }
  const dns = readDnsListen(variables, problems);
  const tracing = readTracing(variables, { name: 'ztunnel', version }, problems);
  if (mesh === undefined || mode === undefined || chosen === undefined) return undefined;
  const mark = variables.PACKET_MARK ?? (PROXY_MODE === 'dedicated' ? 0 : undefined);
  const preset = withMark(chosen, mark);
  const drainDeadlineMs = drainDeadline(variables);
  return { variables, preset, node, mesh, caHeaders, mode, dns, drainDeadlineMs, tracing };
}

function readMode(variables: Variables, node: boolean, problems: string[]): ZtunnelProgramSettings['mode'] | undefined {
  if (variables.PROXY_MODE === 'shared') {
    if (node) return { kind: 'node' };
    if (variables.NODE_NAME !== undefined) return { kind: 'pods', node: variables.NODE_NAME };
    problems.push('NODE_NAME: pods are looked up by their node, so its name (--node) is needed');
    return undefined;
  }
  const given = variables.PROXY_WORKLOAD_INFO ?? '';
  const [namespace, name, serviceAccount, more] = given.split('/');
  if (namespace && name && serviceAccount && more === undefined) {
    return { kind: 'dedicated', workload: { namespace, name, serviceAccount } };
  }
  problems.push(
    `PROXY_WORKLOAD_INFO=${JSON.stringify(given)}: PROXY_MODE=dedicated needs namespace/name/serviceaccount`,
  );
  return undefined;
}

/** One mark for all sockets, in today's manner; 0 is none. */
function withMark(preset: Preset, mark: number | undefined): Preset {
  if (mark === undefined || preset.capture === 'node') return preset;
  const one = mark === 0 ? undefined : mark;
  return { ...preset, marks: { outboundListener: one, inboundListener: one, spoofed: one, own: one } };
}

/** ztunnel's rule: what Kubernetes grants, less what is needed to leave. */
function drainDeadline(variables: Variables): number {
  const { CONNECTION_TERMINATION_DEADLINE: deadlineMs, TERMINATION_GRACE_PERIOD_SECONDS: seconds } = variables;
  if (deadlineMs !== undefined) return deadlineMs;
  if (seconds === undefined) return 5000;
  return Math.max(1, seconds > 10 ? seconds - 5 : seconds - 1) * 1000;
}
