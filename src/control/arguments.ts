/** The command line of `ambit control`, checked as a whole: all problems are told at once. */
import { isIP } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { SocketAddress } from '../base/address.ts';
import { canonicalIp } from '../base/address.ts';
import { errorText } from '../base/errors.ts';
import { parseSpiffeId } from '../base/spiffe.ts';
import { type Environment, parseDuration } from '../config/environment.ts';
import { type Preset, presetByName } from '../config/preset.ts';
import { isJoinName, type JoinName } from '../identity/join-name.ts';

export const controlUsage = `Usage: ambit control --config DIR [options]
       ambit control token (--node NAME | --waypoint NAMESPACE/ACCOUNT) [--ttl DURATION] [--state DIR]

The control plane of a mesh described by a folder of YAML: certificates and discovery. Nodes and waypoints join with a
one-time token, get certificates for the workloads that run on them, and are told of the mesh as it changes.

  --config DIR         the mesh: which workload runs on which node
  --host NAME          a name or address proxies reach this by; may be repeated (localhost is always one)
  --listen IP          default 0.0.0.0
  --port PORT          default 15012
  --plaintext-port N   discovery in clear, on loopback alone; default: none (Istio's is 15010)
  --preset NAME        of the mesh that is told of: modern (default) or legacy; default AMBIT_PRESET
  --state DIR          authority and tokens; default AMBIT_STATE_DIR, else /var/lib/ambit or ~/.local/state/ambit
  --ca-dir DIR         an authority with Istio's file names in place of one of its own; default AMBIT_CA_DIR
  --trust-domain NAME  default TRUST_DOMAIN, else cluster.local

  token                makes a join token, prints it, and ends
  --ttl DURATION       how long the token may be used; default 1h
`;

export interface ServeArguments {
  readonly kind: 'serve';
  readonly configFolder: string;
  readonly hosts: readonly string[];
  readonly listen: SocketAddress;
  readonly stateFolder: string;
  readonly authorityFolder: string | undefined;
  readonly trustDomain: string;
  readonly plaintextPort: number | undefined;
  readonly preset: Preset;
}

export type ControlArguments =
  | ServeArguments
  | { readonly kind: 'token'; readonly name: JoinName; readonly lifeMs: number; readonly stateFolder: string }
  | { readonly kind: 'help' }
  | { readonly kind: 'problems'; readonly problems: readonly string[] };

const longestTokenMs = 30 * 86_400_000;

const text = { type: 'string' } as const;

export function parseControlArguments(argv: readonly string[], environment: Environment): ControlArguments {
  try {
    return argv[0] === 'token' ? parseToken(argv.slice(1), environment) : parseServe(argv, environment);
  } catch (error) {
    return { kind: 'problems', problems: [errorText(error)] };
  }
}

function parseServe(argv: readonly string[], environment: Environment): ControlArguments {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      config: text,
      host: { type: 'string', multiple: true, default: [] },
      listen: { type: 'string', default: '0.0.0.0' },
      port: { type: 'string', default: '15012' },
      'plaintext-port': text,
      preset: text,
      state: text,
      'ca-dir': text,
      'trust-domain': text,
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return { kind: 'help' };
  const problems: string[] = [];
  const ip = canonicalIp(values.listen);
  if (ip === undefined) problems.push(`--listen ${values.listen}: must be an IP address`);
  const port = readPort('--port', values.port, problems);
  const plaintext = values['plaintext-port'];
  const plaintextPort = plaintext === undefined ? undefined : readPort('--plaintext-port', plaintext, problems);
  const presetName = values.preset ?? (environment.AMBIT_PRESET || 'modern');
  const preset = presetByName(presetName);
  if (preset === undefined) problems.push(`--preset ${presetName}: must be modern or legacy`);
  for (const host of values.host) {
    if (isIP(host) === 0 && !/^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(host)) {
      problems.push(`--host ${host}: must be a DNS name or an IP address`);
    }
  }
  const trustDomain = values['trust-domain'] ?? (environment.TRUST_DOMAIN || 'cluster.local');
  if (parseSpiffeId(`spiffe://${trustDomain}/ns/n/sa/s`) === undefined) {
    problems.push(`trust domain ${trustDomain}: must be lower case letters, digits, dots, dashes and underscores`);
  }
  if (values.config === undefined) problems.push('--config DIR is needed: the folder that describes the mesh');
  if (problems.length > 0 || ip === undefined || preset === undefined || values.config === undefined) {
    return { kind: 'problems', problems };
  }
  return {
    kind: 'serve',
    configFolder: values.config,
    hosts: values.host,
    listen: { ip, port },
    stateFolder: stateFolder(values.state, environment),
    authorityFolder: values['ca-dir'] ?? (environment.AMBIT_CA_DIR || undefined),
    trustDomain,
    plaintextPort,
    preset,
  };
}

function readPort(option: string, value: string, problems: string[]): number {
  const port = /^\d{1,5}$/.test(value) ? Number(value) : Number.NaN;
  if (!(port <= 65_535)) problems.push(`${option} ${value}: must be a number from 0 to 65535`);
  return port;
}

function parseToken(argv: readonly string[], environment: Environment): ControlArguments {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      node: text,
      waypoint: text,
      ttl: { type: 'string', default: '1h' },
      state: text,
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return { kind: 'help' };
  const problems: string[] = [];
  const name = joinName(values.node, values.waypoint);
  if (typeof name === 'string') problems.push(name);
  const lifeMs = parseDuration(values.ttl);
  if (lifeMs === undefined || lifeMs <= 0 || lifeMs > longestTokenMs) {
    problems.push(`--ttl ${values.ttl}: must be a duration such as 10m or 24h, of at most 30 days`);
  }
  if (typeof name === 'string' || lifeMs === undefined || problems.length > 0) return { kind: 'problems', problems };
  return { kind: 'token', name, lifeMs, stateFolder: stateFolder(values.state, environment) };
}

/** The name, or what is wrong. */
function joinName(node: string | undefined, waypoint: string | undefined): JoinName | string {
  if ((node === undefined) === (waypoint === undefined))
    return 'give either --node NAME or --waypoint NAMESPACE/ACCOUNT';
  if (node !== undefined) {
    const name = { kind: 'node', node } as const;
    return isJoinName(name) ? name : `--node ${node}: is no name of a node`;
  }
  const [namespace = '', serviceAccount = '', ...rest] = (waypoint ?? '').split('/');
  const name = { kind: 'waypoint', namespace, serviceAccount } as const;
  return rest.length === 0 && isJoinName(name) ? name : `--waypoint ${waypoint}: must be NAMESPACE/ACCOUNT`;
}

/** The control plane's part of the state folder: proxies on the same machine keep theirs beside it. */
function stateFolder(given: string | undefined, environment: Environment): string {
  const stateHome = environment.XDG_STATE_HOME || join(homedir(), '.local', 'state');
  const fallback = process.getuid?.() === 0 ? '/var/lib/ambit' : join(stateHome, 'ambit');
  return join(given ?? (environment.AMBIT_STATE_DIR || fallback), 'control');
}
