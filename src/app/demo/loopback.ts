/**
 * The path without namespaces and without interception, as plain processes on 127/8: explicit proxying. Pods are loopback
 * addresses, and the demo itself is the client's end of the first tunnel, with the client's certificate. What is shown is
 * tunnels, identities, routing and policy; what is not is redirection and the sending ztunnel.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { constants, tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { systemClock } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import { silentLogger } from '../../base/logger.ts';
import { unscrapedMetrics } from '../../base/metrics.ts';
import { ownFile, packageFile } from '../../base/own-files.ts';
import { systemRandom } from '../../base/random.ts';
import { formatSpiffeId, type SpiffeId } from '../../base/spiffe.ts';
import { createRelay } from '../../hbone/relay.ts';
import { openAuthority } from '../../identity/authority.ts';
import type { CaClient } from '../../identity/ca-client.ts';
import { createOwnAuthorityClient } from '../../identity/own-authority.ts';
import { SecretManager } from '../../identity/secret-manager.ts';
import { plainSocket } from '../../net/socket-spec.ts';
import { AccessRecord } from '../lab-access.ts';
import { askSocket } from '../lab-admin.ts';
import type { DemoArguments } from './arguments.ts';
import type { DemoConsole } from './console.ts';

const vip = '127.96.179.71';
const waypointIp = '127.244.1.8';
const serverIp = '127.244.2.5';
const port = 9080;
const waypointPort = 15006;
const trustDomain = 'cluster.local';
const readyDeadlineMs = 20_000;
const examples = packageFile('examples/bookinfo/legacy');

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** Never rejects; the value is the exit code. Every process it starts has ended when it resolves. */
export async function runLoopbackDemo(given: DemoArguments, say: DemoConsole): Promise<number> {
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-loopback-'));
  const programs = new Programs(folder, say, given.verbose);
  removeAtEnd(folder);
  process.on('exit', () => programs.killAll());
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => process.exit(128 + constants.signals[signal]));
  }
  try {
    say.heading('Ambit on loopback: the article’s tunnels, with nothing intercepted');
    copyExamples(path.join(folder, 'config'));
    const authority = await openAuthority({
      folder: path.join(folder, 'ca'),
      create: true,
      trustDomain,
      clock: systemClock,
    });
    await programs.startAll();
    const client = createClient(createOwnAuthorityClient(authority, silentLogger));
    await tellPath(client, programs.access, say);
    await client.close();
  } catch (error) {
    say.check('the path stands', false, errorText(error));
  }
  say.line('');
  const { failures, passed } = say;
  say.line(
    failures.length === 0
      ? say.style('green', `All ${passed} checks held.`)
      : say.style('red', `${failures.length} of ${passed + failures.length} checks failed.`),
  );
  return failures.length === 0 ? 0 : 1;
}

async function tellPath(client: Client, access: AccessRecord, say: DemoConsole): Promise<void> {
  const names = ['waypoint', 'ztunnel-node-b'];
  const marks = names.map((name) => access.mark(name));
  const page = await client.ask('sleep', 'GET');
  say.check('sleep GET, through waypoint and ztunnel', page.status === 200, `${page.status}`);
  for (const [index, name] of names.entries()) {
    const { fields } = await access.waitFor(name, () => true, systemClock, marks[index]);
    const shown = [fields.stage, fields['src.identity'], fields['dst.identity'], fields['dst.hbone_addr']];
    const text = shown.filter((value) => value !== undefined).join('  ');
    say.check(`${name} logged its hop`, fields.error === undefined, String(fields.error ?? text));
  }
  const deletion = await client.ask('sleep', 'DELETE');
  say.check('sleep DELETE is denied', deletion.status === 403, `${deletion.status} ${deletion.body.trim()}`);
  const stranger = await client.ask('notsleep', 'GET');
  say.check('notsleep GET is denied', stranger.status === 403, `${stranger.status} ${stranger.body.trim()}`);
}

interface Client {
  /** One request as that service account, in a tunnel of its own to the waypoint. Rejects when there is no tunnel. */
  ask(serviceAccount: string, method: string): Promise<Answer>;
  close(): Promise<void>;
}

function createClient(ca: CaClient): Client {
  const common = { clock: systemClock, logger: silentLogger };
  const secrets = new SecretManager({ ...common, ca, random: systemRandom, metrics: unscrapedMetrics });
  const relay = createRelay({ ...common, secrets });
  const waypointIdentity = identityOf('bookinfo-productpage');
  return {
    async ask(serviceAccount, method) {
      const sourceIdentity = identityOf(serviceAccount);
      const secret = await secrets.acquire(sourceIdentity);
      if (secret.kind !== 'available') throw new Error(`no certificate for ${serviceAccount}: ${secret.reason}`);
      const peer = { ip: waypointIp, port: waypointPort };
      const target = { peer, sourceIdentity, expectedIdentities: [waypointIdentity], socket: plainSocket };
      const opened = await relay.open({ target, authority: `${vip}:${port}`, headers: [] });
      if (opened.kind === 'failed') throw opened.error;
      if (opened.kind === 'refused') throw new Error(`the waypoint refused the tunnel: ${opened.status}`);
      return await exchange(opened.stream, method);
    },
    async close() {
      await relay.close();
      secrets.close();
    },
  };
}

function identityOf(serviceAccount: string): SpiffeId {
  return formatSpiffeId({ trustDomain, namespace: 'default', serviceAccount });
}

function exchange(stream: Duplex, method: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({
      createConnection: () => stream,
      host: vip,
      port,
      method,
      path: '/headers',
      timeout: 10_000,
    });
    sent.on('timeout', () => sent.destroy(new Error('no answer within 10 s')));
    sent.on('error', reject);
    sent.on('response', (response) => {
      let body = '';
      response.on('error', reject);
      response.setEncoding('utf8').on('data', (chunk: string) => {
        if (body.length < 65_536) body += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    sent.end();
  });
}

/** Keys are in the folder: it goes however this process ends, since a child waits for that at the end of a pipe. */
function removeAtEnd(folder: string): void {
  const script = 'read -r _; rm -rf -- "$1"';
  const remover = spawn('sh', ['-c', script, 'sh', folder], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  for (const part of [remover, remover.stdin]) part?.on('error', () => {});
  remover.unref();
}

/** The examples, with pods and services moved into 127/8. */
function copyExamples(folder: string): void {
  mkdirSync(folder);
  for (const name of readdirSync(examples)) {
    const text = readFileSync(path.join(examples, name), 'utf8');
    writeFileSync(path.join(folder, name), text.replaceAll('10.244.', '127.244.').replaceAll('10.96.', '127.96.'));
  }
}

/** The processes of the demo. They end with it, also when it is killed (`setpriv --pdeathsig`). */
class Programs {
  readonly access = new AccessRecord();
  readonly #folder: string;
  readonly #say: DemoConsole;
  readonly #verbose: boolean;
  readonly #children: ChildProcess[] = [];

  constructor(folder: string, say: DemoConsole, verbose: boolean) {
    this.#folder = folder;
    this.#say = say;
    this.#verbose = verbose;
  }

  async startAll(): Promise<void> {
    const common = { APP_PORT: String(port), POD_NAME: 'productpage' };
    this.#start('productpage', [ownFile('src/lab/apps/main'), 'productpage'], {
      ...common,
      APP_LISTEN: serverIp,
    });
    this.#start('ztunnel-node-b', this.#proxy('ztunnel', '--node', 'node-b'), {
      ...this.#environment('ztunnel-node-b', serverIp),
      AMBIT_OUTBOUND_PORT: '0',
      AMBIT_PLAINTEXT_PORT: '0',
    });
    this.#start(
      'waypoint',
      this.#proxy('waypoint', '--gateway', 'default/productpage'),
      this.#environment('waypoint', waypointIp),
    );
    await Promise.all(['ztunnel-node-b', 'waypoint'].map((name) => this.#untilReady(name)));
  }

  killAll(): void {
    for (const child of this.#children) child.kill('SIGKILL');
  }

  #proxy(script: string, ...rest: readonly string[]): string[] {
    return [ownFile(`bin/${script}`), '--config', path.join(this.#folder, 'config'), '--preset', 'legacy', ...rest];
  }

  #environment(name: string, listenIp: string): Record<string, string> {
    return {
      AMBIT_LISTEN_IP: listenIp,
      AMBIT_CA_DIR: path.join(this.#folder, 'ca'),
      AMBIT_ADMIN_SOCKET: this.#socket(name),
      AMBIT_ADMIN_PORT: '0',
      AMBIT_METRICS_PORT: '0',
      AMBIT_READINESS_PORT: '0',
      ENABLE_ORIG_SRC: 'false',
      LOG_FORMAT: 'json',
    };
  }

  #socket(name: string): string {
    return path.join(this.#folder, `${name}.sock`);
  }

  #start(name: string, argv: readonly string[], environment: Readonly<Record<string, string>>): void {
    const tied = ['--pdeathsig', 'KILL', process.execPath, '--disable-sigusr1', ...argv];
    const child = spawn('setpriv', tied, {
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.on('error', (error) => this.#say.check(`${name} starts`, false, error.message));
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('error', () => {});
      createInterface({ input: stream }).on('line', (line) => {
        this.access.take(name, line);
        if (this.#verbose) this.#say.line(`${this.#say.style('cyan', name)} ${line}`);
      });
    }
    this.#children.push(child);
  }

  async #untilReady(name: string): Promise<void> {
    const deadline = systemClock.nowMs() + readyDeadlineMs;
    let last = 'no answer';
    while (systemClock.nowMs() < deadline) {
      try {
        const { status, body } = await askSocket(this.#socket(name), '/healthz/ready');
        if (status === 200) return;
        last = body.trim();
      } catch (error) {
        // Not listening yet; should it stay so, this is what is told.
        last = errorText(error);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`${name} did not become ready: ${last}`);
  }
}
