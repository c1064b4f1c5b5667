/** A delta client over TLS on loopback against the scripted istiod, and ways to see what it makes of it. */
import type { Test } from 'tap';
import { type Clock, systemClock } from '../../../src/base/clock.ts';
import type { LogFields, Logger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { type ChannelOptions, createChannel, type RpcChannel } from '../../../src/rpc/channel.ts';
import { DeltaClient } from '../../../src/xds/delta-client.ts';
import { nodeIdentity } from '../../../src/xds/node-identity.ts';
import { OnDemand, type OnDemandLimits } from '../../../src/xds/on-demand.ts';
import { addressType, authorizationType } from '../../../src/xds/resource-types.ts';
import { type XdsMetrics, xdsMetrics } from '../../../src/xds/xds-metrics.ts';
import { eventually } from '../../support/eventually.ts';
import { TestCa } from '../../support/test-ca.ts';
import type { NamedBytes } from '../../support/xds-resources.ts';
import { XdsServer, type XdsServerOptions } from '../../support/xds-server.ts';

export class Log implements Logger {
  readonly lines: string[] = [];

  #write(level: string, message: string, fields: LogFields = {}): void {
    this.lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  }
  trace(message: string, fields?: LogFields): void {
    this.#write('trace', message, fields);
  }
  debug(message: string, fields?: LogFields): void {
    this.#write('debug', message, fields);
  }
  info(message: string, fields?: LogFields): void {
    this.#write('info', message, fields);
  }
  warn(message: string, fields?: LogFields): void {
    this.#write('warn', message, fields);
  }
  error(message: string, fields?: LogFields): void {
    this.#write('error', message, fields);
  }
  enabled(): boolean {
    return true;
  }
  topic(): Logger {
    return this;
  }
}

export interface World {
  readonly ca: TestCa;
  readonly server: XdsServer;
}

export async function makeServer(t: Test, options: XdsServerOptions = {}, listen = true): Promise<World> {
  const ca = await TestCa.create();
  const tls = await ca.issuePem([], { dnsNames: ['localhost'] });
  const server = new XdsServer({ tls, ...options });
  t.teardown(() => server.stop());
  if (listen) await server.start();
  return { ca, server };
}

export interface ClientOptions {
  readonly channel?: Partial<ChannelOptions>;
  readonly port?: number;
  readonly clock?: Clock;
  readonly onDemand?: Partial<OnDemandLimits>;
  readonly unreadablePolicy?: 'deny' | 'skip';
}

export interface RunningClient {
  readonly client: DeltaClient;
  readonly store: MeshStore;
  readonly metrics: XdsMetrics;
  readonly log: Log;
  readonly onDemand: OnDemand | undefined;
}

export function startClient(t: Test, { ca, server }: World, options: ClientOptions = {}): RunningClient {
  const channel = createChannel({
    address: { host: 'localhost', port: options.port ?? server.port, tls: true },
    roots: { kind: 'text', text: ca.rootPem },
    maxReceiveBytes: 8 << 20,
    ...options.channel,
  });
  return runClient(t, channel, options);
}

export function runClient(t: Test, channel: RpcChannel, options: ClientOptions = {}): RunningClient {
  const { clock = systemClock, unreadablePolicy = 'deny' } = options;
  const store = new MeshStore();
  const log = new Log();
  const metrics = xdsMetrics({ ...unscrapedMetrics, counter: () => ({ value: 0 }), gauge: () => ({ value: 0 }) });
  const onDemand =
    options.onDemand === undefined ? undefined : new OnDemand(clock, () => client.flushDemand(), options.onDemand);
  const client = new DeltaClient({
    channel,
    node: nodeIdentity({
      instanceIp: '10.0.0.9',
      podName: 'ztunnel-x',
      podNamespace: 'istio-system',
      nodeName: 'node-a',
      clusterId: 'Kubernetes',
      metadata: {},
    }),
    store,
    unreadablePolicy,
    metrics,
    clock,
    random: systemRandom,
    logger: log,
    ...(onDemand === undefined ? {} : { onDemand }),
  });
  t.teardown(() => client.close());
  client.start();
  return { client, store, metrics, log, onDemand };
}

export function serve(server: XdsServer, typeUrl: string, ...resources: readonly NamedBytes[]): void {
  for (const { name, bytes } of resources) server.set(typeUrl, name, bytes);
}

export const complete = ({ store }: RunningClient) => eventually('a complete state', () => store.complete);

export function names(store: MeshStore): { workloads: string[]; services: string[]; policies: string[] } {
  return {
    workloads: [...store.workloads()].map(({ name }) => name).sort(),
    services: [...store.services()].map(({ key }) => key).sort(),
    policies: [...store.policies()].map(({ key }) => key).sort(),
  };
}

/** Every response so far was answered. */
export async function answered(server: XdsServer, count: number, typeUrl = addressType): Promise<void> {
  await eventually(`answer ${count}`, () => server.answers(typeUrl).length >= count);
}

export { addressType, authorizationType };
