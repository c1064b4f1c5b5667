/**
 * Everything `waypoint` may be told, from its arguments and environment. Names and defaults are those of Istio's proxies
 * where they have one, ours begin with AMBIT_. All problems are found at once; docs/environment.md lists them.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { type Cidr, parseCidr } from '../base/address.ts';
import { errorText } from '../base/errors.ts';
import { version } from '../base/own-files.ts';
import {
  choice,
  duration,
  type Environment,
  flag,
  integer,
  optionalInteger,
  optionalText,
  port,
  readEnvironment,
  text,
} from '../config/environment.ts';
import { type Preset, presetByName } from '../config/preset.ts';
import type { TracingOptions } from '../telemetry/tracing/tracer.ts';
import { defaultOverloadSettings } from '../waypoint/protection/overload.ts';
import type { SessionKeys } from '../waypoint/session-token.ts';
import type { ClientAddressHeader } from '../waypoint/settings.ts';
import { readViewRequest, type ViewRequest } from './admin-view.ts';
import { http2Engines } from './http2-engine.ts';
import { logLevelProblem } from './observability.ts';
import { applyProxyConfig, type ProxyConfigOutcome, readMeshConfigFile } from './proxy-config.ts';
import { proxyShape } from './proxy-settings.ts';
import { readSessionKeys } from './session-keys.ts';
import { readTracing, tracingShape } from './tracing-settings.ts';
import { trustDomainProblems } from './trust-domain-list.ts';
import {
  readGatewayName,
  readPodLabels,
  readWaypointMesh,
  type WaypointMeshSettings,
  waypointMeshShape,
  withTemplateNames,
} from './waypoint-mesh-settings.ts';

export const waypointHelp = `Usage: waypoint [proxy waypoint] [options]
       waypoint --view [listeners|clusters|endpoints|destinations|effective|telemetry|certs|dump]
                       [--service NS/NAME] [--from ADDRESS]

The layer 7 proxy of a Gateway: takes tunnels for the services bound to it, applies routes and policies, and goes on to
their pods in tunnels of its own.

  --config DIR             the mesh as a folder of YAML, watched (AMBIT_CONFIG); routes and policies alone where the mesh
                           comes from a control plane (XDS_ADDRESS)
  --preset NAME            legacy (the 2022 preview) or modern (AMBIT_PRESET; default modern)
  --gateway NS/NAME        which Gateway this is (AMBIT_GATEWAY)
  --service-account NAME   whom it runs as (SERVICE_ACCOUNT; default: what the Gateway says)
  --view [NAME]            prints a view of a running waypoint and ends; listeners unless told
  --service NS/NAME        of the effective configuration, that of one service
  --from ADDRESS           where it runs: an admin socket's path, or host:port (default 127.0.0.1:15000)
  --concurrency N          processes that share the ports, 0: one for each processor (AMBIT_WORKERS; default 1)
  --help, --version

Everything else is set by environment variables; docs/environment.md lists them.
`;

const shape = {
  ...proxyShape,
  ...waypointMeshShape,
  ...tracingShape,
  ISTIO_META_ISTIO_VERSION: optionalText(),
  CLUSTER_ID: text('Kubernetes'),
  /** Both at once serve the article's world and today's. Empty: the preset's port. */
  AMBIT_WAYPOINT_PORTS: text(''),
  AMBIT_ENDPOINT_PORT: port(15008),
  AMBIT_LOCALITY: text(''),
  AMBIT_SNIFF_TIMEOUT: duration(1000),
  AMBIT_BODY_TIMEOUT: duration(60_000),
  AMBIT_MAX_TUNNELS_PER_CLIENT: integer(10_000, 1, 1_000_000),
  PILOT_HTTP10: flag(false),
  AMBIT_HTTP2_ENGINE: choice(http2Engines, 'framing'),
  AMBIT_MAX_TUNNELS: integer(50_000, 1, 10_000_000),
  AMBIT_MAX_REQUESTS: integer(50_000, 1, 10_000_000),
  AMBIT_SHED_EVENT_LOOP_DELAY: duration(2000),
  AMBIT_SHED_MEMORY: integer(90, 0, 99),
  AMBIT_PRIORITY_PATHS: text(defaultOverloadSettings.priorityPaths.join(',')),
  AMBIT_JWKS_ORIGINS: text(''),
  AMBIT_EXTENSIONS: optionalText(),
  AMBIT_SESSION_KEY_FILE: optionalText(),
  AMBIT_EGRESS_ADDRESSES: text(''),
  AMBIT_PORT_REUSE: flag(false),
  AMBIT_WORKERS: text('1'),
  /** Set by the supervisor for its workers. */
  AMBIT_WORKER: optionalInteger(1, 1_000_000_000),
  ISTIO_CPU_LIMIT: optionalInteger(1, 1024),
  AMBIT_MESH_CONFIG: optionalText(),
  AMBIT_CLIENT_ADDRESS_HEADERS: text(''),
  CONNECTION_TERMINATION_DEADLINE: duration(5000),
};

type Variables = Extract<ReturnType<typeof readVariables>, { kind: 'read' }>['settings'];

export interface WaypointProgramSettings {
  readonly variables: Variables;
  readonly preset: Preset;
  readonly mesh: WaypointMeshSettings;
  /** `namespace/name`, with `/account` behind it where one Gateway asks for a waypoint per account. */
  readonly gateway: string;
  readonly serviceAccount: string | undefined;
  readonly ports: readonly number[];
  readonly jwksOrigins: readonly string[];
  readonly clientAddressHeaders: readonly ClientAddressHeader[];
  readonly egressAddresses: readonly Cidr[];
  readonly sessionKeys: SessionKeys | undefined;
  readonly tracing: TracingOptions | undefined;
  /** Processes that share the ports. */
  readonly workers: number;
  /** Which of them this is; undefined: the only one, or the one that starts them. */
  readonly worker: number | undefined;
}

export type WaypointCommand =
  | { readonly kind: 'run'; readonly settings: WaypointProgramSettings }
  | { readonly kind: 'view'; readonly request: ViewRequest }
  | { readonly kind: 'help' }
  | { readonly kind: 'version' }
  | { readonly kind: 'problems'; readonly problems: readonly string[] };

const options = {
  config: { type: 'string' },
  preset: { type: 'string' },
  gateway: { type: 'string' },
  'service-account': { type: 'string' },
  view: { type: 'boolean' },
  from: { type: 'string' },
  service: { type: 'string' },
  concurrency: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
  // Istio starts its waypoints with these; what they say is not needed or known from elsewhere.
  domain: { type: 'string' },
  serviceCluster: { type: 'string' },
  proxyLogLevel: { type: 'string' },
  proxyComponentLogLevel: { type: 'string' },
  log_output_level: { type: 'string' },
  log_as_json: { type: 'boolean' },
  outlierLogPath: { type: 'string' },
} as const;

/** `argv` without the program's name. */
export function readWaypointCommand(argv: readonly string[], environment: Environment): WaypointCommand {
  const words = argv[0] === 'proxy' && argv[1] === 'waypoint' ? argv.slice(2) : argv;
  if (words[0] === 'help') return { kind: 'help' };
  if (words[0] === 'version') return { kind: 'version' };
  const parsed = parse(words);
  if (typeof parsed === 'string') return { kind: 'problems', problems: [parsed] };
  const { values, positionals } = parsed;
  if (values.help) return { kind: 'help' };
  if (values.version) return { kind: 'version' };
  if (values.view) return readViewRequest(positionals, { from: values.from, source: values.service }, environment);
  const problems = positionals.map((word) => `${JSON.stringify(word)}: no such argument; waypoint --help lists them`);
  const given: Record<string, string | undefined> = { ...environment };
  if (values.config !== undefined) given.AMBIT_CONFIG = values.config;
  if (values.preset !== undefined) given.AMBIT_PRESET = values.preset;
  if (values.gateway !== undefined) given.AMBIT_GATEWAY = values.gateway;
  if (values['service-account'] !== undefined) given.SERVICE_ACCOUNT = values['service-account'];
  // As at Istio 0 stands for the processors there are.
  if (values.concurrency !== undefined) given.AMBIT_WORKERS = values.concurrency === '0' ? 'cpus' : values.concurrency;
  if (values.log_as_json) given.LOG_FORMAT ||= 'json';
  const meshConfig = readMeshConfigFile();
  const configured = applyProxyConfig(withTemplateNames(given), meshConfig.text);
  problems.push(...(meshConfig.problem === undefined ? [] : [meshConfig.problem]), ...configured.problems);
  const read = readVariables(configured.environment);
  if (read.kind === 'problems') return { kind: 'problems', problems: [...problems, ...read.problems] };
  const settings = programSettings(read.settings, configured, problems);
  return settings === undefined || problems.length > 0 ? { kind: 'problems', problems } : { kind: 'run', settings };
}

function readVariables(environment: Environment) {
  return readEnvironment(shape, environment);
}

function parse(words: readonly string[]) {
  try {
    return parseArgs({ args: [...words], allowPositionals: true, options });
  } catch (error) {
    return errorText(error);
  }
}

/** Adds to `problems` what does not fit together; undefined only then. */
function programSettings(
  variables: Variables,
  { environment, metadata: proxyMetadata }: ProxyConfigOutcome,
  problems: string[],
): WaypointProgramSettings | undefined {
  const labels = readPodLabels();
  const gateway = readGatewayName(variables, labels);
  const preset = presetByName(variables.AMBIT_PRESET);
  const levels = logLevelProblem(variables.RUST_LOG);
  if (levels !== undefined) problems.push(`RUST_LOG=${JSON.stringify(variables.RUST_LOG)}: ${levels}`);
  if (gateway === undefined) problems.push('which Gateway this is must be said: --gateway NAMESPACE/NAME');
  else if (!/^[^/]+\/[^/]+(\/[^/]+)?$/.test(gateway)) problems.push(`--gateway ${gateway}: must be NAMESPACE/NAME`);
  const ports = portsOf(variables.AMBIT_WAYPOINT_PORTS, preset?.waypointPort ?? 15008);
  if (ports === undefined)
    problems.push(`AMBIT_WAYPOINT_PORTS=${variables.AMBIT_WAYPOINT_PORTS}: must be ports, with commas between`);
  problems.push(...trustDomainProblems('AMBIT_TRUST_DOMAIN_ALIASES', variables.AMBIT_TRUST_DOMAIN_ALIASES));
  const clientAddressHeaders = clientAddressHeadersOf(variables.AMBIT_CLIENT_ADDRESS_HEADERS, problems);
  const jwksOrigins = variables.AMBIT_JWKS_ORIGINS.split(',').flatMap((part) => part.trim() || []);
  for (const origin of jwksOrigins) {
    if (/^https?:/.test(origin) && URL.parse(origin)?.origin === origin) continue;
    problems.push(`AMBIT_JWKS_ORIGINS: ${origin}: must be an origin such as http://keys.internal:8000, without a path`);
  }
  const egressAddresses = variables.AMBIT_EGRESS_ADDRESSES.split(',').flatMap((part): readonly Cidr[] => {
    const text = part.trim();
    const cidr = parseCidr(text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`);
    if (cidr === undefined && text !== '')
      problems.push(`AMBIT_EGRESS_ADDRESSES: ${text}: must be a block of addresses`);
    return cidr === undefined ? [] : [cidr];
  });
  const sessionKeys = readSessionKeys(variables.AMBIT_SESSION_KEY_FILE);
  if (typeof sessionKeys === 'string') problems.push(sessionKeys);
  const workers = workersOf(variables);
  if (workers === undefined)
    problems.push(`AMBIT_WORKERS=${variables.AMBIT_WORKERS}: must be a whole number from 1 to ${mostWorkers}, or cpus`);
  else if (workers > 1 && (variables.AMBIT_JOIN_TOKEN ?? variables.AMBIT_STATE_DIR) !== undefined)
    problems.push(
      'AMBIT_WORKERS: a credential of AMBIT_STATE_DIR is of one process; give each its own waypoint, or one worker',
    );
  if (preset === undefined || typeof sessionKeys === 'string' || workers === undefined) return undefined;
  const mesh = readWaypointMesh(
    variables,
    environment,
    { gateway: gateway ?? '', labels, preset, proxyMetadata },
    problems,
  );
  if (mesh === undefined || gateway === undefined || ports === undefined) return undefined;
  const tracing = readTracing(variables, { name: 'waypoint', version }, problems);
  const { SERVICE_ACCOUNT: serviceAccount } = variables;
  return {
    variables,
    preset,
    mesh,
    gateway,
    serviceAccount,
    ports,
    jwksOrigins,
    clientAddressHeaders,
    egressAddresses,
    sessionKeys,
    tracing,
    workers,
    worker: variables.AMBIT_WORKER,
  };
}

function clientAddressHeadersOf(list: string, problems: string[]): readonly ClientAddressHeader[] {
  return list.split(',').flatMap((part) => {
    const name = part.trim().toLowerCase();
    if (name === 'x-forwarded-for' || name === 'forwarded') return [name];
    if (name !== '') problems.push(`AMBIT_CLIENT_ADDRESS_HEADERS: ${part}: must be x-forwarded-for or forwarded`);
    return [];
  });
}

const mostWorkers = 64;

/** `cpus`: Istio's limit where it is set, else the processors of the machine. */
function workersOf({ AMBIT_WORKERS: given, ISTIO_CPU_LIMIT: limit }: Variables): number | undefined {
  if (given === 'cpus') return Math.min(limit ?? availableParallelism(), mostWorkers);
  if (!/^\d{1,2}$/.test(given)) return undefined;
  const workers = Number(given);
  return workers >= 1 && workers <= mostWorkers ? workers : undefined;
}

function portsOf(given: string, fallback: number): readonly number[] | undefined {
  if (given === '') return [fallback];
  const ports = given.split(',').map((part) => (/^\d{1,5}$/.test(part.trim()) ? Number(part) : Number.NaN));
  return ports.every((one) => one <= 65_535) ? ports : undefined;
}
