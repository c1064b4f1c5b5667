/** A control plane on loopback with a placement the test writes, and members of it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../../src/base/clock.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { type LogFields, type Logger, silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import { systemRandom } from '../../../src/base/random.ts';
import type { SpiffeId } from '../../../src/base/spiffe.ts';
import { type ControlOptions, type RunningControl, startControl } from '../../../src/control/serve.ts';
import { openControlCaClient } from '../../../src/identity/control-ca-client.ts';
import { createKeyAndRequest } from '../../../src/identity/csr.ts';
import type { JoinOptions } from '../../../src/identity/join.ts';
import type { ChannelOptions } from '../../../src/rpc/channel.ts';

export interface Scope {
  teardown(handler: () => unknown): unknown;
}

export function temporaryFolder(t: Scope): string {
  const path = mkdtempSync(join(tmpdir(), 'ambit-control-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export class RecordingLogger implements Logger {
  readonly lines: (readonly [message: string, fields: LogFields | undefined])[] = [];
  trace = () => {};
  debug = () => {};
  info = (message: string, fields?: LogFields) => void this.lines.push([message, fields]);
  warn = this.info;
  error = this.info;
  enabled = () => true;
  topic = () => this;
}

export interface TestControl extends RunningControl {
  /** What runs where; change it as you like. */
  readonly placed: Map<string, SpiffeId[]>;
  readonly log: RecordingLogger;
  readonly stateFolder: string;
}

export async function runControl(t: Scope, options: Partial<ControlOptions> = {}): Promise<TestControl> {
  const placed = new Map<string, SpiffeId[]>();
  const log = new RecordingLogger();
  const stateFolder = options.stateFolder ?? join(temporaryFolder(t), 'control');
  const running = await startControl({
    listen: { ip: '127.0.0.1', port: 0 },
    hosts: [],
    trustDomain: 'cluster.local',
    stateFolder,
    authorityFolder: undefined,
    placement: { identitiesOn: (node) => placed.get(node) ?? [] },
    clock: systemClock,
    logger: log,
    metrics: unscrapedMetrics,
    ...options,
  });
  t.teardown(() => running.close());
  return { ...running, placed, log, stateFolder };
}

export type Reachable = Pick<RunningControl, 'address' | 'caRootFile'>;

export function channelTo(control: Reachable): Omit<ChannelOptions, 'clientCertificate'> {
  const address = { host: '127.0.0.1', port: control.address.port, tls: true };
  return { address, roots: { kind: 'file', path: control.caRootFile } };
}

/** A member's CA client, as a proxy has it. */
export async function member(t: Scope, control: Reachable, join: Partial<JoinOptions> & { clock?: Clock }) {
  const options: JoinOptions = {
    name: { kind: 'node', node: 'n1' },
    trustDomain: 'cluster.local',
    stateFolder: join.stateFolder ?? temporaryFolder(t),
    token: undefined,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    ...join,
  };
  const ca = await openControlCaClient(options, channelTo(control));
  t.teardown(() => ca.close());
  return {
    ca,
    stateFolder: options.stateFolder,
    /** Asks for `identity`, with a request for `uri` when that is to differ. */
    async ask(identity: SpiffeId, uri: string = identity, ttlSeconds = 3600) {
      const { requestPem } = await createKeyAndRequest(uri);
      return await ca.sign({ identity, requestPem, ttlSeconds }, new AbortController().signal);
    },
  };
}

export async function tokenFor(control: RunningControl, node = 'n1', lifeMs = 60_000) {
  const { token } = await control.tokens.create({ kind: 'node', node }, lifeMs);
  return { kind: 'text', text: token } as const;
}
